// out[n, z, y, x, o] = sum over taps and run of x[n, z', y', start + run] * w[phase, tap, run, o]
// Channels are last: what a row of taps reads is one run of texels of a row of x. Each of its elements
// meets a row of the packed weights. The ranges of the loops leave out what lies in the padding. An
// invocation computes a texel, or WIDE = 2 neighbours, of R images, which are IMAGES apart.
// tune R: 8 6 4 1
// tune WIDE: 1 2
// vary LOCAL: 64 16 32 128 256
// only R <= OUTPUTS and (R != 6 or OUTPUTS < 8) and (LOCAL == 64 or COMPUTE)
// only WIDE == 1 or (COMPUTE and COLUMNS % 2 == 0)
#input x
#input w

#define IMAGE (IZ * IY * IX)
#define PIXELS (OZ * OY * OX)
#define MISSING(at, K, R) ((K + R - 1) / R - (K - at % R + R - 1) / R)
#define PRODUCT(v, a, b, c, d) v.x * a + v.y * b + v.z * c + v.w * d
#define IMAGE_AT(RESULT, k, i, c, d) int i = min(n + k * IMAGES, N - 1) * IMAGE; out_vec c = out_vec(0), d = c;
#define PLACE(k) (pixel + k * IMAGES * PIXELS) * OT + o
#if WIDE == 2
#define ADD(RESULT, k, i, c, d) v = load4_x(i + a); c += PRODUCT(v, w0, w1, w2, w3); d += PRODUCT(v, u0, u1, u2, u3);
#define STORE(RESULT, k, i, c, d) RESULT(PLACE(k), c); RESULT(PLACE(k) + 1, d);
#else
#define ADD(RESULT, k, i, c, d) v = load4_x(i + a); c += PRODUCT(v, w0, w1, w2, w3);
#define STORE(RESULT, k, i, c, d) RESULT(PLACE(k), c);
#endif
#define TWO(DO) DO(RESULT0, 0, i0, c0, d0) DO(RESULT1, 1, i1, c1, d1)
#define FOUR(DO) TWO(DO) DO(RESULT2, 2, i2, c2, d2) DO(RESULT3, 3, i3, c3, d3)
#define SIX(DO) FOUR(DO) DO(RESULT4, 4, i4, c4, d4) DO(RESULT5, 5, i5, c5, d5)
#if R == 8
#define EACH(DO) SIX(DO) DO(RESULT6, 6, i6, c6, d6) DO(RESULT7, 7, i7, c7, d7)
#elif R == 6
#define EACH(DO) SIX(DO)
#elif R == 4
#define EACH(DO) FOUR(DO)
#else
#define EACH(DO) DO(RESULT0, 0, i0, c0, d0)
#endif

void kernel(int t) {
    int o = t % (OT / WIDE) * WIDE, pixel = t / (OT / WIDE), p = pixel;
    int x = p % OX + AX;
    p /= OX;
    int y = p % OY * SY + AY;
    p /= OY;
    int z = p % OZ * SZ + AZ, n = p / OZ;
    int phase = (z % RZ * RY + y % RY) * RX + x % RX;
    int z0 = MISSING(z, KZ, RZ), y0 = MISSING(y, KY, RY), x0 = MISSING(x, KX, RX);
    int first = x / RX * SX - PX + o / GROUP_OUT * GROUP_IN;
    z = z / RZ - PZ;
    y = y / RY - PY;
    z0 = max(z0, max(0, DZ - 1 - z) / DZ);
    y0 = max(y0, max(0, DY - 1 - y) / DY);
    int z1 = min(TZ, max(0, IZ - z + DZ - 1) / DZ), y1 = min(TY, max(0, IY - y + DY - 1) / DY);
    EACH(IMAGE_AT)
    x_vec v;
    for (int kz = z0; kz < z1; kz++) for (int ky = y0; ky < y1; ky++) for (int kx = x0 * TAPPED; kx < TX; kx++) {
        int start = first + kx * DX, skipped = max(x0 * (1 - TAPPED) * SX, -start);
        int a = ((z + kz * DZ) * IY + y + ky * DY) * IX + start, end = a + min(RUN, IX - start);
        int b = ((((phase * TZ + kz) * TY + ky) * TX + kx) * RUN + skipped) * 4 * OT + o;
        for (a += skipped; a < end; a++) {
            w_vec w0 = load4_w(b), w1 = load4_w(b + OT), w2 = load4_w(b + 2 * OT), w3 = load4_w(b + 3 * OT);
#if WIDE == 2
            w_vec u0 = load4_w(b + 1), u1 = load4_w(b + OT + 1);
            w_vec u2 = load4_w(b + 2 * OT + 1), u3 = load4_w(b + 3 * OT + 1);
#endif
            EACH(ADD)
            b += 4 * OT;
        }
    }
    EACH(STORE)
}
