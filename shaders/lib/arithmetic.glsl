// Arithmetic, rounding, bounds, comparison and choice. Of integers that are uint8 or bool the caller
// keeps the low bits of the result.

vec4 op_neg(vec4 a) { return -a; }
ivec4 op_neg(ivec4 a) { return -a; }

vec4 op_abs(vec4 a) { return abs(a); }
ivec4 op_abs(ivec4 a) { return (a ^ (a >> 31)) - (a >> 31); }

vec4 op_sign(vec4 a) {  // 0 for NaN
    return vec4(greaterThan(a, vec4(0.0))) - vec4(lessThan(a, vec4(0.0)));
}
ivec4 op_sign(ivec4 a) { return sign(a); }

vec4 op_floor(vec4 a) { return floor(a); }
ivec4 op_floor(ivec4 a) { return a; }

vec4 op_ceil(vec4 a) { return ceil(a); }
ivec4 op_ceil(ivec4 a) { return a; }

vec4 op_round(vec4 a) { return roundEven(a); }
ivec4 op_round(ivec4 a) { return a; }

vec4 op_trunc(vec4 a) { return trunc(a); }
ivec4 op_trunc(ivec4 a) { return a; }

vec4 op_add(vec4 a, vec4 b) { return a + b; }
ivec4 op_add(ivec4 a, ivec4 b) { return a + b; }

vec4 op_sub(vec4 a, vec4 b) { return a - b; }
ivec4 op_sub(ivec4 a, ivec4 b) { return a - b; }

vec4 op_mul(vec4 a, vec4 b) { return a * b; }
ivec4 op_mul(ivec4 a, ivec4 b) { return a * b; }

vec4 op_div(vec4 a, vec4 b) { return a / b; }

vec4 op_reciprocal(vec4 a) { return 1.0 / a; }

// -- division that rounds -------------------------------------------------------------------------

// By long division of the fractions, 8 bits at a time, since a quotient of floats is not exact.
vec4 op_fmod(vec4 a, vec4 b) {
    ivec4 p = floatBitsToInt(a) & 0x7fffffff, q = floatBitsToInt(b) & 0x7fffffff;
    uvec4 divisor = uvec4((q & 0x7fffff) | 0x800000);
    uvec4 rest = uvec4((p & 0x7fffff) | 0x800000) % divisor;
    ivec4 bits = (p >> 23) - (q >> 23);
    for (int i = 0; i < 32 && any(greaterThan(bits, ivec4(0))); i++) {
        ivec4 step = clamp(bits, 0, 8);
        rest = (rest << step) % divisor;
        bits -= step;
    }
    vec4 result = vec4(rest) * (1.0 / 8388608.0) * intBitsToFloat(q & 0x7f800000);
    result = op_copysign(mix(result, abs(a), lessThan(p, q)), a);
    ivec4 invalid = ivec4(greaterThan(p, ivec4(0x7f7fffff))) | ivec4(lessThan(q, ivec4(0x800000)));
    return mix(result, vec4(NAN_()), bvec4(invalid | ivec4(is_nan(b))));
}
// a % b of integers; the remainder by 0 is 0, as a shader can't raise an error.
ivec4 op_fmod(ivec4 a, ivec4 b) {
    uvec4 divisor = uvec4(op_abs(b));
    divisor += uvec4(equal(divisor, uvec4(0u)));
    ivec4 rest = ivec4(uvec4(op_abs(a)) % divisor), sign = a >> 31;
    return (rest ^ sign) - sign;
}

// Where a remainder with the sign of the dividend has to be moved by the divisor to have its sign.
ivec4 is_crossed(vec4 rest, vec4 b) {
    ivec4 signs = floatBitsToInt(rest) ^ floatBitsToInt(b);
    return ivec4(lessThan(signs, ivec4(0))) & ivec4(notEqual(rest, vec4(0.0)));
}
ivec4 is_crossed(ivec4 rest, ivec4 b) {
    return ivec4(lessThan(rest ^ b, ivec4(0))) & ivec4(notEqual(rest, ivec4(0)));
}

vec4 op_remainder(vec4 a, vec4 b) {
    vec4 rest = op_fmod(a, b);
    rest = mix(rest, rest + b, bvec4(is_crossed(rest, b)));
    return mix(rest, op_copysign(rest, b), equal(rest, vec4(0.0)));
}
ivec4 op_remainder(ivec4 a, ivec4 b) {
    ivec4 rest = op_fmod(a, b);
    return rest + (b & -is_crossed(rest, b));
}

