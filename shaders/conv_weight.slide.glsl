// part[tap, odd, split, kz, ky, pair, o] = sum over positions of x[n, z', y', x + tap - PX, 2 * pair + odd] * g[n, z, y, x, o]
// Channels last, no strides along x: an invocation slides KX = 2 to 4 taps along rows of x, for two channels
// of x and four of g, so that a step takes one texel of each. Targets are BLOCK apart.
// tune SPLITS: 1 2 4 8 16 32 64 128 256
// only SPLITS <= LINES
// only 2 * TAPS <= OUTPUTS
#input g
#input x

#define TAKE(e, f) e = high ? v.z : v.x; f = high ? v.w : v.y;
#define FIRST(k, e, f) v = x_vec(0); if (k >= PX && k < IX + PX) v = load4_x(a + (k - PX) * CT); TAKE(e, f)
#define NONE(e, f) e = f = x_scalar(0);
#define TWO c0 += e0 * w; c1 += f0 * w; c2 += e1 * w; c3 += f1 * w; e0 = e1; f0 = f1;
#define THREE TWO c4 += e2 * w; c5 += f2 * w; e1 = e2; f1 = f2;
#if KX == 2
#define LAST(DO) DO(e1, f1)
#define STEP TWO
#elif KX == 3
#define LAST(DO) DO(e2, f2)
#define STEP THREE
#else
#define LAST(DO) DO(e3, f3)
#define STEP THREE c6 += e3 * w; c7 += f3 * w; e2 = e3; f2 = f3;
#endif

void kernel(int t) {
    int o = t % OT, p = t / OT;
    int pair = p % (2 * CT);
    bool high = (pair & 1) != 0;
    p /= 2 * CT;
    int ky = p % KY;
    p /= KY;
    int kz = p % KZ, begin = p / KZ * ROWS;
    int oy = begin % OY, oz = begin / OY % OZ, n = begin / (OY * OZ);
    out_vec c0 = out_vec(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
    x_vec v;
    x_scalar e0, f0, e1, f1, e2, f2, e3, f3;
    for (int row = begin; row < min(begin + ROWS, N * OZ * OY); row++) {
        int y = oy * SY - PY + ky * DY, z = oz * SZ - PZ + kz * DZ;
        if (y >= 0 && y < IY && z >= 0 && z < IZ) {
            int a = ((n * IZ + z) * IY + y) * IX * CT + (pair >> 1), b = row * OX * OT + o, x = 0;
            FIRST(0, e0, f0)
#if KX > 2
            FIRST(1, e1, f1)
#endif
#if KX > 3
            FIRST(2, e2, f2)
#endif
            a += (KX - 1 - PX) * CT;
            for (; x < FULL; x++) {
                v = load4_x(a);
                LAST(TAKE)
                g_vec w = load4_g(b);
                STEP
                a += CT;
                b += OT;
            }
            for (; x < OX; x++) {
                LAST(NONE)
                g_vec w = load4_g(b);
                STEP
                b += OT;
            }
        }
        // the next row, without quotients
        oy++;
        int over = int(oy == OY);
        oy -= over * OY;
        oz += over;
        over = int(oz == OZ);
        oz -= over * OZ;
        n += over;
    }
    RESULT0(t, c0);
    RESULT1(t + BLOCK, c1);
    RESULT2(t + 2 * BLOCK, c2);
    RESULT3(t + 3 * BLOCK, c3);
#if KX > 2
    RESULT4(t + 4 * BLOCK, c4);
    RESULT5(t + 5 * BLOCK, c5);
#endif
#if KX > 3
    RESULT6(t + 6 * BLOCK, c6);
    RESULT7(t + 7 * BLOCK, c7);
#endif
}
