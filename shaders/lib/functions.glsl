// Roots, exponentials, logarithms, powers and hyperbolic functions, within 4 units in the last place.
// Drivers' own ones may be off by thousands. Coefficients are minimax fits of this library's own.

vec4 op_sqrt(vec4 a) { return sqrt(a); }

vec4 op_rsqrt(vec4 a) { return inversesqrt(a); }

vec4 op_hypot(vec4 a, vec4 b) {
    vec4 large = max(abs(a), abs(b)), small = min(abs(a), abs(b));
    vec4 ratio = mix(small / large, vec4(1.0), equal(small, large));
    vec4 y = mix(large * sqrt(1.0 + ratio * ratio), a + b, is_nan(a, b));
    return mix(y, vec4(INFINITY_()), bvec4(ivec4(is_inf(a)) | ivec4(is_inf(b))));
}

// -- exponentials -------------------------------------------------------------------------------------

// 2^n for whole n in -127 .. 128, where -127 gives 0 and 128 infinity
vec4 power_of_two(vec4 n) { return intBitsToFloat((ivec4(n) + 127) << 23); }

// e^x / 2^n for a whole n that makes it 1 .. 2
vec4 exp_fraction(vec4 x, out vec4 n) {
    n = floor(x * 1.44269504);
    vec4 r = x - opaque(n * 0.693145752) - n * 1.42860677e-06;  // 0 .. log 2
    vec4 y = 0.0419110395 + r * (0.00779686822 + r * 0.001946765);
    return 1.0 + r * (0.999999821 + r * (0.500005543 + r * (0.166611701 + r * y)));
}

vec4 op_exp(vec4 a) {
    vec4 n, y = exp_fraction(min(max(a, -88.0), 89.0), n);
    return mix(y * power_of_two(n), a, is_nan(a));
}

// 2^(n + r) for whole n and r in 0 .. 1
vec4 exp2_sum(vec4 n, vec4 r) {
    vec4 y = 0.00967377517 + r * (0.00124822895 + r * 0.000215659718);
    y = 1.0 + r * (0.693147063 + r * (0.240229085 + r * (0.0554861836 + r * y)));
    return y * power_of_two(n);
}

vec4 op_exp2(vec4 a) {
    vec4 x = min(max(a, -127.0), 128.0), n = floor(x);
    return mix(exp2_sum(n, x - n), a, is_nan(a));
}

// (e^x - 1) / 2, which can't overflow, for x in -87 .. 89
vec4 expm1_half(vec4 x) {
    vec4 n = floor(x * 1.44269504 + 0.5);
    vec4 r = x - opaque(n * 0.693145752) - n * 1.42860677e-06;
    vec4 y = 0.0416674428 + r * (0.00836645067 + r * 0.00138702057);
    y = r * (1.0 + r * (0.49999997 + r * (0.16666545 + r * y)));
    vec4 scale = power_of_two(n - 1.0);
    return scale * y + (scale - 0.5);
}

vec4 op_expm1(vec4 a) {
    return mix(2.0 * expm1_half(min(max(a, -18.0), 89.0)), a, is_unchanged(a));
}

vec4 op_sigmoid(vec4 a) { return 1.0 / (1.0 + op_exp(-a)); }

vec4 op_tanh(vec4 a) {
    vec4 y = expm1_half(min(max(a + a, -30.0), 30.0));
    return mix(y / (y + 1.0), a, is_unchanged(a));
}

// e^x / 2 for x >= 0
vec4 exp_half(vec4 x) {
    vec4 n, y = exp_fraction(min(x, 90.0), n);
    return y * power_of_two(n - 1.0);
}

vec4 op_sinh(vec4 a) {
    vec4 x = abs(a), square = a * a;
    vec4 near = 0.00833331142 + square * (0.000198426351 + square * 2.78392554e-06);
    near = a * (1.0 + square * (0.166666672 + square * near));
    vec4 y = exp_half(x);
    bvec4 small = bvec4(ivec4(lessThan(x, vec4(1.0))) | ivec4(is_nan(a)));
    return mix(op_copysign(y - 0.25 / y, a), near, small);
}

vec4 op_cosh(vec4 a) {
    vec4 y = exp_half(abs(a));
    return mix(y + 0.25 / y, a, is_nan(a));
}

// -- logarithms ---------------------------------------------------------------------------------------

// f and e of x = (1 + f) 2^e, with 1 + f in sqrt(1/2) .. sqrt(2), for positive x
vec4 split_float(vec4 x, out vec4 e) {
    ivec4 bits = floatBitsToInt(x), exponent = (bits - 0x3f3504f3) >> 23;
    e = vec4(exponent);
    return intBitsToFloat(bits - (exponent << 23)) - 1.0;
}

// log(1 + f) for such f, as 2 artanh s = f - s (f - r)
vec4 log_fraction(vec4 f) {
    vec4 s = f / (2.0 + f), square = s * s;
    vec4 r = square * (0.666667819 + square * (0.399768293 + square * 0.298914343));
    return f - s * (f - r);
}

