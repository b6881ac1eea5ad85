// out[o, n, z, y, x] = sum over c, taps of x[n, c, z', y', x'] * w[tap, c, o]
// For few input channels: rows of x are rows of texels, and an invocation computes four neighbours in a row
// for R = 8 or 4 channels, which are BLOCKS apart. v holds the texels of x that a row of taps reads.
// tune R: 8 4
// only R <= OUTPUTS and (WIDTH == 0 or -(-O // R) * N * POSITIONS // 4 % WIDTH == 0)
#input x
#input w

#include "conv.texels.glsl"
#define NEIGHBOURS(i) out_vec(E(i), E((i) + SX), E((i) + 2 * SX), E((i) + 3 * SX))
#define HALF(u, a, b, c, d) a += u.x * s; b += u.y * s; c += u.z * s; d += u.w * s;
#define FIRST(k) w = load4_w(b + k * C * BLOCKS * R / 4); HALF(w, c0, c1, c2, c3)
#define SECOND(k) w = load4_w(b + k * C * BLOCKS * R / 4 + 1); HALF(w, c4, c5, c6, c7)
#if R == 8
#define TAP(k) if (k < KX) { s = NEIGHBOURS(FRONT + k); FIRST(k) SECOND(k) }
#else
#define TAP(k) if (k < KX) { s = NEIGHBOURS(FRONT + k); FIRST(k) }
#endif

void kernel(int t) {
    int first = t % OX * SX - PX, p = t / OX;
    int y = p % OY * SY - PY;
    p /= OY;
    int z = p % OZ * SZ - PZ;
    p /= OZ;
    int n = p % N, o = p / N;
    int z0 = max(0, DZ - 1 - z) / DZ, z1 = min(TZ, max(0, IZ - z + DZ - 1) / DZ);
    int y0 = max(0, DY - 1 - y) / DY, y1 = min(TY, max(0, IY - y + DY - 1) / DY);
    out_vec c0 = out_vec(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0, s;
    ivec4 at = first + ivec4(0, 1, 2, 3);
    bvec4 inside = lessThan(uvec4(at), uvec4(IX));
    at = clamp(at, 0, IX - 1);
    x_vec v0, v1, v2, v3;
    for (int c = 0; c < C; c++) for (int kz = z0; kz < z1; kz++) for (int ky = y0; ky < y1; ky++) {
        int a = (((n * C + c) * IZ + z + kz * DZ) * IY + y + ky * DY) * IX;
        int b = (((kz * TY + ky) * KX * C + c) * BLOCKS + o) * R / 4;
        w_vec w;
        TEXELS
        TAP(0) TAP(1) TAP(2) TAP(3) TAP(4) TAP(5) TAP(6)
    }
    RESULT0(t, c0);
    RESULT1(t + BLOCK, c1);
    RESULT2(t + 2 * BLOCK, c2);
    RESULT3(t + 3 * BLOCK, c3);
#if R == 8
    RESULT4(t + 4 * BLOCK, c4);
    RESULT5(t + 5 * BLOCK, c5);
    RESULT6(t + 6 * BLOCK, c6);
    RESULT7(t + 7 * BLOCK, c7);
#endif
}
