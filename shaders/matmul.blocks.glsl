// Places and 4 x 4 blocks of a matmul's operands a and b, which are bound as flat memory. An
// operand has strides along three batch dims and along each of its own.
// MODE: its texels lie 1 along k; 2 along the rows of a, the columns of b; 0 along neither.

ivec4 start_a(ivec4 row) {
    ivec4 g = row / M;
    return g / (G1 * G2) * A_G0 + g / G2 % G1 * A_G1 + g % G2 * A_G2 + (row - g * M) * A_M;
}

ivec4 start_b(int row, ivec4 column) {
    int g = row / M;
    return g / (G1 * G2) * B_G0 + g / G2 % G1 * B_G1 + g % G2 * B_G2 + column * B_N;
}

// block_a(p): column r is row r of a at four k. p: where they begin, in elements / A_UNIT; the next
// four k are A_STEP further.
#if A_MODE == 1
#define A_UNIT 4
#define A_STEP 1
vec4 row_a(int p) { return load4_a(p); }
#else
#define A_UNIT 1
#define A_STEP (4 * A_K)
vec4 row_a(int p) {
    return vec4(load_a(p), load_a(p + A_K), load_a(p + 2 * A_K), load_a(p + 3 * A_K));
}
#endif
#if A_MODE == 2
#undef A_UNIT
#define A_UNIT 4
#undef A_STEP
#define A_STEP A_K
mat4 block_a(ivec4 p) {
    const int s = A_K / 4;
    mat4 columns = mat4(load4_a(p.x), load4_a(p.x + s), load4_a(p.x + 2 * s), load4_a(p.x + 3 * s));
    return transpose(columns);
}
#else
mat4 block_a(ivec4 p) { return mat4(row_a(p.x), row_a(p.y), row_a(p.z), row_a(p.w)); }
#endif
vec4 column_a(ivec4 e) { return vec4(load_a(e.x), load_a(e.y), load_a(e.z), load_a(e.w)); }

// block_b(p): column j is row k + j of b at four columns; block_b * block_a is one of the result.
vec4 row_b(ivec4 e) { return vec4(load_b(e.x), load_b(e.y), load_b(e.z), load_b(e.w)); }
#if B_MODE == 1
#define B_UNIT 4
#define B_STEP 1
mat4 block_b(ivec4 p) {
    return transpose(mat4(load4_b(p.x), load4_b(p.y), load4_b(p.z), load4_b(p.w)));
}
#elif B_MODE == 2
#define B_UNIT 4
#define B_STEP B_K
mat4 block_b(ivec4 p) {
    const int s = B_K / 4;
    return mat4(load4_b(p.x), load4_b(p.x + s), load4_b(p.x + 2 * s), load4_b(p.x + 3 * s));
}
#else
#define B_UNIT 1
#define B_STEP (4 * B_K)
mat4 block_b(ivec4 p) {
    return mat4(row_b(p), row_b(p + B_K), row_b(p + 2 * B_K), row_b(p + 3 * B_K));
}
#endif
