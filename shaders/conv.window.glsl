// part[image, row, column, n, y, x, o]: a 3x3 convolution without strides, channels last, in windows of 2 x WX pixels
// The weights of a texel of channels are read once for all pixels of the windows of IMAGES images, which are
// HALF apart: 1 fetch for 15 to 17 multiply-adds. Targets are BLOCK apart; conv.collect puts them together.
// tune WX: 3 2
// tune IMAGES: 2 1
// only 2 * WX * IMAGES <= OUTPUTS and IMAGES <= N
#input x
#input w

#define WEIGHT(k) \
    w[4 * k] = load4_w(b + k * CT * 4 * OT); \
    w[4 * k + 1] = load4_w(b + (k * CT * 4 + 1) * OT); \
    w[4 * k + 2] = load4_w(b + (k * CT * 4 + 2) * OT); \
    w[4 * k + 3] = load4_w(b + (k * CT * 4 + 3) * OT);
#define ONE(c, v, k) c += v.x * w[4 * (k)] + v.y * w[4 * (k) + 1] + v.z * w[4 * (k) + 2] + v.w * w[4 * (k) + 3];
#define THREE(c, u, v, s, k) ONE(c, u, k) ONE(c, v, k + 1) ONE(c, s, k + 2)
#define PIXEL(k) kept(load4_x(a + at[k]), within && inside[k])
#define FOUR(r) \
    row = y - PY + r; \
    within = row >= 0 && row < IY; \
    a = image + clamp(row, 0, IY - 1) * IX * CT + i; \
    p0 = PIXEL(0); \
    p1 = PIXEL(1); \
    p2 = PIXEL(2); \
    p3 = PIXEL(3);
#if WX == 3
#define ROW(r) FOUR(r) p4 = kept(load4_x(a + at4), within && inside4);
#define LINE(c, d, e, k) THREE(c, p0, p1, p2, k) THREE(d, p1, p2, p3, k) THREE(e, p2, p3, p4, k)
#else
#define ROW(r) FOUR(r)
#define LINE(c, d, e, k) THREE(c, p0, p1, p2, k) THREE(d, p1, p2, p3, k)
#endif
#define WINDOW(c, d, e, f, g, h) \
    ROW(0) LINE(c, d, e, 0) \
    ROW(1) LINE(c, d, e, 3) LINE(f, g, h, 0) \
    ROW(2) LINE(c, d, e, 6) LINE(f, g, h, 3) \
    ROW(3) LINE(f, g, h, 6)

void kernel(int t) {
    int o = t % OT, p = t / OT;
    int x = p % XS * WX - PX;
    p /= XS;
    int y = p % YS * 2, n = p / YS;
    ivec4 at = x + ivec4(0, 1, 2, 3);
    bvec4 inside = lessThan(uvec4(at), uvec4(IX));
    at = clamp(at, 0, IX - 1) * CT;
    int at4 = clamp(x + 4, 0, IX - 1) * CT;
    bool inside4 = x + 4 < IX;
    out_vec c0 = out_vec(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
    x_vec p0, p1, p2, p3, p4;
    w_vec w[36];
    for (int i = 0; i < CT; i++) {
        int b = i * 4 * OT + o, row, a, image = n * IY * IX * CT;
        bool within;
        WEIGHT(0) WEIGHT(1) WEIGHT(2) WEIGHT(3) WEIGHT(4) WEIGHT(5) WEIGHT(6) WEIGHT(7) WEIGHT(8)
#if WX == 3
        WINDOW(c0, c1, c2, c3, c4, c5)
#else
        WINDOW(c0, c1, c1, c2, c3, c3)
#if IMAGES == 2
        image = min(n + HALF, N - 1) * IY * IX * CT;
        WINDOW(c4, c5, c5, c6, c7, c7)
#endif
#endif
    }
    RESULT0(t, c0);
    RESULT1(t + BLOCK, c1);
    RESULT2(t + 2 * BLOCK, c2);
    RESULT3(t + 3 * BLOCK, c3);
#if WX == 3 || IMAGES == 2
    RESULT4(t + 4 * BLOCK, c4);
    RESULT5(t + 5 * BLOCK, c5);
#endif
#if IMAGES == 2
    RESULT6(t + 6 * BLOCK, c6);
    RESULT7(t + 7 * BLOCK, c7);
#endif
}
