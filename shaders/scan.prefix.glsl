// What scans include: prefix(t), for each of the four elements of texel t the elements from the first
// of its block (of B along R) up to it, put together by COMBINE, of which IDENTITY changes nothing.
//
// The operand is (outer, R, I). Three forms: columns, where I is whole texels; ROWS, where I is 1 and
// R whole texels or all there is; LANES, which reads single elements.

out_vec prefix(int t) {
#ifdef ROWS
    int place = t % ((R + 3) / 4) % (B / 4);
    out_vec before = IDENTITY, x = load4_x(t);
    for (int k = t - place; k < t; k++) before = COMBINE(before, load4_x(k));
    before = COMBINE(before, before.zwxy);
    before = COMBINE(before, before.yxwz);
    x = COMBINE(x, out_vec((IDENTITY).x, x.xyz));
    x = COMBINE(x, out_vec((IDENTITY).xx, x.xy));
    return COMBINE(before, x);
#else
    out_vec found = IDENTITY;
#ifdef LANES
    ivec4 e = min(4 * t + ivec4(0, 1, 2, 3), LAST), n = e / I;
    ivec4 place = (n - n / R * R) % B, at = e - place * I;
    int last = max(max(place.x, place.y), max(place.z, place.w));
    for (int k = 0; k <= last; k++) {
        ivec4 i = min(at + k * I, LAST);
        out_vec x = out_vec(load_x(i.x), load_x(i.y), load_x(i.z), load_x(i.w));
        found = COMBINE(found, op_where(ivec4(greaterThanEqual(place, ivec4(k))), x, IDENTITY));
    }
#else
    int place = t / (I / 4) % R % B;
    for (int k = t - place * (I / 4); k <= t; k += I / 4) found = COMBINE(found, load4_x(k));
#endif
    return found;
#endif
}
