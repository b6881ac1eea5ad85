// out[r, i] = how many elements of the sorted row s[r] are below v[r, i], or (RIGHT) equal to it
// By bisection, four at once; with SHARED, there is one row for all.
#input s
#input v
#include "sort.key.glsl"

void kernel(int t) {
    ivec4 i = min(4 * t + ivec4(0, 1, 2, 3), SIZE - 1), base = i / COLUMNS * N * (1 - SHARED);
    ivec4 wanted = sort_key(load4_v(t)), low = ivec4(0), high = ivec4(N);
    for (int step = 0; step < STEPS; step++) {
        ivec4 middle = (low + high) >> 1, at = base + min(middle, N - 1);
        s_vec found = s_vec(load_s(at.x), load_s(at.y), load_s(at.z), load_s(at.w));
        ivec4 keys = sort_key(found);
#if RIGHT
        ivec4 below = ivec4(lessThanEqual(keys, wanted));
#else
        ivec4 below = ivec4(lessThan(keys, wanted));
#endif
        below &= ivec4(lessThan(middle, high));
        low = select(below, middle + 1, low);
        high = select(below, high, middle);
    }
    RESULT0(t, low);
}
