// Trigonometric functions and their inverses, within 4 units in the last place.

const vec4 HALF_PI = vec4(1.5703125, 0.000483751297, 7.54953362e-08, 2.56334415e-12);

// x less the nearest multiple of pi / 2, and which multiple modulo 4, for |x| up to 1e7; beyond, 0. It is
// the (m + n)th, where m is a multiple of 4096. Of m and n the leading 12 bits at most are not 0, and of
// the parts of pi / 2, but for the last, 11: so their products are exact.
vec4 reduce_angle(vec4 x, out ivec4 quadrant) {
    vec4 m = 4096.0 * floor(x * (0.636619772 / 4096.0) + 0.5);
    vec4 r = x - opaque(m * HALF_PI.x) - opaque(m * HALF_PI.y);
    vec4 n = floor((r - m * HALF_PI.z) * 0.636619772 + 0.5);
    quadrant = ivec4(n) & 3;
    r = r - opaque(n * HALF_PI.x) - opaque(n * HALF_PI.y) - opaque(m * HALF_PI.z);
    r = r - (n * HALF_PI.z + (m + n) * HALF_PI.w);
    r = mix(r, vec4(0.0), greaterThan(abs(x), vec4(1e7)));
    return mix(r, vec4(NAN_()), greaterThan(floatBitsToInt(x) & 0x7fffffff, ivec4(0x7f7fffff)));
}

// The next two are for |x| up to pi / 4.
vec4 sin_near(vec4 x) {
    vec4 square = x * x;
    return x * (1.0 - square * (0.166666552 - square * (0.0083321901 - square * 0.000195184082)));
}

vec4 cos_near(vec4 x) {
    vec4 square = x * x;
    vec4 y = 0.0416666456 - square * (0.00138873013 - square * 2.44306684e-05);
    return 1.0 - square * (0.5 - square * y);
}

// The sine, after `quarters` quarter turns
vec4 sin_turned(vec4 x, int quarters) {
    ivec4 quadrant;
    vec4 r = reduce_angle(x, quadrant);
    quadrant += quarters;
    vec4 y = mix(sin_near(r), cos_near(r), notEqual(quadrant & 1, ivec4(0)));
    return intBitsToFloat(floatBitsToInt(y) ^ ((quadrant & 2) << 30));
}

vec4 op_sin(vec4 a) { return sin_turned(a, 0); }

vec4 op_cos(vec4 a) { return sin_turned(a, 1); }

vec4 op_tan(vec4 a) {
    ivec4 quadrant;
    vec4 r = reduce_angle(a, quadrant), y = sin_near(r), x = cos_near(r);
    bvec4 odd = notEqual(quadrant & 1, ivec4(0));
    return mix(y, -x, odd) / mix(x, y, odd);
}

// arcsin x for x up to 1/2, given its square too
vec4 asin_near(vec4 x, vec4 square) {
    vec4 y = 0.0445142128 + square * (0.0318290666 + square * (0.0143628241 + square * 0.0376169384));
    return x * (1.0 + square * (0.166666597 + square * (0.075005196 + square * y)));
}

vec4 op_asin(vec4 a) {
    vec4 x = abs(a);
    bvec4 far = greaterThan(x, vec4(0.5));  // there it is pi/2 - 2 arcsin sqrt((1 - x) / 2)
    vec4 square = mix(x * x, 0.5 - 0.5 * x, far);
    vec4 y = asin_near(mix(x, sqrt(square), far), square);
    return op_copysign(mix(y, 1.57079637 - 2.0 * y, far), a);
}

vec4 op_acos(vec4 a) {
    vec4 x = abs(a);
    bvec4 far = greaterThan(x, vec4(0.5));
    vec4 square = mix(x * x, 0.5 - 0.5 * x, far);
    vec4 y = asin_near(mix(a, sqrt(square), far), square);
    vec4 twice = mix(2.0 * y, 3.14159274 - 2.0 * y, lessThan(a, vec4(0.0)));
    return mix(1.57079637 - y, twice, far);
}

// arctan x for x in 0 .. 1
vec4 atan_near(vec4 x) {
    vec4 square = x * x;
    vec4 y = 0.0579065457 - square * (0.0311270021 - square * (0.0108873611 - square * 0.0017875476));
    y = 0.19998531 - square * (0.142640516 - square * (0.109511748 - square * (0.0840047523 - square * y)));
    return x * (1.0 - square * (0.333332986 - square * y));
}

vec4 op_atan(vec4 a) {
    vec4 x = abs(a);
    bvec4 far = greaterThan(x, vec4(1.0));
    vec4 y = atan_near(mix(x, 1.0 / x, far));
    return op_copysign(mix(y, 1.57079637 - y, far), a);
}

vec4 op_atan2(vec4 a, vec4 b) {
    vec4 large = max(abs(a), abs(b)), small = min(abs(a), abs(b));
    vec4 ratio = small / large;
    // 0 / 0 and infinity / infinity
    ratio = mix(ratio, vec4(greaterThan(large, vec4(0.0))), equal(small, large));
    vec4 angle = mix(atan_near(ratio), a + b, is_nan(a, b));
    angle = mix(angle, 1.57079637 - angle, greaterThan(abs(a), abs(b)));
    angle = mix(angle, 3.14159274 - angle, is_negative(b));
    return op_copysign(angle, a);
}
