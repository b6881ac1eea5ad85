// What both kernels of var_mean share: how many of the TOTAL elements of row o are in part g of
// `parts`. These are every parts-th of them, counted from the texel that the row begins in (SKEW is 3)
// or from its own beginning (SKEW is 0).
vec4 count(ivec4 o, ivec4 g, int parts) {
    ivec4 skew = (o * TOTAL) & SKEW;
    return vec4((TOTAL + skew - g + parts - 1) / parts - ivec4(lessThan(g, skew)));
}

// How many elements there are in each result of texel t.
vec4 counts(int t) {
#if G > 1
    ivec4 e = 4 * t + ivec4(0, 1, 2, 3), o = e / (G * I);
    return count(o, (e - o * (G * I)) / I, G);
#else
    return vec4(TOTAL);
#endif
}

vec4 squared(vec4 x) { return x * x; }

void finish(int t, vec4 squares, vec4 sum) {
#if G > 1
    RESULT0(t, squares);
    RESULT1(t, sum);
#else
    RESULT0(t, FINISH(VARIANCE(squares)));
    RESULT1(t, FINISH(sum / counts(t)));
#endif
}
