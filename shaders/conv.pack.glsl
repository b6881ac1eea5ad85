// out[phase, tap, row, column] = w[o, c, tap]: weights in the order in which conv.rows reads them
// A column is a channel of one of the pixels that are computed as one, a row is an element of the run of
// pixels that they read; where a pixel has no tap, the weight is zero.
#input w

out_scalar weight(ivec3 k, int row, int column) {
#if PLANES
    int o = column % 8 * PLANES + column / 8, c = row;
    bool found = o < OUT;
#else
    int pixel = (row + 4 * IN - FRONT) / IN - 4, i = (row + 4 * IN - FRONT) % IN, j = column % OUT;
    k.x += X_FOLD * (column / OUT) + X_PIXEL * pixel;
    bool found = pixel >= 0;
#if ADJOINT
    int o = j / C * IN + i, c = j % C;
#else
    int o = j, c = i;
#endif
#endif
    if (!found || any(lessThan(k, ivec3(0))) || any(greaterThanEqual(k, ivec3(KX, KY, KZ)))) return out_scalar(0);
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
    ivec3 k = ivec3(X_START, Y_START, Z_START) + ivec3(X_TAP, Y_TAP, Z_TAP) * ivec3(x, y, z);
    k += ivec3(phase % RX, phase / RX % RY, phase / (RX * RY));
    RESULT0(t, out_vec(weight(k, row, column), weight(k, row, column + 1), weight(k, row, column + 2),
                       weight(k, row, column + 3)));
}
