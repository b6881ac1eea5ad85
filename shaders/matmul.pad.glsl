// out[i, j] = x[i, j], where a row of out is J4 whole texels
#input x

void kernel(int t) {
    int i = t / J4;
    ivec4 e = i * J + min((t - i * J4) * 4 + ivec4(0, 1, 2, 3), J - 1);
    RESULT0(t, x_vec(load_x(e.x), load_x(e.y), load_x(e.z), load_x(e.w)));
}
