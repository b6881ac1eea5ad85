// out[r, run, p] = the element whose place in its run is FIRST + p: its index, or PAIRed with its key
#input x
#input place
#include "sort.runs.glsl"

#define FIND(taken, j) found += j & -ivec4(equal(ivec4(taken), wanted));
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
    ivec4 begin = run_begin(row, run), end = run_end(row, run), found = ivec4(0);
    ivec4 wanted = begin + column - run * KEEP + FIRST;
    for (int s = begin.x >> 2; 4 * s < end.w; s++) {
        ivec4 taken = load4_place(s);
        FIND(taken.x, 4 * s)
        FIND(taken.y, 4 * s + 1)
        FIND(taken.z, 4 * s + 2)
        FIND(taken.w, 4 * s + 3)
    }
#if PAIR
    RESULT0(t, ivec4(key(found.x), index(found.x, row.x), key(found.y), index(found.y, row.y)));
#else
    RESULT0(t, ivec4(index(found.x, row.x), index(found.y, row.y),
                     index(found.z, row.z), index(found.w, row.w)));
#endif
}
