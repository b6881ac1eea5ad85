// out[n, z, y, x, c] = sum over taps of x[n, z', y', x', c] * w[tap, c], or the adjoint of that in x
// Channels are last and stay apart. An invocation computes a texel of R images, which are IMAGES apart.
#input x
#input w
#include "conv.taps"

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

void kernel(int t) {
    int c = t % CT, p = t / CT;
    int x = AT(p % OX, SX, PX);
    p /= OX;
    int y = AT(p % OY, SY, PY);
    p /= OY;
    int z = AT(p % OZ, SZ, PZ), n = p / OZ;
    int z1 = LAST(z, DZ, IZ, KZ), y1 = LAST(y, DY, IY, KY), x1 = LAST(x, DX, IX, KX);
    EACH(IMAGE_AT)
    for (int kz = FIRST(z, SZ, DZ, IZ); kz < z1; kz++) for (int ky = FIRST(y, SY, DY, IY); ky < y1; ky++)
    for (int kx = FIRST(x, SX, DX, IX); kx < x1; kx++) {
        ivec3 at = source(ivec3(x, y, z), ivec3(kx, ky, kz));
        if (at.x < 0) continue;
        int a = ((at.z * IY + at.y) * IX + at.x) * CT + c;
        w_vec v = load4_w(((kz * KY + ky) * KX + kx) * CT + c);
        EACH(ADD)
    }
    EACH(STORE)
}
