// part[pair, lane, split, tap, run, o] = sum over positions of x[n, z', y', start + run].lane * g[n, z, y, x, o]
// The gradients of packed weights (see conv.rows), for each part of the batch. An invocation holds those of
// a texel of x and STEP = 2 of g, or one; the ranges of the loops leave out positions that read padding.
// tune SPLITS: 1 2 4 8 16 32 64 128 256
// only SPLITS <= LINES
// tune STEP: 2 1
// only STEP == 1 or OUTPUTS >= 8 and (GROUPS == 1 or COLUMNS % 2 == 0)
#input g
#input x

void kernel(int t) {
    int o = t % PAIRS * STEP, p = t / PAIRS, next = min(o + 1, OT - 1) - o;
    int shift = p % RUN - PX + o / GROUP_OUT * GROUP_IN;
    p /= RUN;
    shift += p % TX * DX;
    p /= TX;
    int ky = p % TY;
    p /= TY;
    int kz = p % TZ, begin = p / TZ * ROWS;
    int x0 = max(0, SX - 1 - shift) / SX, x1 = min(OX, max(0, IX - shift + SX - 1) / SX);
    out_vec c0 = out_vec(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
    for (int row = begin; row < min(begin + ROWS, N * OZ * OY); row++) {
        int y = row % OY * SY - PY + ky * DY, z = row / OY % OZ * SZ - PZ + kz * DZ, n = row / (OY * OZ);
        if (y < 0 || y >= IY || z < 0 || z >= IZ) continue;
        int a = ((n * IZ + z) * IY + y) * IX + x0 * SX + shift, b = (row * OX + x0) * OT + o;
        for (int x = x0; x < x1; x++) {
            x_vec v = load4_x(a);
            g_vec w = load4_g(b);
            c0 += v.x * w;
            c1 += v.y * w;
            c2 += v.z * w;
            c3 += v.w * w;
#if STEP == 2
            w = load4_g(b + next);
            c4 += v.x * w;
            c5 += v.y * w;
            c6 += v.z * w;
            c7 += v.w * w;
#endif
            a += SX;
            b += OT;
        }
    }
    RESULT0(t, c0);
    RESULT1(t + BLOCK, c1);
    RESULT2(t + 2 * BLOCK, c2);
    RESULT3(t + 3 * BLOCK, c3);
#if STEP == 2
    RESULT4(t + 4 * BLOCK, c4);
    RESULT5(t + 5 * BLOCK, c5);
    RESULT6(t + 6 * BLOCK, c6);
    RESULT7(t + 7 * BLOCK, c7);
#endif
}
