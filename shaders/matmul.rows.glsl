// out[m, n] = sum over k of a[m, k] * b[k, n]; an invocation makes R rows of one texel of columns
// tune R: 8 6 4 1
// tune PARTS: 1 2 4 8 16 32 64 128 256 512 1024
// tune PAD: 0 1 2 3
// vary LOCAL: 64 16 32 128 256
// only R <= OUTPUTS and (R != 6 or OUTPUTS < 8) and (LOCAL == 64 or COMPUTE)
// only PARTS == 1 or K >= 32 * PARTS
// only PAD == 0 or PAD == MISALIGNED
#input a
#input b
#include "matmul.blocks.glsl"

#if R == 1
#define BLOCK_A(p) row_a((p).x)
#define COLUMN_A(e) load_a((e).x)
#define SUMS vec4
#define ADD(c, b, a) c += (b) * (a)
#else
#define BLOCK_A(p) block_a(p)
#define COLUMN_A(e) column_a(e)
#define SUMS mat4
#define ADD(c, b, a) c += outerProduct(b, a)
#endif
#if R == 8
#define MORE_A(p) block_a(p)
#define MORE_COLUMN_A(e) column_a(e)
#define MORE mat4
#elif R == 6
#define MORE_A(p) mat2x4(row_a((p).x), row_a((p).y))
#define MORE_COLUMN_A(e) vec2(load_a((e).x), load_a((e).y))
#define MORE mat2x4
#endif

// A group is as many rows as share one b; the sum over k is made in parts of KP terms. With PLANES
// result r goes to the r-th block of texels, so that an invocation's rows may lie apart; else to
// its place.
void kernel(int t) {
    int u = min(t, LAST), line = u / N4, n = u - line * N4;
    int group = line / LINES, i = line - group * LINES;
    int part = group / GROUPS, g = group - part * GROUPS;
    const ivec4 lane = ivec4(0, 1, 2, 3);
    ivec4 row0 = i * ROW_LINE + lane * ROW_LANE, row1 = row0 + ROW_HALF;

    int from = part * KP, count = min(KP, K - from);
    ivec4 a0 = start_a(g * ROWS + min(row0, ROWS - 1)) + from * A_K;
    ivec4 a1 = start_a(g * ROWS + min(row1, ROWS - 1)) + from * A_K;
    ivec4 b0 = start_b(g * ROWS, min(4 * n + lane, N - 1)) + from * B_K;
    SUMS c0 = SUMS(0.0);
#if R > 4
    MORE c1 = MORE(0.0);
#endif
    ivec4 p0 = a0 / A_UNIT, p1 = a1 / A_UNIT, q = b0 / B_UNIT;
    for (int k = 0; k < count / 4; k++) {
        mat4 b = block_b(q);
        c0 += b * BLOCK_A(p0);
        p0 += A_STEP;
#if R > 4
        c1 += b * MORE_A(p1);
        p1 += A_STEP;
#endif
        q += B_STEP;
    }
#if K % 4
    for (int k = count / 4 * 4; k < count; k++) {
        vec4 b = row_b(b0 + k * B_K);
        ADD(c0, b, COLUMN_A(a0 + k * A_K));
#if R > 4
        ADD(c1, b, MORE_COLUMN_A(a1 + k * A_K));
#endif
    }
#endif

#if PLANES
    ivec4 u0 = t + lane * BLOCK, u1 = u0 + 4 * BLOCK;
#else
    // Those past the end of a group go past the end of the result, where they are dropped.
    ivec4 u0 = (group * ROWS + row0) * N4 + n + ivec4(greaterThan(row0, ivec4(ROWS - 1))) * TEXELS;
    ivec4 u1 = (group * ROWS + row1) * N4 + n + ivec4(greaterThan(row1, ivec4(ROWS - 1))) * TEXELS;
#endif
#if R == 1
    RESULT0(u0.x, c0);
#else
    RESULT0(u0.x, c0[0]);
    RESULT1(u0.y, c0[1]);
    RESULT2(u0.z, c0[2]);
    RESULT3(u0.w, c0[3]);
#endif
#if R > 4
    RESULT4(u1.x, c1[0]);
    RESULT5(u1.y, c1[1]);
#endif
#if R == 8
    RESULT6(u1.z, c1[2]);
    RESULT7(u1.w, c1[3]);
#endif
}
