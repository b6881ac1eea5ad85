// out[n, z, y, x, o] = sum over taps and run of x[n, z', y', start + run] * w[phase, tap, run, o]
// Channels are last: what a row of taps reads is one run of texels of a row of x. Each of its elements
// meets a row of the packed weights. The ranges of the loops leave out what lies in the padding. An
// invocation computes one texel of 8 images, one of each eighth of the batch.
#input x
#input w

#define IMAGE (IZ * IY * IX)
#define AT(r) (min(n + (r) * IMAGES, N - 1) * IMAGE)
#define ADD(acc, at) { x_vec v = load4_x(a + at); acc += v.x * w0 + v.y * w1 + v.z * w2 + v.w * w3; }

void kernel(int t) {
    int o = t % OT, p = t / OT;
    int first = p % OX * SX - PX + o / GROUP_OUT * GROUP_IN;
    p /= OX;
    int y = p % OY * SY + AY;
    p /= OY;
    int z = p % OZ * SZ + AZ, n = p / OZ;
    int phase = z % RZ * RY + y % RY;
    z = z / RZ - PZ;
    y = y / RY - PY;
    int z0 = max(0, DZ - 1 - z) / DZ, z1 = min(TZ, max(0, IZ - z + DZ - 1) / DZ);
    int y0 = max(0, DY - 1 - y) / DY, y1 = min(TY, max(0, IY - y + DY - 1) / DY);
    int i0 = AT(0), i1 = AT(1), i2 = AT(2), i3 = AT(3), i4 = AT(4), i5 = AT(5), i6 = AT(6), i7 = AT(7);
    out_vec c0 = out_vec(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
    for (int kz = z0; kz < z1; kz++) for (int ky = y0; ky < y1; ky++) for (int kx = 0; kx < TX; kx++) {
        int start = first + kx * DX, skipped = max(0, -start);
        int a = ((z + kz * DZ) * IY + y + ky * DY) * IX + start, end = a + min(RUN, IX - start);
        int b = ((((phase * TZ + kz) * TY + ky) * TX + kx) * RUN + skipped) * 4 * OT + o;
        for (a += skipped; a < end; a++) {
            w_vec w0 = load4_w(b), w1 = load4_w(b + OT), w2 = load4_w(b + 2 * OT), w3 = load4_w(b + 3 * OT);
            ADD(c0, i0) ADD(c1, i1) ADD(c2, i2) ADD(c3, i3) ADD(c4, i4) ADD(c5, i5) ADD(c6, i6) ADD(c7, i7)
            b += 4 * OT;
        }
    }
    RESULT0(t, c0);
    RESULT1(t + BLOCK, c1);
    RESULT2(t + 2 * BLOCK, c2);
    RESULT3(t + 3 * BLOCK, c3);
    RESULT4(t + 4 * BLOCK, c4);
    RESULT5(t + 5 * BLOCK, c5);
    RESULT6(t + 6 * BLOCK, c6);
    RESULT7(t + 7 * BLOCK, c7);
}
