// place[i] = where i comes in the order of its run: behind lesser elements, and equal ones on its left
// Found by counting those. What only pads a row has the place -1.
#input x
#include "sort.runs.glsl"

#define LESSER(k) ivec4(lessThan(ivec4(k), mine))
#define AT_MOST(k) ivec4(lessThanEqual(ivec4(k), mine))
#define BEFORE(k, j) (LESSER(k) | (ivec4(equal(ivec4(k), mine)) & ivec4(lessThan(ivec4(j), at))))
#define COUNT(k, j) rank += BEFORE(k, j) & ivec4(lessThan(uvec4(j - begin), size));

ivec4 keys_before(int s, ivec4 end) {
#if N % 4
    return select(ivec4(lessThan(4 * s + ivec4(0, 1, 2, 3), end)), keys(s), ivec4(0x7fffffff));
#else
    return keys(s);
#endif
}

void kernel(int t) {
    ivec4 at = 4 * t + ivec4(0, 1, 2, 3), row = min(at / ROW, ROWS - 1), column = at - row * ROW;
    ivec4 run = min(column / RUN, RUNS - 1), begin = run_begin(row, run), end = run_end(row, run);
    ivec4 mine = keys(t), rank = ivec4(0), other;
#if IN_TEXELS  // the four lanes are in one run, which begins at a texel
    for (int s = begin.x >> 2; s < t; s++) {
        other = keys(s);
        rank += AT_MOST(other.x) + AT_MOST(other.y) + AT_MOST(other.z) + AT_MOST(other.w);
    }
    other = keys_before(t, end);
    rank += BEFORE(other.x, at.x) + BEFORE(other.y, at.y) + BEFORE(other.z, at.z) + BEFORE(other.w, at.w);
    for (int s = t + 1; 4 * s < end.x; s++) {
        other = keys_before(s, end);
        rank += LESSER(other.x) + LESSER(other.y) + LESSER(other.z) + LESSER(other.w);
    }
#else
    uvec4 size = uvec4(end - begin);
    for (int s = begin.x >> 2; 4 * s < end.w; s++) {
        other = keys(s);
        COUNT(other.x, 4 * s)
        COUNT(other.y, 4 * s + 1)
        COUNT(other.z, 4 * s + 2)
        COUNT(other.w, 4 * s + 3)
    }
#endif
    RESULT0(t, select(ivec4(lessThan(column, ivec4(N))), begin + rank, ivec4(-1)));
}
