// Conversions between the types that shaders know, to the values that numpy's astype gives.

vec4 to_float(ivec4 x) { return vec4(x); }

// Truncation to 64 bits as on x86, where what does not fit gives the lowest integer, then to 32.
ivec4 to_int(vec4 x) {
    ivec4 whole = ivec4(clamp(x, -2147483648.0, 2147483520.0));
    ivec4 large = ivec4(greaterThanEqual(x, vec4(2147483648.0)));
    ivec4 low = ivec4(greaterThanEqual(x, vec4(9223372036854775808.0))) | ivec4(is_nan(x));
    return select(low, ivec4(~0x7fffffff), select(large, ivec4(0x7fffffff), whole));
}

ivec4 to_bool(vec4 x) {
    return ivec4(notEqual(floatBitsToInt(x) & 0x7fffffff, ivec4(0)));
}
ivec4 to_bool(ivec4 x) { return ivec4(notEqual(x, ivec4(0))); }

ivec4 to_uint8(ivec4 x) { return x & 255; }

// The nearest float16, to even of two. Below 2^-14 these are the multiples of 2^-24; elsewhere they
// have 10 of the 23 bits of the fraction.
vec4 round16(vec4 x) {
    ivec4 bits = floatBitsToInt(x), magnitude = bits & 0x7fffffff;
    ivec4 rounded = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fff;
    ivec4 infinite = (bits & ~0x7fffffff) | 0x7f800000;
    rounded = select(ivec4(greaterThan(magnitude, ivec4(0x477fefff))), infinite, rounded);
    vec4 small = roundEven(x * 16777216.0) * (1.0 / 16777216.0);
    vec4 result = mix(intBitsToFloat(rounded), small, lessThan(magnitude, ivec4(0x38800000)));
    return mix(result, x, is_nan(x));
}

// The float16 that follows a on the way to b
vec4 nextafter16(vec4 a, vec4 b) {
    vec4 up = vec4(greaterThan(b, a)) - vec4(lessThan(b, a));
    // 2^-10 of the leading bit; downwards from a power of two, of the bit below.
    ivec4 exponent = floatBitsToInt(abs(a)) - 1 + ivec4(greaterThan(a * up, vec4(0.0)));
    vec4 step = intBitsToFloat(max(exponent, 0x38800000) & 0x7f800000) * (1.0 / 1024.0);
    vec4 finite = clamp(a, -65536.0, 65536.0);
    step = mix(step, vec4(32.0), is_inf(a));
    vec4 next = mix(b, round16(finite + up * step), notEqual(up, vec4(0.0)));
    return mix(next, a + b, is_nan(a, b));
}
