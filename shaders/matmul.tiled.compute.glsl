// out[m, n] = sum over k of a[m, k] * b[k, n]; a work group makes a tile through shared memory
// tune BM BN BK TM TN: 128 128 16 8 8, 128 64 16 8 4, 64 64 16 4 4, 32 32 16 4 4
// tune PARTS: 1 2 4 8 16 32 64 128 256 512 1024
// tune PAD: 0 1 2 3
// only not SOFTWARE and ROWS > BM // 2 and N > BN // 2 and K > BK
// only PARTS == 1 or K >= 32 * PARTS
// only PARTS * GROUPS < 65536 and (PAD == 0 or PAD == MISALIGNED)
#input a
#input b
#include "matmul.blocks.glsl"

// An invocation makes TM x TN (each 4 or 8) of the BM x BN, and fetches one block of 4 x 4 of the
// BM x BK and BK x BN that a step needs: BK * (BM + BN) <= 16 * THREADS. It fetches the next step's
// before it computes this one, so that it need not wait for memory.
#define TX (BN / TN)
#define TY (BM / TM)
#define BLOCKS_A (BM * BK / 16)
#define BLOCKS_B (BN * BK / 16)
#define PITCH_A (BM / 4 + 1) // odd: the rows begin at different banks of shared memory
#define PITCH_B (BN / 4 + 1)
#define TILE_B (BK * PITCH_A)

layout(local_size_x = THREADS) in;
shared vec4 tile[BK * (PITCH_A + PITCH_B)]; // of a [k][m / 4], then of b [k][n / 4]

// A block of four k, a column each, of which `left` are there.
mat4 fetch(bool of_a, ivec4 e, int left) {
    if (left >= 4) {
        if (of_a) return transpose(block_a(e / A_UNIT));
        return block_b(e / B_UNIT);
    }
    mat4 c = mat4(0.0);
    for (int j = 0; j < left; j++) {
        if (of_a) c[j] = column_a(e + j * A_K);
        else c[j] = row_b(e + j * B_K);
    }
    return c;
}

void main() {
    int id = int(gl_LocalInvocationIndex), x = id % TX, y = id / TX;
    int group = int(gl_WorkGroupID.z), part = group / GROUPS, g = group - part * GROUPS;
    int m = int(gl_WorkGroupID.y) * BM, n = int(gl_WorkGroupID.x) * BN;
    int from = part * KP, count = min(KP, K - from);
    const ivec4 lane = ivec4(0, 1, 2, 3);

    bool of_a = id < BLOCKS_A;
    bool along = (of_a ? A_MODE : B_MODE) == 1; // neighbours fetch what lies side by side
    int block = of_a ? id : id - BLOCKS_A, across = (of_a ? BM : BN) / 4;
    int k = along ? block % (BK / 4) : block / across;
    int q = along ? block / (BK / 4) : block % across;
    k = id < BLOCKS_A + BLOCKS_B ? 4 * k : K; // nothing is left to fetch for those without a block
    ivec4 e = of_a ? start_a(g * ROWS + min(m + 4 * q + lane, ROWS - 1)) + (from + k) * A_K
                   : start_b(g * ROWS, min(n + 4 * q + lane, N - 1)) + (from + k) * B_K;
    int pitch = of_a ? PITCH_A : PITCH_B, place = (of_a ? 0 : TILE_B) + k * pitch + q;

    mat4 next = fetch(of_a, e, count - k), c00 = mat4(0.0), c01 = c00, c10 = c00, c11 = c00;
    for (int done = BK; done < count + BK; done += BK) {
        barrier();
        if (id < BLOCKS_A + BLOCKS_B) {
            for (int j = 0; j < 4; j++) tile[place + j * pitch] = next[j];
        }
        barrier();
        e += BK * (of_a ? A_K : B_K);
        next = fetch(of_a, e, count - k - done);
        for (int i = 0; i < BK; i++) {
            int u = i * PITCH_A + y, v = TILE_B + i * PITCH_B + x;
            vec4 a0 = tile[u], b0 = tile[v];
            c00 += outerProduct(b0, a0);
#if TN == 8
            vec4 b1 = tile[v + TX];
            c01 += outerProduct(b1, a0);
#endif
#if TM == 8
            vec4 a1 = tile[u + TY];
            c10 += outerProduct(b0, a1);
#endif
#if TM == 8 && TN == 8
            c11 += outerProduct(b1, a1);
#endif
        }
    }

    for (int j = 0; j < 4; j++) {
        int row = m + 4 * y + j, u = (group * ROWS + row) * N4, v = n / 4 + x;
        if (row < ROWS && v < N4) store(u + v, c00[j]);
#if TN == 8
        if (row < ROWS && v + TX < N4) store(u + v + TX, c01[j]);
#endif
#if TM == 8
        row += 4 * TY;
        u += 4 * TY * N4;
        if (row < ROWS && v < N4) store(u + v, c10[j]);
#endif
#if TM == 8 && TN == 8
        if (row < ROWS && v + TX < N4) store(u + v + TX, c11[j]);
#endif
    }
}
