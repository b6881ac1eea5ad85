// out[o, c, tap] = sum over splits and pixels q of a fold of part[split, place of (o, c, tap, q)]
#input part

// The element of the first split for pixel q of a fold.
int place(int o, int c, int z, int y, int x, int q) {
    int column = q * O + o;
#if FOLD
    int row = c + X_ROW * (x + q * STRIDE) * C + FRONT, tap = (z * KY + y) * TX + x * (1 - X_ROW);
    int t = ((row & 3) + (column >> 2) % STEP * 4) * BLOCK + (tap * RUN + (row >> 2)) * ROW + (column >> 2) / STEP;
#else
    int t = x * X_STEP + (c & 1) * ODD_STEP + (c >> 1) * C_STEP + (z * KY + y) * Y_STEP + (column >> 2);
#endif
    return 4 * t + (column & 3);
}

out_scalar total(int e) {
    int x = e % KX, p = e / KX;
    int y = p % KY;
    p /= KY;
    int z = p % KZ;
    p /= KZ;
    out_scalar sum = out_scalar(0);
    for (int q = 0; q < max(FOLD, 1); q++) {
        int i = place(p / C, p % C, z, y, x, q);
        for (int s = 0; s < SPLITS; s++) sum += load_part(i + s * SPLIT);
    }
    return sum;
}

void kernel(int t) {
    int last = SIZE - 1;
    RESULT0(t, out_vec(total(4 * t), total(min(4 * t + 1, last)), total(min(4 * t + 2, last)),
                       total(min(4 * t + 3, last))));
}
