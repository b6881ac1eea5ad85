// out[n, z, y, x, c] = sum over taps of x[n, z', y', x', c] * w[tap, c], or the adjoint of that in x
// Channels are last and stay apart. An invocation computes a texel of R images, which are IMAGES apart.
// tune R: 8 6 4 1
// only R <= OUTPUTS and (R != 6 or OUTPUTS < 8)
#input x
#input w
#include "conv.taps"

#define IMAGE (IZ * IY * IX * CT)
#define IMAGE_AT(RESULT, k, i, c) int i = min(n + k * IMAGES, N - 1) * IMAGE; out_vec c = out_vec(0);
#define ADD(RESULT, k, i, c) c += v * load4_x(i + a);
#define STORE(RESULT, k, i, c) RESULT(t + k * IMAGES * OZ * OY * OX * CT, c);
#define FOUR(DO) DO(RESULT0, 0, i0, c0) DO(RESULT1, 1, i1, c1) DO(RESULT2, 2, i2, c2) DO(RESULT3, 3, i3, c3)
#define SIX(DO) FOUR(DO) DO(RESULT4, 4, i4, c4) DO(RESULT5, 5, i5, c5)
#if R == 8
#define EACH(DO) SIX(DO) DO(RESULT6, 6, i6, c6) DO(RESULT7, 7, i7, c7)
#elif R == 6
#define EACH(DO) SIX(DO)
#elif R == 4
#define EACH(DO) FOUR(DO)
#else
#define EACH(DO) DO(RESULT0, 0, i0, c0)
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
