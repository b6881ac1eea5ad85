// out[n, o, z, y, x] = sum over c, kz, ky, kx of x[n, c, z', y', x'] * w[o, c, kz, ky, kx]
// with z' = z * SZ - PZ + kz * DZ and so on; or, if ADJOINT, x and out change places: the sum is over o.
// FROM and TO are the channels of a group of x and of out.
#input x
#input w
#include "conv.taps"

out_scalar element(int i) {
    int x = AT(i % OX, SX, PX), p = i / OX;
    int y = AT(p % OY, SY, PY);
    p /= OY;
    int z = AT(p % OZ, SZ, PZ);
    p /= OZ;
    int channel = p % (TO * GROUPS), group = channel / TO, n = p / (TO * GROUPS);
    int z1 = LAST(z, DZ, IZ, KZ), y1 = LAST(y, DY, IY, KY), x1 = LAST(x, DX, IX, KX);
    out_scalar sum = out_scalar(0);
    for (int kz = FIRST(z, SZ, DZ, IZ); kz < z1; kz++) for (int ky = FIRST(y, SY, DY, IY); ky < y1; ky++)
    for (int kx = FIRST(x, SX, DX, IX); kx < x1; kx++) {
        ivec3 at = source(ivec3(x, y, z), ivec3(kx, ky, kz));
        if (at.x < 0) continue;
        int a = (((n * GROUPS + group) * FROM * IZ + at.z) * IY + at.y) * IX + at.x;
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
