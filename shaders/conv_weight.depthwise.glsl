// part[split, tap, c] = sum over positions of x[n, z', y', x', c] * g[n, z, y, x, c]
// For each part of the rows of g: see conv.depthwise.
// tune SPLITS: 1 2 4 8 16 32 64 128 256
// only SPLITS <= LINES
#input g
#input x

void kernel(int t) {
    int c = t % CT, p = t / CT;
    int kx = p % KX;
    p /= KX;
    int ky = p % KY;
    p /= KY;
    int kz = p % KZ, begin = p / KZ * ROWS, shift = kx * DX - PX;
    int x0 = max(0, SX - 1 - shift) / SX, x1 = min(OX, max(0, IX - shift + SX - 1) / SX);
    out_vec sum = out_vec(0);
    for (int row = begin; row < min(begin + ROWS, N * OZ * OY); row++) {
        int y = row % OY * SY - PY + ky * DY, z = row / OY % OZ * SZ - PZ + kz * DZ, n = row / (OY * OZ);
        if (y < 0 || y >= IY || z < 0 || z >= IZ) continue;
        int a = (((n * IZ + z) * IY + y) * IX + shift) * CT + c, b = row * OX * CT + c;
        for (int x = x0; x < x1; x++) sum += load4_x(a + x * SX * CT) * load4_g(b + x * CT);
    }
    RESULT0(t, sum);
}
