// out[n, z, y, x, c] = sum over taps of x[n, z', y', x', c] * w[tap, c], or the adjoint of that in x
// Channels are last and stay apart. An invocation computes a texel of R images, which are IMAGES apart.
#input x
#input w

#define IMAGE (IZ * IY * IX * CT)
#define IMAGE_AT(k) int i##k = min(n + k * IMAGES, N - 1) * IMAGE; out_vec c##k = out_vec(0);
#define ADD(k) c##k += v * load4_x(i##k + a);
#define STORE(k) RESULT##k(t + k * IMAGES * OZ * OY * OX * CT, c##k);
#if R == 8
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#elif R == 4
#define EACH(DO) DO(0) DO(1) DO(2) DO(3)
#else
#define EACH(DO) DO(0)
#endif

// The position that tap k of a window reads, or a negative number.
int source(int position, int k, int stride, int before, int dilation, int size) {
#if ADJOINT
    int at = position + before - k * dilation;
    if (at < 0 || at % stride != 0) return -1;
    at /= stride;
#else
    int at = position * stride - before + k * dilation;
#endif
    if (at >= size) return -1;
    return at;
}

void kernel(int t) {
    int c = t % CT, p = t / CT;
    int x = p % OX;
    p /= OX;
    int y = p % OY;
    p /= OY;
    int z = p % OZ, n = p / OZ;
    EACH(IMAGE_AT)
    for (int kz = 0; kz < KZ; kz++) {
        int sz = source(z, kz, SZ, PZ, DZ, IZ);
        if (sz < 0) continue;
        for (int ky = 0; ky < KY; ky++) {
            int sy = source(y, ky, SY, PY, DY, IY);
            if (sy < 0) continue;
            for (int kx = 0; kx < KX; kx++) {
                int sx = source(x, kx, SX, PX, DX, IX);
                if (sx < 0) continue;
                int a = ((sz * IY + sy) * IX + sx) * CT + c;
                w_vec v = load4_w(((kz * KY + ky) * KX + kx) * CT + c);
                EACH(ADD)
            }
        }
    }
    EACH(STORE)
}