vec4 op_floor_divide(vec4 a, vec4 b) {
    vec4 rest = op_fmod(a, b);
    vec4 quotient = roundEven((a - rest) / b) - vec4(is_crossed(rest, b));
    quotient = mix(quotient, op_copysign(vec4(0.0), a / b), equal(quotient, vec4(0.0)));
    return mix(quotient, a / b, equal(b, vec4(0.0)));
}
// a by 0 is a.
ivec4 op_floor_divide(ivec4 a, ivec4 b) {
    uvec4 divisor = uvec4(op_abs(b));
    divisor += uvec4(equal(divisor, uvec4(0u)));
    uvec4 magnitude = uvec4(op_abs(a)), quotient = magnitude / divisor;
    ivec4 sign = (a ^ b) >> 31;
    quotient += uvec4(notEqual(quotient * divisor, magnitude)) & uvec4(-sign);
    return (ivec4(quotient) ^ sign) - sign;
}

ivec4 op_gcd(ivec4 a, ivec4 b) {
    uvec4 p = uvec4(op_abs(a)), q = uvec4(op_abs(b));
    for (int i = 0; i < 48 && any(notEqual(q, uvec4(0u))); i++) {  // Euclid's, at most 47 steps
        uvec4 zero = uvec4(equal(q, uvec4(0u)));
        uvec4 rest = p % (q + zero);
        p = p * zero + q;
        q = rest * (1u - zero);
    }
    return ivec4(p);
}

// By squaring; a negative power is the quotient rounded towards zero.
ivec4 op_pow(ivec4 a, ivec4 n) {
    ivec4 result = ivec4(1), square = a, rest = max(n, 0);
    for (int i = 0; i < 31 && any(notEqual(rest, ivec4(0))); i++) {
        result *= select(rest & 1, square, ivec4(1));
        square *= square;
        rest >>= 1;
    }
    ivec4 odd = select(n & 1, a, ivec4(1));
    ivec4 inverse = odd & -ivec4(equal(op_abs(a), ivec4(1)));
    return select(ivec4(lessThan(n, ivec4(0))), inverse, result);
}

// -- bounds: NaN if either is, which GLSL's max and min don't promise -------------------------------

vec4 op_maximum(vec4 a, vec4 b) {
    return mix(mix(max(a, b), b, is_nan(b)), a, is_nan(a));
}
ivec4 op_maximum(ivec4 a, ivec4 b) { return max(a, b); }

vec4 op_minimum(vec4 a, vec4 b) {
    return mix(mix(min(a, b), b, is_nan(b)), a, is_nan(a));
}
ivec4 op_minimum(ivec4 a, ivec4 b) { return min(a, b); }

vec4 op_clamp_min(vec4 a, vec4 low) { return op_maximum(a, low); }
ivec4 op_clamp_min(ivec4 a, ivec4 low) { return max(a, low); }

vec4 op_clamp_max(vec4 a, vec4 high) { return op_minimum(a, high); }
ivec4 op_clamp_max(ivec4 a, ivec4 high) { return min(a, high); }

vec4 op_clamp(vec4 a, vec4 low, vec4 high) { return op_minimum(op_maximum(a, low), high); }
ivec4 op_clamp(ivec4 a, ivec4 low, ivec4 high) { return min(max(a, low), high); }

// -- comparison and choice --------------------------------------------------------------------------

ivec4 op_eq(vec4 a, vec4 b) { return ivec4(equal(a, b)); }
ivec4 op_eq(ivec4 a, ivec4 b) { return ivec4(equal(a, b)); }

ivec4 op_ne(vec4 a, vec4 b) { return 1 - ivec4(equal(a, b)); }
ivec4 op_ne(ivec4 a, ivec4 b) { return ivec4(notEqual(a, b)); }

ivec4 op_lt(vec4 a, vec4 b) { return ivec4(lessThan(a, b)); }
ivec4 op_lt(ivec4 a, ivec4 b) { return ivec4(lessThan(a, b)); }

ivec4 op_le(vec4 a, vec4 b) { return ivec4(lessThanEqual(a, b)); }
ivec4 op_le(ivec4 a, ivec4 b) { return ivec4(lessThanEqual(a, b)); }

ivec4 op_logical_not(vec4 a) {
    return ivec4(equal(floatBitsToInt(a) & 0x7fffffff, ivec4(0)));
}
ivec4 op_logical_not(ivec4 a) { return ivec4(equal(a, ivec4(0))); }

vec4 op_where(ivec4 c, vec4 a, vec4 b) { return mix(b, a, notEqual(c, ivec4(0))); }
ivec4 op_where(ivec4 c, ivec4 a, ivec4 b) { return select(c, a, b); }
