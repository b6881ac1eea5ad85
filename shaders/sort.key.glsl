// key[i] = x[i] as an integer in the order of the values: NaN greatest, zeros equal; FLIP: in reverse
ivec4 sort_key(vec4 v) {
    return select(ivec4(is_nan(v)), ivec4(0x7fffffff), ordered_bits(v)) ^ -FLIP;
}
ivec4 sort_key(ivec4 v) { return v ^ -FLIP; }
