// out[n, o, z, y, x] = sum over c, kz, ky, kx of x[n, c, z', y', x'] * w[o, c, kz, ky, kx]
// with z' = z * SZ - PZ + kz * DZ and so on; or, if ADJOINT, x and out change places: the sum is over o.
#input x
#input w

// The position that tap k of a window reads, or a negative number.
int source(int position, int k, int stride, int before, int dilation, int size) {
#if ADJOINT
    int at = position + before - k * dilation;
    if (at < 0 || at % stride != 0) return -1;
    at /= stride;
#else
    int at = position * stride - before + k * dilation;
#endif
    if (at >= size) return -1;
    return at;
}

// FROM and TO are the channels of a group of x and of out.
out_scalar element(int i) {
    int x = i % OX, p = i / OX;
    int y = p % OY;
    p /= OY;
    int z = p % OZ;
    p /= OZ;
    int channel = p % (TO * GROUPS), n = p / (TO * GROUPS), group = channel / TO;
    out_scalar sum = out_scalar(0);
    for (int kz = 0; kz < KZ; kz++) for (int ky = 0; ky < KY; ky++) for (int kx = 0; kx < KX; kx++) {
        int sz = source(z, kz, SZ, PZ, DZ, IZ), sy = source(y, ky, SY, PY, DY, IY);
        int sx = source(x, kx, SX, PX, DX, IX);
        if (sz < 0 || sy < 0 || sx < 0) continue;
        int a = (((n * GROUPS + group) * FROM * IZ + sz) * IY + sy) * IX + sx;
        int tap = (kz * KY + ky) * KX + kx;
        for (int c = 0; c < FROM; c++) {
#if ADJOINT
            int b = (group * FROM + c) * TO + channel % TO;
#else
            int b = channel * FROM + c;
#endif
            sum += load_x(a + c * IZ * IY * IX) * load_w(b * KZ * KY * KX + tap);
        }
    }
    return sum;
}

void kernel(int t) {
    int last = SIZE - 1;
    RESULT0(t, out_vec(element(4 * t), element(min(4 * t + 1, last)), element(min(4 * t + 2, last)),
                       element(min(4 * t + 3, last))));
}
