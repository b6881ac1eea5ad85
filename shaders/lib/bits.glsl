// What a number is by its bits, and the operators on bits. Drivers assume that no number is NaN:
// mix(b, a, greaterThan(a, b)), for one, becomes max(a, b), which drops it. Integers they leave alone.

float INFINITY_() { return uintBitsToFloat(0x7f800000u); }

float NAN_() { return uintBitsToFloat(0x7fc00000u); }

bvec4 is_nan(vec4 x) {
    return greaterThan(floatBitsToInt(x) & 0x7fffffff, ivec4(0x7f800000));
}

bvec4 is_nan(vec4 a, vec4 b) {  // whether either is
    ivec4 magnitude = max(floatBitsToInt(a) & 0x7fffffff, floatBitsToInt(b) & 0x7fffffff);
    return greaterThan(magnitude, ivec4(0x7f800000));
}

bvec4 is_inf(vec4 x) {
    return equal(floatBitsToInt(x) & 0x7fffffff, ivec4(0x7f800000));
}

bvec4 is_negative(vec4 x) {  // also -0 and NaN with a sign
    return lessThan(floatBitsToInt(x), ivec4(0));
}

// NaN and |x| < 2^-25, where f(x) = x for many a function: this keeps NaN, and the sign of zero.
bvec4 is_unchanged(vec4 x) {
    uvec4 magnitude = floatBitsToUint(x) & 0x7fffffffu;
    return greaterThan(magnitude - 0x33000000u, uvec4(0x7f800000u - 0x33000000u));
}

// x without its last bit, for products and sums of few bits, where that bit is 0. Compilers can't see
// this, and so can't merge or reorder them: x - opaque(n * c) stays exact.
vec4 opaque(vec4 x) { return intBitsToFloat(floatBitsToInt(x) & ~1); }

// The first 11 bits of x: products of two of these are exact.
vec4 head_bits(vec4 x) { return intBitsToFloat(floatBitsToInt(x) & ~0x1fff); }

// A vector, or zeros.
vec4 kept(vec4 v, bool keep) { return mix(vec4(0.0), v, bvec4(keep)); }
ivec4 kept(ivec4 v, bool keep) { return v * int(keep); }

// a where the mask is 1, and b where it is 0
ivec4 select(ivec4 mask, ivec4 a, ivec4 b) { return b ^ ((a ^ b) & -mask); }

ivec4 op_isnan(vec4 a) { return ivec4(is_nan(a)); }
ivec4 op_isnan(ivec4 a) { return ivec4(0); }

vec4 op_copysign(vec4 a, vec4 b) {
    return intBitsToFloat((floatBitsToInt(a) & 0x7fffffff) | (floatBitsToInt(b) & ~0x7fffffff));
}

// Bits of floats as integers in the order of the floats; both zeros are 0.
ivec4 ordered_bits(vec4 x) {
    ivec4 bits = floatBitsToInt(x), sign = bits >> 31;
    return ((bits & 0x7fffffff) ^ sign) - sign;
}

vec4 op_nextafter(vec4 a, vec4 b) {
    ivec4 from = ordered_bits(a), to = ordered_bits(b);
    ivec4 next = from + ivec4(greaterThan(to, from)) - ivec4(lessThan(to, from));
    ivec4 sign = next >> 31;
    // Zero has two signs: towards zero a's stays, and of equal numbers it is b's.
    ivec4 zero = floatBitsToInt(op_copysign(vec4(0.0), b));
    zero = select(ivec4(equal(from, to)), zero, floatBitsToInt(op_copysign(vec4(0.0), a)));
    next = select(ivec4(equal(next, ivec4(0))), zero, ((next ^ sign) - sign) | (sign & ~0x7fffffff));
    return mix(mix(intBitsToFloat(next), b, is_nan(b)), a, is_nan(a));
}

ivec4 op_bitwise_not(ivec4 a) { return ~a; }

ivec4 op_bitwise_and(ivec4 a, ivec4 b) { return a & b; }

ivec4 op_bitwise_or(ivec4 a, ivec4 b) { return a | b; }

ivec4 op_bitwise_xor(ivec4 a, ivec4 b) { return a ^ b; }

// GLSL leaves shifts by less than 0 or more than 31 undefined; numpy shifts everything out.
ivec4 is_shift(ivec4 n) { return ivec4(lessThan(uvec4(n), uvec4(32u))); }

ivec4 op_bitwise_left_shift(ivec4 a, ivec4 b) { return (a << (b & 31)) & -is_shift(b); }

ivec4 op_bitwise_right_shift(ivec4 a, ivec4 b) {
    return a >> select(is_shift(b), b & 31, ivec4(31));
}

vec4 column(vec4 a, vec4 b, vec4 c, vec4 d, int k) {
    bool odd = (k & 1) != 0;
    vec4 low = odd ? vec4(a.y, b.y, c.y, d.y) : vec4(a.x, b.x, c.x, d.x);
    vec4 high = odd ? vec4(a.w, b.w, c.w, d.w) : vec4(a.z, b.z, c.z, d.z);
    return k > 1 ? high : low;
}

ivec4 column(ivec4 a, ivec4 b, ivec4 c, ivec4 d, int k) {
    bool odd = (k & 1) != 0;
    ivec4 low = odd ? ivec4(a.y, b.y, c.y, d.y) : ivec4(a.x, b.x, c.x, d.x);
    ivec4 high = odd ? ivec4(a.w, b.w, c.w, d.w) : ivec4(a.z, b.z, c.z, d.z);
    return k > 1 ? high : low;
}
