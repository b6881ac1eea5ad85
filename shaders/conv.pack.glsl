// out[phase, tap, row, column] = w[o, c, tap]: the order in which conv.rows reads weights
// A column is a channel of one of the FOLD result pixels that are computed as one, a row is an element of
// the run of source pixels that they read; where a pixel has no tap there, the weight is zero.
#input w

out_scalar weight(ivec3 k, int row, int column) {
    int pixel = (row + 4 * IN - FRONT) / IN - 4, i = (row + 4 * IN - FRONT) % IN, j = column % OUT;
    k.x += X_FOLD * (column / OUT) + X_PIXEL * pixel;
#if ADJOINT
    int o = j / C * IN + i, c = j % C;
#else
    int o = j, c = i;
#endif
    if (pixel < 0 || any(lessThan(k, ivec3(0))) || any(greaterThanEqual(k, ivec3(KX, KY, KZ))))
        return out_scalar(0);
    return load_w((((o * C + c) * KZ + k.z) * KY + k.y) * KX + k.x);
}

void kernel(int t) {
    int column = t % COLUMNS * 4, p = t / COLUMNS;
    int row = p % ROWS;
    p /= ROWS;
    int x = p % TX;
    p /= TX;
    int y = p % TY;
    p /= TY;
    int z = p % TZ, phase = p / TZ;
    ivec3 k = ivec3(X_START + X_TAP * x, Y_START + Y_TAP * y + phase % RY, Z_START + Z_TAP * z + phase / RY);
    RESULT0(t, out_vec(weight(k, row, column), weight(k, row, column + 1), weight(k, row, column + 2),
                       weight(k, row, column + 3)));
}
