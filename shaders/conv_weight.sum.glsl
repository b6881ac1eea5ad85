// out[o, c, tap] = sum over splits and pixels q of a fold of part[split, tap, row of (c, tap, q), q * O + o]
#input part

out_scalar total(int e) {
    int x = e % KX, p = e / KX;
    int y = p % KY;
    p /= KY;
    int z = p % KZ;
    p /= KZ;
    int c = p % C, o = p / C;
    out_scalar sum = out_scalar(0);
    for (int q = 0; q < FOLD; q++) {
#if TX > 1
        int row = c, tap = (z * TY + y) * TX + x;
#else
        int row = FRONT + (x + q * STRIDE) * C + c, tap = z * TY + y;
#endif
        int column = (q * O + o) >> 2;
        int t = (row & 3) * LANE + column % STEP * PAIR + (tap * RUN + (row >> 2)) * ROW + column / STEP;
        for (int s = 0; s < SPLITS; s++) sum += load_part(4 * (t + s * SPLIT) + ((q * O + o) & 3));
    }
    return sum;
}

void kernel(int t) {
    int last = SIZE - 1;
    RESULT0(t, out_vec(total(4 * t), total(min(4 * t + 1, last)), total(min(4 * t + 2, last)),
                       total(min(4 * t + 3, last))));
}
