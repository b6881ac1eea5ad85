// out[m, n] = sum over k of a[m, k] * b[k, n]; any strides and dtypes, one texel an invocation
#input a
#input b

void kernel(int t) {
    ivec4 e = min(4 * t + ivec4(0, 1, 2, 3), SIZE - 1), row = e / N, g = row / M;
    ivec4 g0 = g / (G1 * G2), g1 = g / G2 % G1, g2 = g % G2;
    ivec4 p = g0 * A_G0 + g1 * A_G1 + g2 * A_G2 + (row - g * M) * A_M;
    ivec4 q = g0 * B_G0 + g1 * B_G1 + g2 * B_G2 + (e - row * N) * B_N;
    out_vec sum = out_vec(0);
    int k = 0;
#if DOTS
    for (; k < K / 4; k++) {
        ivec4 i = p / 4 + k, j = q / 4 + k;
        sum.x += dot(load4_a(i.x), load4_b(j.x));
        sum.y += dot(load4_a(i.y), load4_b(j.y));
        sum.z += dot(load4_a(i.z), load4_b(j.z));
        sum.w += dot(load4_a(i.w), load4_b(j.w));
    }
    k *= 4;
#endif
    for (; k < K; k++) {
        ivec4 i = p + k * A_K, j = q + k * B_K;
        out_vec a = out_vec(load_a(i.x), load_a(i.y), load_a(i.z), load_a(i.w));
        sum += a * out_vec(load_b(j.x), load_b(j.y), load_b(j.z), load_b(j.w));
    }
    RESULT0(t, sum);
}
