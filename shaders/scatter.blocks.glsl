// out[a, m, b] = the terms source[a, k, b] of the m-th BLOCK of the sorted indices' k, as one
#input pairs
#input source
#include "scatter.sorted.glsl"

void kernel(int t) {
    ivec4 at = min(4 * t + ivec4(0, 1, 2, 3), SIZE - 1);
    ivec4 b = at % B, m = at / B % BLOCKS, a = at / (B * BLOCKS);
    RESULT0(t, folded(a * (K * B) + b, ROW(a, b), m * BLOCK, min((m + 1) * BLOCK, K)));
}
