// out[r, run, p] = the element of rank FIRST + p of each run: its index, or PAIRed with its key
// A work group sorts a run of RUN, which is a power of two, in shared memory: Batcher's bitonic network, in
// which equal keys are told apart by their indices. What is missing at the end counts as the greatest.
#input x
#include "sort.key.glsl"

layout(local_size_x = THREADS) in;
shared int sort_keys[RUN];
shared int indices[RUN];

void main() {
    int group = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);
    int id = int(gl_LocalInvocationID.x);
    int row = group / RUNS, run = group - row * RUNS;
    for (int i = id; i < RUN; i += THREADS) {
        int column = run * RUN + i;
        sort_keys[i] = indices[i] = 0x7fffffff;
        if (row < ROWS && column < N) {
#if PAIRS
            sort_keys[i] = load_x(2 * (row * STRIDE + column));
            indices[i] = load_x(2 * (row * STRIDE + column) + 1);
#else
            sort_keys[i] = sort_key(x_vec(load_x(row * N + column))).x;
            indices[i] = column;
#endif
        }
    }
    barrier();
    for (int size = 2; size <= RUN; size *= 2) {
        for (int step = size / 2; step > 0; step /= 2) {
            for (int k = id; k < RUN / 2; k += THREADS) {
                int i = 2 * k - (k & (step - 1)), j = i + step;
                bool after = sort_keys[i] > sort_keys[j]
                    || sort_keys[i] == sort_keys[j] && indices[i] > indices[j];
                if (after == ((i & size) == 0)) {
                    int key = sort_keys[i], index = indices[i];
                    sort_keys[i] = sort_keys[j];
                    indices[i] = indices[j];
                    sort_keys[j] = key;
                    indices[j] = index;
                }
            }
            barrier();
        }
    }
    if (row >= ROWS) return;
    int begin = row * WIDTH + run * KEEP, kept = min(KEEP, WIDTH - run * KEEP);
#if PAIR
    for (int p = 2 * id; p < kept; p += 2 * THREADS) {
        int i = min(FIRST + p, RUN - 1), j = min(i + 1, RUN - 1);
        store((begin + p) / 2, ivec4(sort_keys[i], indices[i], sort_keys[j], indices[j]));
    }
#else
    for (int p = 4 * id; p < kept; p += 4 * THREADS) {
        ivec4 i = min(FIRST + p + ivec4(0, 1, 2, 3), RUN - 1);
        store((begin + p) / 4, ivec4(indices[i.x], indices[i.y], indices[i.z], indices[i.w]));
    }
#endif
}
