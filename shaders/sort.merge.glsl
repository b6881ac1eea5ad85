// out[r] = the pairs of x[r] with the two halves of each run of RUN merged
// An element's place in the result says how many come before it; how many of those are from the left run is
// found by bisection for the first element of a texel, and the others follow. Equal keys keep their order.
// A row of the result has the elements from FIRST on: as PAIRs again, two a texel, or their indices, four.
#input x

#if PAIR
#define PER 2
#else
#define PER 4
#endif

int key(int i) { return load_x(2 * i); }

void kernel(int t) {
    int i = 0, j = 0, middle = 0, end = 0, place = 0, row = 0;
    ivec4 found = ivec4(0), keys = ivec4(0);
    for (int lane = 0; lane < PER; lane++) {
        int at = PER * t + lane;
        row = min(at / WIDTH, ROWS - 1);
        place = min(at - row * WIDTH + FIRST, N - 1);
        int diagonal = place % RUN;
        if (lane == 0 || diagonal == 0 || place == FIRST) {
            int begin = row * STRIDE + place - diagonal;
            middle = min(begin + RUN / 2, row * STRIDE + N);
            end = min(begin + RUN, row * STRIDE + N);
            int low = max(0, diagonal - (end - middle)), high = min(diagonal, middle - begin);
            while (low < high) {
                int half_way = (low + high) >> 1;
                int right = int(key(begin + half_way) > key(middle + diagonal - 1 - half_way));
                high += (half_way - high) & -right;
                low += (half_way + 1 - low) & (right - 1);
            }
            i = begin + low;
            j = middle + diagonal - low;
        }
        int left_key = key(min(i, middle - 1)), right_key = key(min(j, row * STRIDE + N - 1));
        int left = int(i < middle) & (int(j >= end) | int(left_key <= right_key));
        keys[lane] = right_key ^ ((left_key ^ right_key) & -left);
        found[lane] = load_x(2 * min(j + ((i - j) & -left), row * STRIDE + N - 1) + 1);
        i += left;
        j += 1 - left;
    }
#if PAIR
    RESULT0(t, ivec4(keys.x, found.x, keys.y, found.y));
#else
    RESULT0(t, found);
#endif
}
