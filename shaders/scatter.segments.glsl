// out[a, n, b] = x[a, n, b] combined with source[a, k, b] of all k whose index is n, or (SET) with the last
// The indices are sorted, so that those k follow each other. Where a segment begins is read from a table, or
// (STARTS is 0) found by bisection. Whole blocks of it may be at hand as one term (BLOCKS of a row, or 0).
#input x
#input pairs
#input starts
#input blocks
#input source
#include "scatter.sorted.glsl"

int bound(int row, int n) {
#if STARTS
    return load_starts(row * (N + 1) + n);
#else
    int low = 0, high = K;
    while (low < high) {
        int middle = (low + high) >> 1, below = int(load_pairs(2 * (row * STRIDE + middle)) < n);
        low += (middle + 1 - low) & -below;
        high += (middle - high) & (below - 1);
    }
    return low;
#endif
}

ivec4 bounds(ivec4 row, ivec4 n) {
#if SHARED && B % 4 == 0
    return ivec4(bound(row.x, n.x));
#else
    return ivec4(bound(row.x, n.x), bound(row.y, n.y), bound(row.z, n.z), bound(row.w, n.w));
#endif
}

void kernel(int t) {
    ivec4 at = min(4 * t + ivec4(0, 1, 2, 3), SIZE - 1), b = at % B, n = at / B % N, a = at / (B * N);
    ivec4 first = a * (K * B) + b, row = ROW(a, b), begin = bounds(row, n), end = bounds(row, n + 1);
    out_vec total = load4_x(t);
#if SET
    out_vec last = term(first, row, max(end - 1, 0));
    total = op_where(ivec4(lessThan(begin, end)), last, total);
#elif BLOCKS
    ivec4 from = (begin + BLOCK - 1) / BLOCK, to = end / BLOCK;
    ivec4 whole = ivec4(lessThan(from, to)), counts = (to - from) * whole;
    int count = max(max(counts.x, counts.y), max(counts.z, counts.w));
    total = COMBINE(total, folded(first, row, begin, select(whole, from * BLOCK, end)));
    total = COMBINE(total, folded(first, row, select(whole, to * BLOCK, end), end));
    out_vec sum = IDENTITY;
    for (int j = 0; j < count; j++) {
        ivec4 i = (a * BLOCKS + min(from + j, BLOCKS - 1)) * B + b;
        out_vec found = out_vec(load_blocks(i.x), load_blocks(i.y), load_blocks(i.z), load_blocks(i.w));
        sum = COMBINE(sum, op_where(ivec4(lessThan(ivec4(j), counts)), found, IDENTITY));
        if (j % 64 == 63) {
            total = COMBINE(total, sum);
            sum = IDENTITY;
        }
    }
    total = COMBINE(total, sum);
#else
    total = COMBINE(total, folded(first, row, begin, end));
#endif
    RESULT0(t, FINISH(total));
}
