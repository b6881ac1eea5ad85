// out[n, z, y, x, o] = sum over taps and run of x[n, z', y', start + run] * w[phase, tap, run, o]
// As conv.rows, where a result can be stored anywhere: an invocation computes WIDE neighbouring texels of TALL
// images, so that each texel of x serves WIDE times and each of w TALL times.
#input x
#input w
layout(local_size_x = 64) in;

#define IMAGE (IZ * IY * IX)

void main() {
    int t = int((gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64u + gl_LocalInvocationID.x);
    if (t >= IMAGES * OZ * OY * OX * OT / WIDE) return;
    int o = t % (OT / WIDE) * WIDE, pixel = t / (OT / WIDE), p = pixel;
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
    out_vec sum[TALL * WIDE];
    for (int i = 0; i < TALL * WIDE; i++) sum[i] = out_vec(0);
    for (int kz = z0; kz < z1; kz++) for (int ky = y0; ky < y1; ky++) for (int kx = 0; kx < TX; kx++) {
        int start = first + kx * DX, skipped = max(0, -start);
        int a = ((n * IZ + z + kz * DZ) * IY + y + ky * DY) * IX + start, end = a + min(RUN, IX - start);
        int b = ((((phase * TZ + kz) * TY + ky) * TX + kx) * RUN + skipped) * 4 * OT + o;
        for (a += skipped; a < end; a++, b += 4 * OT) {
            w_vec w[4 * WIDE];
            for (int j = 0; j < 4; j++) for (int k = 0; k < WIDE; k++) w[j * WIDE + k] = load4_w(b + j * OT + k);
            for (int i = 0; i < TALL; i++) {
                x_vec v = load4_x(min(a + i * IMAGES * IMAGE, N * IMAGE - 1));
                for (int k = 0; k < WIDE; k++)
                    sum[i * WIDE + k] += v.x * w[k] + v.y * w[WIDE + k] + v.z * w[2 * WIDE + k] + v.w * w[3 * WIDE + k];
            }
        }
    }
    for (int i = 0; i < TALL; i++) for (int k = 0; k < WIDE; k++)
        store((pixel + i * IMAGES * OZ * OY * OX) * OT + o + k, sum[i * WIDE + k]);
}