// y, the logarithm of x, or what it is where x is not positive or not finite. Below 2^-126, x is 0.
vec4 log_or_special(vec4 y, vec4 x) {
    y = mix(y, x, greaterThan(floatBitsToInt(x) & 0x7fffffff, ivec4(0x7f7fffff)));
    y = mix(y, vec4(-INFINITY_()), lessThan(x, vec4(1.17549435e-38)));
    return mix(y, vec4(NAN_()), lessThan(x, vec4(0.0)));
}

vec4 op_log(vec4 a) {
    vec4 e, y = log_fraction(split_float(a, e));
    return log_or_special(e * 0.693147181 + y, a);
}

vec4 op_log2(vec4 a) {
    vec4 e, y = log_fraction(split_float(a, e));
    return log_or_special(e + y * 1.44269504, a);
}

vec4 op_log10(vec4 a) {
    vec4 e, y = log_fraction(split_float(a, e));
    return log_or_special(e * 0.301025391 + (y * 0.434294482 + e * 4.60503907e-06), a);
}

vec4 op_log1p(vec4 a) {
    vec4 e, x = 1.0 + a, f = split_float(x, e);
    f = mix(f, a, equal(e, vec4(0.0)));  // elsewhere the rounding of the sum does not matter
    vec4 y = log_or_special(e * 0.693147181 + log_fraction(f), x);
    return mix(y, a, is_unchanged(a));
}

vec4 op_asinh(vec4 a) {
    vec4 x = abs(a);
    bvec4 far = greaterThan(x, vec4(1e8));  // there it is log 2x
    vec4 y = mix(x + x * x / (1.0 + sqrt(1.0 + x * x)), x, far);
    y = op_log1p(y) + 0.693147181 * vec4(far);
    return mix(op_copysign(y, a), a, is_unchanged(a));
}

vec4 op_acosh(vec4 a) {
    bvec4 far = greaterThan(a, vec4(1e8));
    vec4 x = a - 1.0;
    vec4 y = op_log1p(mix(x + sqrt(x * (x + 2.0)), x, far)) + 0.693147181 * vec4(far);
    return mix(y, vec4(NAN_()), bvec4(ivec4(lessThan(a, vec4(1.0))) | ivec4(is_nan(a))));
}

vec4 op_atanh(vec4 a) {
    vec4 x = abs(a), y = 0.5 * op_log1p(2.0 * x / (1.0 - x));
    return mix(op_copysign(y, a), a, is_unchanged(a));
}

// -- powers -------------------------------------------------------------------------------------------

// log2 |x| to 2^-32, as the sum of its head and the result. With s = f / (2 + f) it is e plus
// 2 / log 2 times (s + s^3/3 + ...), and s too is the sum of its head and the rest of the division.
vec4 log2_parts(vec4 x, out vec4 high) {
    vec4 e, f = split_float(abs(x), e), d = 2.0 + f, d1 = head_bits(d);
    vec4 s = f / d, s1 = head_bits(s);
    vec4 s2 = (opaque(f - opaque(s1 * d1)) - s1 * (opaque(2.0 - d1) + f)) / d;
    vec4 square = s * s;
    vec4 series = 0.577078938 + square * (0.411915213 + square * 0.336777866);
    series = s * square * (0.961796701 + square * series);
    vec4 lead = opaque(s1 * 2.88476562);
    vec4 rest = s1 * 0.000624456778 + s2 * 2.88539008 + series;
    high = head_bits(e + (lead + rest));
    return opaque(opaque(e - high) + lead) + rest;
}

// What a power is by the standard where a logarithm has no say; y is |a|^n.
vec4 power_or_special(vec4 y, vec4 a, vec4 n) {
    vec4 zero = vec4(0.0), infinite = vec4(INFINITY_());
    bvec4 grows = greaterThan(n, zero);
    y = mix(y, mix(infinite, zero, grows), lessThan(abs(a), vec4(1.17549435e-38)));
    y = mix(y, mix(zero, infinite, grows), is_inf(a));
    ivec4 whole = ivec4(equal(floor(n), n)), odd = whole & ivec4(notEqual(floor(0.5 * n), 0.5 * n));
    ivec4 negative = ivec4(is_negative(a));
    y = mix(y, -y, bvec4(odd & negative));
    ivec4 below = negative & ivec4(lessThan(a, zero)) & ~ivec4(is_inf(a));
    ivec4 invalid = (below & (1 - whole)) | ivec4(is_nan(a, n));
    y = mix(y, vec4(NAN_()), bvec4(invalid));
    return mix(y, vec4(1.0), bvec4(ivec4(equal(a, vec4(1.0))) | ivec4(equal(n, zero))));
}

vec4 op_pow(vec4 a, vec4 n) {
    vec4 high, low = log2_parts(a, high);
    vec4 y = clamp(n, -4294967296.0, 4294967296.0), y1 = head_bits(y), y2 = y - y1;
    vec4 product = opaque(y1 * high), rest = y1 * low + y2 * (high + low);
    vec4 whole = floor(clamp(product + rest, -127.0, 128.0));
    vec4 part = clamp(opaque(product - whole) + rest, -0.5, 1.5);
    return power_or_special(exp2_sum(whole, part), a, n);
}
