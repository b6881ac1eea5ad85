// Which element of a window is its maximum.

// Floats as integers in their order, NaN above all.
ivec4 pool_key(vec4 x) { return select(op_isnan(x), ivec4(0x7fffffff), ordered_bits(x)); }

// -1 where an element beats the best so far, or is the first (number -1); else 0.
ivec4 pool_wins(ivec4 key, ivec4 best, ivec4 number) {
    return -ivec4(greaterThan(key, best)) | (number >> 31);
}

// The same for floats: the last NaN of a window wins.
ivec4 pool_wins_float(ivec4 key, ivec4 best, ivec4 number) {
    return pool_wins(key, best, number) | -ivec4(equal(key, ivec4(0x7fffffff)));
}
