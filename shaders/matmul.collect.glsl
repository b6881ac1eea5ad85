// out[m, n] = sum over parts s of p[s, m, n], which lies as the kernels of blocks leave it
#input p

// The texel of p of the first part that holds columns 4 * n .. 4 * n + 3 of a row.
ivec4 place(ivec4 row, ivec4 n) {
    ivec4 g = row / ROWS, m = row - g * ROWS;
#if QUADS
    ivec4 h = m / (4 * LINES), plane = 4 * h + (m & 3), i = m / 4 - h * LINES;
#else
    ivec4 plane = m / LINES, i = m - plane * LINES;
#endif
    return plane * BLOCK + (g * LINES + i) * N4 + n;
}

void kernel(int t) {
    vec4 sum = vec4(0.0);
    const int step = GROUPS * LINES * N4;
#if N % 4 == 0
    int row = t / N4;
    int q = place(ivec4(row), ivec4(t - row * N4)).x;
    for (int s = 0; s < PARTS; s++) sum += load4_p(q + s * step);
#else
    ivec4 e = min(4 * t + ivec4(0, 1, 2, 3), SIZE - 1), row = e / N, n = e - row * N;
    ivec4 q = place(row, n / 4) * 4 + n % 4;
    for (int s = 0; s < PARTS; s++) {
        sum += vec4(load_p(q.x), load_p(q.y), load_p(q.z), load_p(q.w));
        q += 4 * step;
    }
#endif
    RESULT0(t, sum);
}
