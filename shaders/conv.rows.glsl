// out[n, z, y, x, o] = sum over taps and run of x[n, z', y', start + run] * w[phase, tap, run, o]
// Channels are last: what a row of taps reads is one run of texels of a row of x. Each of its elements
// meets a row of the packed weights. The ranges of the loops leave out what lies in the padding. An
// invocation computes a texel, or WIDE = 2 neighbours, of R images, which are IMAGES apart.
#input x
#input w

#define IMAGE (IZ * IY * IX)
#define PIXELS (OZ * OY * OX)
#define MISSING(at, K, R) ((K + R - 1) / R - (K - at % R + R - 1) / R)
#define LOAD(a, i) w_vec a##0 = load4_w(i), a##1 = load4_w(i + OT), a##2 = load4_w(i + 2 * OT), a##3 = load4_w(i + 3 * OT);
#define PRODUCT(v, a) v.x * a##0 + v.y * a##1 + v.z * a##2 + v.w * a##3
#define IMAGE_AT(k) int i##k = min(n + k * IMAGES, N - 1) * IMAGE; out_vec c##k = out_vec(0), d##k = c##k;
#define RESULT_AT(k) (pixel + k * IMAGES * PIXELS) * OT + o
#if WIDE == 2
#define ADD(k) { x_vec v = load4_x(i##k + a); c##k += PRODUCT(v, w); d##k += PRODUCT(v, u); }
#define STORE(k) RESULT##k(RESULT_AT(k), c##k); RESULT##k(RESULT_AT(k) + 1, d##k);
#else
#define ADD(k) { x_vec v = load4_x(i##k + a); c##k += PRODUCT(v, w); }
#define STORE(k) RESULT##k(RESULT_AT(k), c##k);
#endif
#if R == 8
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#elif R == 4
#define EACH(DO) DO(0) DO(1) DO(2) DO(3)
#else
#define EACH(DO) DO(0)
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
    for (int kz = z0; kz < z1; kz++) for (int ky = y0; ky < y1; ky++) for (int kx = x0 * TAPPED; kx < TX; kx++) {
        int start = first + kx * DX, skipped = max(x0 * (1 - TAPPED) * SX, -start);
        int a = ((z + kz * DZ) * IY + y + ky * DY) * IX + start, end = a + min(RUN, IX - start);
        int b = ((((phase * TZ + kz) * TY + ky) * TX + kx) * RUN + skipped) * 4 * OT + o;
        for (a += skipped; a < end; a++) {
            LOAD(w, b)
#if WIDE == 2
            LOAD(u, b + 1)
#endif
            EACH(ADD)
            b += 4 * OT;
        }
    }
    EACH(STORE)
}
