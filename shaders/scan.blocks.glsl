// out[o, r, i] = COMBINE of what is before r's block, and of x[o, k, i] from the block's first k to r
// before[o, b, i] is of all up to block b; the last block is not among them.
#input x
#input before
#include "scan.prefix.glsl"

#define BLOCKS ((R - 1) / B)

void kernel(int t) {
#ifdef ROWS
    int row = t / ((R + 3) / 4), block = t % ((R + 3) / 4) / (B / 4);
    out_vec sum = out_vec(load_before(row * BLOCKS + max(block - 1, 0)));
#elif defined(LANES)
    ivec4 e = min(4 * t + ivec4(0, 1, 2, 3), LAST), n = e / I, row = n / R, block = (n - row * R) / B;
    ivec4 at = (row * BLOCKS + max(block - 1, 0)) * I + e - n * I;
    out_vec sum =
        out_vec(load_before(at.x), load_before(at.y), load_before(at.z), load_before(at.w));
#else
    int n = t / (I / 4), row = n / R, block = (n - row * R) / B;
    out_vec sum = load4_before((row * BLOCKS + max(block - 1, 0) - n) * (I / 4) + t);
#endif
    sum = op_where(ivec4(greaterThan(ivec4(block), ivec4(0))), sum, IDENTITY);
    RESULT0(t, FINISH(COMBINE(sum, prefix(t))));
}
