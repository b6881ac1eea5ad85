// out[a, l, b] = sum over windows w of g[a, w, b, l - STEP * w]
#input g

out_scalar covered(int i) {
    i = min(i, ELEMENTS - 1);
    int b = i % INNER, row = i / INNER;
    int l = row % LENGTH, a = row / LENGTH;
    out_scalar total = out_scalar(0);
    for (int k = l % STEP; k < SIZE && k <= l; k += STEP) {
        int w = (l - k) / STEP;
        if (w < WINDOWS) total += load_g(((a * WINDOWS + w) * INNER + b) * SIZE + k);
    }
    return total;
}

void kernel(int t) {
    int i = 4 * t;
    RESULT0(t, out_vec(covered(i), covered(i + 1), covered(i + 2), covered(i + 3)));
}
