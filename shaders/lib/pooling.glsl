// Which element of a window is its maximum.

// Floats as integers in their order; a NaN at tap k is above all, and above those at taps before.
ivec4 pool_key(vec4 x, int k) {
    ivec4 bits = floatBitsToInt(x), size = bits & 0x7fffffff, sign = bits >> 31;
    ivec4 nan = (0x7f800000 - size) >> 31;
    return (((size ^ sign) - sign) & ~nan) | ((0x7f800001 + k) & nan);
}

// The float of a key: any NaN of a NaN.
vec4 pool_value(ivec4 key) {
    ivec4 sign = key >> 31;
    return intBitsToFloat(((key ^ sign) - sign) | (sign & int(0x80000000u)));
}

// -1 where an element beats the best so far, or is the first (number -1); else 0.
ivec4 pool_wins(ivec4 key, ivec4 best, ivec4 number) {
    return -ivec4(greaterThan(key, best)) | (number >> 31);
}
