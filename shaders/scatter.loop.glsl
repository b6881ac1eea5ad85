// out[a, n, b] = x[a, n, b] combined with source[a, k, b] of all k whose index is n, or (SET) with the last
// Every texel looks at all indices. With SHARED there is one index for each k, else one for each a, k, b;
// LIST says that those of the four lanes are the same and begin at a texel, ONE that the sources are the
// same. If there are PARTS of the result, STEP elements each, each of them takes PART of the k.
#input x
#input index
#input source

#define HIT(found, k) { ivec4 hit = ivec4(equal(wrapped(found), n)); TAKE(hit, k) }
#if SET
#define TAKE(hit, k) last = max(last, select(hit, ivec4(k), ivec4(-1)));
#else
#define TAKE(hit, k) if (hit != ivec4(0)) sum = COMBINE(sum, op_where(hit, term(first + (k) * B), IDENTITY));
#endif

ivec4 wrapped(ivec4 i) { return i + ((i >> 31) & WRAP); }

out_vec term(ivec4 at) {
#if B % 4 == 0 && (SHARED || !SET)  // else the lanes may be at different k
    return load4_source(at.x >> 2);
#elif ONE
    return out_vec(load_source(at.x));
#else
    return out_vec(load_source(at.x), load_source(at.y), load_source(at.z), load_source(at.w));
#endif
}

ivec4 index_at(ivec4 at) {
#if B % 4 == 0
    return load4_index(at.x >> 2);
#else
    return ivec4(load_index(at.x), load_index(at.y), load_index(at.z), load_index(at.w));
#endif
}

void kernel(int t) {
    ivec4 place = min(4 * t + ivec4(0, 1, 2, 3), PARTS * STEP - 1), part = place / STEP;
    ivec4 at = min(place - part * STEP, SIZE - 1), b = at % B, n = at / B % N, a = at / (B * N);
    ivec4 first = a * (K * B) + b, last = ivec4(-1);
    int begin = part.x * PART, end = min(begin + PART, K);
#if PARTS > 1
    out_vec total = IDENTITY;
#else
    out_vec total = load4_x(t);
#endif
    for (int k = begin; k < end; k += BLOCK) {  // in blocks, so that rounding errors stay small
        out_vec sum = IDENTITY;
        int stop = min(k + BLOCK, end);
#if LIST
        for (int j = k; j < stop; j += 4) {
            ivec4 four = load4_index(((1 - SHARED) * a.x * K + j) >> 2);
            HIT(four.xxxx, j)
            if (j + 1 < stop) HIT(four.yyyy, j + 1)
            if (j + 2 < stop) HIT(four.zzzz, j + 2)
            if (j + 3 < stop) HIT(four.wwww, j + 3)
        }
#else
        for (int j = k; j < stop; j++) HIT(index_at(first + j * B), j)
#endif
#if !SET
        total = COMBINE(total, sum);
#endif
    }
#if SET
    ivec4 some = ivec4(greaterThanEqual(last, ivec4(0)));
    total = op_where(some, term(first + max(last, 0) * B), total);
#endif
    RESULT0(t, FINISH(total));
}
