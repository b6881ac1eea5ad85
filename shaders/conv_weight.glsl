// out[o, c, kz, ky, kx] = sum over n, z, y, x of g[n, o, z, y, x] * x[n, c, z', y', x']
// with z' = z * SZ - PZ + kz * DZ and so on.
#input g
#input x

out_scalar element(int i) {
    int kx = i % KX, p = i / KX;
    int ky = p % KY;
    p /= KY;
    int kz = p % KZ;
    p /= KZ;
    int o = p / C, c = o / (O / GROUPS) * C + p % C;
    out_scalar sum = out_scalar(0);
    for (int n = 0; n < N; n++) for (int z = 0; z < OZ; z++) for (int y = 0; y < OY; y++) {
        int sz = z * SZ - PZ + kz * DZ, sy = y * SY - PY + ky * DY;
        if (sz < 0 || sz >= IZ || sy < 0 || sy >= IY) continue;
        int a = (((n * GROUPS * C + c) * IZ + sz) * IY + sy) * IX, b = (((n * O + o) * OZ + z) * OY + y) * OX;
        for (int x = 0; x < OX; x++) {
            int sx = x * SX - PX + kx * DX;
            if (sx >= 0 && sx < IX) sum += load_g(b + x) * load_x(a + sx);
        }
    }
    return sum;
}

void kernel(int t) {
    int last = SIZE - 1;
    RESULT0(t, out_vec(element(4 * t), element(min(4 * t + 1, last)), element(min(4 * t + 2, last)),
                       element(min(4 * t + 3, last))));
}
