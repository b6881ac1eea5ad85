// out[n, y, x, o] from the targets of conv.window
#input part

void kernel(int t) {
    int o = t % OT, p = t / OT;
    int x = p % OX;
    p /= OX;
    int y = p % OY, n = p / OY, image = n / HALF;
    int plane = (image * 2 + y % 2) * WX + x % WX;
    int place = (((n - image * HALF) * YS + y / 2) * XS + x / WX) * OT + o;
    RESULT0(t, load4_part(plane * BLOCK + place));
}
