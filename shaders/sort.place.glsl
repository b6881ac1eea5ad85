// out[r, run, p] = the element of rank FIRST + p of each run: its index, or PAIRed with its key
#input x
#input rank
#include "sort.runs.glsl"

#define FIND(found_rank, j) { ivec4 inside = ivec4(lessThan(uvec4(j - begin), count)); \
    found += (j - begin) & -(inside & ivec4(equal(ivec4(found_rank), place))); }
#if PAIR
#define LANES min(ivec4(0, 1, 2, 3), 1)
#define AT(t) (2 * t)
#else
#define LANES ivec4(0, 1, 2, 3)
#define AT(t) (4 * t)
#endif

int index(int i, int row) {
#if PAIRS
    return load_x(2 * i + 1);
#else
    return i - row * N;
#endif
}

int key(int i) {
#if PAIRS
    return load_x(2 * i);
#else
    return sort_key(x_vec(load_x(i))).x;
#endif
}

void kernel(int t) {
    ivec4 at = min(AT(t) + LANES, ROWS * WIDTH - 1), row = at / WIDTH;
    ivec4 column = at - row * WIDTH, run = min(column / KEEP, RUNS - 1);
    ivec4 place = column - run * KEEP + FIRST, begin = run_begin(row, run), end = run_end(row, run);
    uvec4 count = uvec4(end - begin);
    ivec4 found = ivec4(0);
    for (int s = begin.x >> 2; 4 * s < end.w; s++) {
        ivec4 ranks = load4_rank(s);
        FIND(ranks.x, 4 * s)
        FIND(ranks.y, 4 * s + 1)
        FIND(ranks.z, 4 * s + 2)
        FIND(ranks.w, 4 * s + 3)
    }
    found += begin;
#if PAIR
    RESULT0(t, ivec4(key(found.x), index(found.x, row.x), key(found.y), index(found.y, row.y)));
#else
    RESULT0(t, ivec4(index(found.x, row.x), index(found.y, row.y), index(found.z, row.z), index(found.w, row.w)));
#endif
}
