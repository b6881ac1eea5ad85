// part[kx, split, c, z, y, o] = sum over positions of x[n, c, z', y', x'] * g[o, n, z, y, x]
// For few input channels: see conv.planes. An invocation goes along rows of x and of g for 4 channels of g,
// four neighbours at once, and adds the four up at the end; s[4 * k + j] is that of tap k and channel j.
// tune SPLITS: 1 2 4 8 16 32 64 128 256
// only SPLITS <= LINES
// only TAPS <= OUTPUTS
#input g
#input x

#include "conv.texels.glsl"
#define NEIGHBOURS(i) x_vec(E(i), E((i) + SX), E((i) + 2 * SX), E((i) + 3 * SX))
#define ADD(k, w) s[k] += w * g0; s[k + 1] += w * g1; s[k + 2] += w * g2; s[k + 3] += w * g3;
#define TAP(k) if (k < KX) { x_vec w = NEIGHBOURS(FRONT + k); ADD(4 * k, w) }
#define SUM(v) ((v).x + (v).y + (v).z + (v).w)
#define FOUR(k) out_vec(SUM(s[k]), SUM(s[k + 1]), SUM(s[k + 2]), SUM(s[k + 3]))
#define ZERO(k) s[4 * k] = s[4 * k + 1] = s[4 * k + 2] = s[4 * k + 3] = out_vec(0);
#define TOTAL(RESULT, k) RESULT(t + k * BLOCK, FOUR(4 * k));

void kernel(int t) {
    int o = t % FOURS * 4, p = t / FOURS;
    int ky = p % TY;
    p /= TY;
    int kz = p % TZ;
    p /= TZ;
    int c = p % C, first = p / C * ROWS;
    int o1 = (min(o + 1, O - 1) - o) * CHANNEL, o2 = (min(o + 2, O - 1) - o) * CHANNEL,
        o3 = (min(o + 3, O - 1) - o) * CHANNEL;
    out_vec s[28];
    ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6)
    x_vec v0, v1, v2, v3;
    for (int row = first; row < min(first + ROWS, N * OZ * OY); row++) {
        int y = row % OY * SY - PY + ky * DY, z = row / OY % OZ * SZ - PZ + kz * DZ, n = row / (OY * OZ);
        if (y < 0 || y >= IY || z < 0 || z >= IZ) continue;
        int a = (((n * C + c) * IZ + z) * IY + y) * IX, b = o * CHANNEL + row * OX;
        for (int i = 0; i < OX; i++) {
            ivec4 at = i * SX - PX + ivec4(0, 1, 2, 3);
            bvec4 inside = lessThan(uvec4(at), uvec4(IX));
            at = clamp(at, 0, IX - 1);
            TEXELS
            g_vec g0 = load4_g(b + i), g1 = load4_g(b + i + o1), g2 = load4_g(b + i + o2), g3 = load4_g(b + i + o3);
            TAP(0) TAP(1) TAP(2) TAP(3) TAP(4) TAP(5) TAP(6)
        }
    }
    TOTAL(RESULT0, 0)
#if KX > 1
    TOTAL(RESULT1, 1)
#endif
#if KX > 2
    TOTAL(RESULT2, 2)
#endif
#if KX > 3
    TOTAL(RESULT3, 3)
#endif
#if KX > 4
    TOTAL(RESULT4, 4)
#endif
#if KX > 5
    TOTAL(RESULT5, 5)
#endif
#if KX > 6
    TOTAL(RESULT6, 6)
#endif
}
