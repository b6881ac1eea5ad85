// out[r, p] = the i that has FIRST + p elements of x[r] before it: lesser ones, and equal ones on its left
// For short rows: all in one launch, and every texel counts for itself.
#input x
#include "sort.key.glsl"

int key(int i) { return sort_key(x_vec(load_x(i))).x; }

void kernel(int t) {
    ivec4 lane = ivec4(0, 1, 2, 3), at = min(4 * t + lane, ROWS * KEEP - 1);
    ivec4 row = at / KEEP, place = at - row * KEEP + FIRST, found = ivec4(0);
    for (int r = row.x; r <= row.w; r++) {
        ivec4 wanted = select(ivec4(equal(row, ivec4(r))), place, ivec4(-1));
        for (int i = 0; i < N; i += 4) {
            ivec4 four = min(i + lane, N - 1) + r * N, before = ivec4(0);
            ivec4 mine = ivec4(key(four.x), key(four.y), key(four.z), key(four.w));
            for (int j = 0; j < N; j++) {
                ivec4 other = ivec4(key(r * N + j));
                ivec4 left = ivec4(greaterThan(i + lane, ivec4(j)));
                before += ivec4(lessThan(other, mine)) | (ivec4(equal(other, mine)) & left);
            }
            before = select(ivec4(lessThan(i + lane, ivec4(N))), before, ivec4(-2));
            found += i * ivec4(equal(wanted, before.xxxx))
                   + (i + 1) * ivec4(equal(wanted, before.yyyy))
                   + (i + 2) * ivec4(equal(wanted, before.zzzz))
                   + (i + 3) * ivec4(equal(wanted, before.wwww));
        }
    }
    RESULT0(t, found);
}
