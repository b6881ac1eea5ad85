// Segments of sorted indices: pairs of an index and its place k, two a texel, in rows of STRIDE pairs.
// With SHARED there is one row, else one for each a, b.

#if SHARED
#define ROW(a, b) ivec4(0)
#else
#define ROW(a, b) ((a) * B + (b))
#endif

// source[a, k, b] for the p-th pair of a row; `first` is where source[a, 0, b] is
out_vec term(ivec4 first, ivec4 row, ivec4 p) {
    ivec4 pair = 2 * (row * STRIDE + p) + 1;
#if SHARED && B % 4 == 0
    return load4_source((first.x + load_pairs(pair.x) * B) >> 2);
#else
    ivec4 k = ivec4(load_pairs(pair.x), load_pairs(pair.y), load_pairs(pair.z), load_pairs(pair.w));
    ivec4 at = first + k * B;
    return out_vec(load_source(at.x), load_source(at.y), load_source(at.z), load_source(at.w));
#endif
}

// The terms of the pairs from `begin` on and before `end`, as one
out_vec folded(ivec4 first, ivec4 row, ivec4 begin, ivec4 end) {
    out_vec total = IDENTITY;
    ivec4 counts = end - begin;
    int count = max(max(counts.x, counts.y), max(counts.z, counts.w));
    for (int done = 0; done < count; done += BLOCK) {  // in blocks, so that rounding errors stay small
        out_vec sum = IDENTITY;
        for (int j = done; j < min(done + BLOCK, count); j++) {
            ivec4 p = begin + j;
            out_vec found = term(first, row, min(p, K - 1));
            sum = COMBINE(sum, op_where(ivec4(lessThan(p, end)), found, IDENTITY));
        }
        total = COMBINE(total, sum);
    }
    return total;
}
