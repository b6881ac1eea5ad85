// out[n, c, z, y, x] = sum over taps of x[n, c, z', y', x'] * w[tap, c]; if ADJOINT, with the taps mirrored
// Every channel is a plane: rows of x are rows of texels. An invocation computes four neighbours in a row
// of R images, which are IMAGES apart. v holds the texels of x that a row of taps reads, w its taps.
#input x
#input w

#include "conv.texels.glsl"
#define NEIGHBOURS(i) x_vec(E(i), E((i) + SX), E((i) + 2 * SX), E((i) + 3 * SX))
#if ADJOINT
#define WEIGHT(k) if (k < KX) w[k] = load_w((last - k) * C + c);
#else
#define WEIGHT(k) if (k < KX) w[k] = load_w((first + k) * C + c);
#endif
#define TAP(k) if (k < KX) sum += w[k] * NEIGHBOURS(FRONT + k);
#define TAPS TAP(0) TAP(1) TAP(2) TAP(3) TAP(4) TAP(5) TAP(6)
#define IMAGE (C * IZ * IY * IX)
#define IMAGE_AT(RESULT, k, i, s) int i = min(n + k * IMAGES, N - 1) * IMAGE; out_vec s = out_vec(0);
#define ADD(RESULT, k, i, s) a = i + row; sum = s; TEXELS TAPS s = sum;
#define STORE(RESULT, k, i, s) RESULT(t + k * IMAGES * C * OZ * OY * OX, s);
#define FOUR(DO) DO(RESULT0, 0, i0, s0) DO(RESULT1, 1, i1, s1) DO(RESULT2, 2, i2, s2) DO(RESULT3, 3, i3, s3)
#define SIX(DO) FOUR(DO) DO(RESULT4, 4, i4, s4) DO(RESULT5, 5, i5, s5)
#if R == 8
#define EACH(DO) SIX(DO) DO(RESULT6, 6, i6, s6) DO(RESULT7, 7, i7, s7)
#elif R == 6
#define EACH(DO) SIX(DO)
#elif R == 4
#define EACH(DO) FOUR(DO)
#else
#define EACH(DO) DO(RESULT0, 0, i0, s0)
#endif

void kernel(int t) {
    int p = t / OX, q = p / OY, m = q / OZ;
    int y = p % OY * SY - PY, z = q % OZ * SZ - PZ, c = m % C, n = m / C;
    int z0 = max(0, DZ - 1 - z) / DZ, z1 = min(KZ, max(0, IZ - z + DZ - 1) / DZ);
    int y0 = max(0, DY - 1 - y) / DY, y1 = min(KY, max(0, IY - y + DY - 1) / DY);
    ivec4 at = t % OX * SX - PX + ivec4(0, 1, 2, 3);
    bvec4 inside = lessThan(uvec4(at), uvec4(IX));
    at = clamp(at, 0, IX - 1);
    x_vec v0, v1, v2, v3;
    w_scalar w[7];
    out_vec sum;
    EACH(IMAGE_AT)
    for (int kz = z0; kz < z1; kz++) for (int ky = y0; ky < y1; ky++) {
        int row = ((c * IZ + z + kz * DZ) * IY + y + ky * DY) * IX, first = (kz * KY + ky) * KX, a;
#if ADJOINT
        int last = KZ * KY * KX - 1 - first;
#endif
        WEIGHT(0) WEIGHT(1) WEIGHT(2) WEIGHT(3) WEIGHT(4) WEIGHT(5) WEIGHT(6)
        EACH(ADD)
    }
    EACH(STORE)
}
