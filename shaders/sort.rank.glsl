// rank[i] = how many elements of i's run come before it: lesser ones, and equal ones on its left
#input x
#include "sort.runs.glsl"

#define COUNT(other, j) { ivec4 left = ivec4(lessThan(ivec4(j), at)); \
    ivec4 before = ivec4(lessThan(ivec4(other), mine)) | (ivec4(equal(ivec4(other), mine)) & left); \
    rank += before & ivec4(lessThan(uvec4(j - begin), count)); }

void kernel(int t) {
    ivec4 at = min(4 * t + ivec4(0, 1, 2, 3), ROWS * ROW - 1), row = at / ROW;
    ivec4 run = (at - row * ROW) / RUN, begin = run_begin(row, run), end = run_end(row, run);
    uvec4 count = uvec4(max(end - begin, 0));  // it is negative between the rows of pairs
    ivec4 mine = keys(t), rank = ivec4(0);
    for (int s = begin.x >> 2; 4 * s < end.w; s++) {
        ivec4 other = keys(s);
        COUNT(other.x, 4 * s)
        COUNT(other.y, 4 * s + 1)
        COUNT(other.z, 4 * s + 2)
        COUNT(other.w, 4 * s + 3)
    }
    RESULT0(t, rank);
}
