// out[o, c, kz, ky, kx] = sum over n, z, y, x of g[n, o, z, y, x] * x[n, c, z', y', x']
// with z' = z * SZ - PZ + kz * DZ and so on; the ranges of the loops leave out what reads padding.
#input g
#input x

#define FIRST(at, S) (max(0, (S) - 1 - (at)) / (S))
#define LAST(at, S, I, O) min(O, max(0, (I) - (at) + (S) - 1) / (S))

out_scalar element(int i) {
    int kx = i % KX * DX - PX, p = i / KX;
    int ky = p % KY * DY - PY;
    p /= KY;
    int kz = p % KZ * DZ - PZ;
    p /= KZ;
    int o = p / C, c = o / (O / GROUPS) * C + p % C;
    int z1 = LAST(kz, SZ, IZ, OZ), y1 = LAST(ky, SY, IY, OY), x1 = LAST(kx, SX, IX, OX);
    out_scalar sum = out_scalar(0);
    for (int n = 0; n < N; n++) for (int z = FIRST(kz, SZ); z < z1; z++) for (int y = FIRST(ky, SY); y < y1; y++) {
        int a = (((n * GROUPS * C + c) * IZ + z * SZ + kz) * IY + y * SY + ky) * IX + kx;
        int b = (((n * O + o) * OZ + z) * OY + y) * OX;
        for (int x = FIRST(kx, SX); x < x1; x++) sum += load_g(b + x) * load_x(a + x * SX);
    }
    return sum;
}

void kernel(int t) {
    int last = SIZE - 1;
    RESULT0(t, out_vec(element(4 * t), element(min(4 * t + 1, last)), element(min(4 * t + 2, last)),
                       element(min(4 * t + 3, last))));
}
