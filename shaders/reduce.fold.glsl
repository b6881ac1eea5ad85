// What reductions include. FOLD(t, given): for each of the four results of texel t, the terms of its
// elements put together by COMBINE, of which IDENTITY changes nothing.
//
// The operand is (outer, R, I). Result (o, g, i) is of the elements (o, g + c * G, i), c = 0, 1, …, and
// results are counted in row-major order. TERM is given where to load from, o, the positions p of the
// four lanes among the R * I elements of o, and `given`. Three forms:
//
//     columns   a texel of results reads texels; if I is 1 they need not begin with one
//     ROWS      I and G are 1: the texels of each of four rows, whose lanes are joined at the end
//     LANES     a texel of results reads single elements
//
// Terms are added by BLOCKs (TURNS is the same number), so that few roundings follow each other.

out_vec FOLD(int t, out_vec given) {
#ifdef ROWS
    out_vec found = IDENTITY;
    int rows = min(4, RESULTS - 4 * t);
    for (int q = 0; q < rows; q++) {
        int o = 4 * t + q, at = (o * R) >> 2;
        ivec4 p = ivec4(0, 1, 2, 3) - ((o * R) & 3);
        out_vec mine = out_vec(given[q]);
#else
    out_vec mine = given;
#ifdef LANES
    ivec4 e = min(4 * t + ivec4(0, 1, 2, 3), RESULTS - 1);
    ivec4 o = e / STEP, p = e - o * STEP, at = o * (R * I) + p;
#else
    int o = t / STEP, at = ((o * R * I) >> 2) + t - o * STEP;
    ivec4 p = 4 * (t - o * STEP) + ivec4(0, 1, 2, 3) - ((o * R * I) & 3);
#endif
#endif
        out_vec total = IDENTITY;
        for (int c = 0; c < COUNT; c += BLOCK) {
            out_vec part = IDENTITY;
            for (int k = 0; k < TURNS; k++) {
#if COUNT % BLOCK
                if (c + k >= COUNT) break;
#endif
#ifdef MASKED
                PLACE place = min(at, LAST);
                ivec4 inside = ~(p >> 31) & ((p - R * I) >> 31) & 1;
                part = COMBINE(part, op_where(inside, TERM(place, o, p, mine), IDENTITY));
#else
                part = COMBINE(part, TERM(at, o, p, mine));
#endif
                at += STEP;
                p += STRIDE;
            }
            total = COMBINE(total, part);
        }
#ifdef ROWS
        total = COMBINE(total, total.zwxy);
        found[q] = COMBINE(total, total.yxwz).x;
    }
    return found;
#else
    return total;
#endif
}
