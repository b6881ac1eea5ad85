// run[i] = where i's run begins and ends in rows of N, each cut into runs of RUN; keys of four elements
// x is the values themselves, or pairs of a key and an index, two a texel, in rows of STRIDE pairs.
#include "sort.key.glsl"

#if PAIRS
#define ROW STRIDE
ivec4 keys(int t) {
    return ivec4(load4_x(2 * t).xz, load4_x(min(2 * t + 1, ROWS * ROW / 2 - 1)).xz);
}
#else
#define ROW N
ivec4 keys(int t) { return sort_key(load4_x(t)); }
#endif

ivec4 run_begin(ivec4 row, ivec4 run) { return row * ROW + run * RUN; }

ivec4 run_end(ivec4 row, ivec4 run) { return row * ROW + min(run * RUN + RUN, N); }
