// The error function and its kin, and the logarithm of gamma and its derivatives.

// tanh(x P(x^2)) to 1e-7, with a fit of P for |x| up to 3.95; beyond, the result stays 1.
vec4 op_erf(vec4 a) {
    vec4 x = a * a;
    vec4 y = 8.763296618e-05 + x * (-5.667871689e-06 + x * 1.418234065e-07);
    y = 0.102769065 + x * (-0.00019184876 + x * (-0.00061977117 + x * y));
    return op_tanh(a * (1.12837927 + x * y));
}

vec4 op_erfc(vec4 a) {
    vec4 x = min(abs(a), 12.0);
    // e^(x^2) erfc x as a fit in t, and e^(-x^2) in two factors, as x^2 rounded is not precise enough.
    vec4 t = 1.0 / (1.0 + 0.4 * x);
    vec4 y = -0.0502398685 + t * (0.222309798 + t * (-0.216894478 + t * 0.0592511632));
    y = 0.225594863 + t * (0.208807662 + t * (0.162415743 + t * (0.163087398 + t * y)));
    y = t * (0.225677893 + t * y);
    vec4 x1 = head_bits(x);
    y *= op_exp(-x1 * x1) * op_exp((x1 - x) * (x1 + x));
    return mix(y, 1.0 - op_erf(a), bvec4(ivec4(lessThan(a, vec4(0.47))) | ivec4(is_nan(a))));
}

// M. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2010), single precision: to 3e-7.
vec4 op_erfinv(vec4 a) {
    vec4 w = -op_log((1.0 - a) * (1.0 + a));
    vec4 x = w - 2.5, y = sqrt(w) - 3.0;
    vec4 near = -3.5233877e-06 + x * (3.43273939e-07 + x * 2.81022636e-08);
    near = -0.00125372503 + x * (0.00021858087 + x * (-4.39150654e-06 + x * near));
    near = 1.50140941 + x * (0.246640727 + x * (-0.00417768164 + x * near));
    vec4 far = 0.00134934322 + y * (0.000100950558 - y * 0.000200214257);
    far = -0.0076224613 + y * (0.00573950773 + y * (-0.00367342844 + y * far));
    far = 2.83297682 + y * (1.00167406 + y * (0.00943887047 + y * far));
    vec4 result = a * mix(far, near, lessThan(w, vec4(5.0)));
    return mix(result, op_copysign(vec4(INFINITY_()), a), equal(abs(a), vec4(1.0)));
}

// -- gamma --------------------------------------------------------------------------------------------

// From 4 on Stirling's series. Below, Gamma(2 + t), of which a fit gives the logarithm, and a factor:
// with |t| up to 1/2, x is 0 to 4 and t. Neither zero, at 1 and 2, suffers from cancellation.
vec4 lgamma_positive(vec4 x) {
    vec4 n = floor(x + 0.5), t = x - n;
    vec4 y = 0.00288116792 + t * (-0.00108876429 + t * (0.000565273163 - t * 0.000444984238));
    y = -0.0673514828 + t * (0.0205813143 + t * (-0.00740167033 + t * y));
    y = t * (0.422784328 + t * (0.322467029 + t * y));
    bvec4 large = greaterThanEqual(x, vec4(4.0));
    vec4 factor = mix(vec4(1.0), x - 1.0, greaterThan(n, vec4(2.0)));
    factor = mix(factor, (x - 1.0) * (x - 2.0), greaterThan(n, vec4(3.0)));
    factor = mix(factor, x, lessThan(n, vec4(2.0)));
    factor = mix(factor, x * (1.0 + x), lessThan(n, vec4(1.0)));
    vec4 l = op_log(mix(factor, x, large));
    y += mix(l, -l, lessThan(n, vec4(2.0)));
    vec4 r = 1.0 / x, square = r * r;
    vec4 series = 0.00277777778 - square * (0.000793650794 - square * 0.000595238095);
    series = r * (0.0833333333 - square * series);
    return mix(y, (x - 0.5) * (l - 1.0) + (0.418938533 + series), large);
}

vec4 op_lgamma(vec4 a) {
    vec4 x = abs(a), y = lgamma_positive(x);
    if (!any(lessThan(a, vec4(0.0)))) return y;
    vec4 part = x - roundEven(x);
    vec4 reflected = 1.14472989 - op_log(x) - op_log(abs(op_sin(3.14159265 * part))) - y;
    reflected = mix(reflected, vec4(INFINITY_()), equal(part, vec4(0.0)));
    reflected = mix(reflected, vec4(INFINITY_()), is_inf(a));
    return mix(y, reflected, lessThan(a, vec4(0.0)));
}

// By recurrence to x + 6, then the asymptotic series (Abramowitz and Stegun, 6.3.18)
vec4 digamma_positive(vec4 x) {
    vec4 y = vec4(0.0);
    for (int k = 0; k < 6; k++) y += 1.0 / (x + float(k));
    x += 6.0;
    vec4 r = 1.0 / x, square = r * r;
    vec4 series = 0.00833333333 - square * (0.00396825397 - square * 0.00416666667);
    return op_log(x) - 0.5 * r - square * (0.0833333333 - square * series) - y;
}

vec4 digamma(vec4 x) {
    vec4 y = digamma_positive(mix(1.0 - x, x, greaterThan(x, vec4(0.0))));
    if (all(greaterThan(x, vec4(0.0)))) return y;
    vec4 part = x - roundEven(x), angle = 3.14159265 * part;
    vec4 reflected = y - 3.14159265 * op_cos(angle) / op_sin(angle);
    bvec4 pole = bvec4(ivec4(equal(part, vec4(0.0))) | ivec4(is_inf(x)));
    reflected = mix(reflected, vec4(NAN_()), pole);
    reflected = mix(reflected, op_copysign(vec4(INFINITY_()), -x), equal(x, vec4(0.0)));
    return mix(y, reflected, lessThanEqual(x, vec4(0.0)));
}

// n! / x^(n + 1), without the overflow of either
vec4 hurwitz_term(vec4 x, int n) {
    vec4 r = 1.0 / x, y = r;
    for (int i = 1; i <= n; i++) y *= float(i) * r;
    return y;
}

// n! times the sum of (x + k)^-(n + 1) over k >= 0, for x > 0 and n > 0, by Euler and Maclaurin
vec4 hurwitz(vec4 x, int n) {
    vec4 y = vec4(0.0);
    for (int k = 0; k < 6; k++) y += hurwitz_term(x + float(k), n);
    x += 6.0;
    float m = float(n), a = m + 1.0, b = a * (m + 2.0) * (m + 3.0), c = b * (m + 4.0) * (m + 5.0);
    vec4 r = 1.0 / x, square = r * r;
    vec4 series = a / 12.0 - square * (b / 720.0 - square * (c / 30240.0));
    return y + hurwitz_term(x, n - 1) + hurwitz_term(x, n) * (0.5 + r * series);
}

// For x <= 0 the sum over all integers k, which has a period of 1, less that over k < 0.
vec4 op_polygamma(vec4 x, int n) {
    if (n == 0) return digamma(x);
    float sign = (n & 1) == 1 ? 1.0 : -1.0;
    bvec4 positive = greaterThan(x, vec4(0.0));
    vec4 y = hurwitz(mix(1.0 - x, x, positive), n);
    if (all(positive)) return sign * y;
    vec4 part = x - roundEven(x), left = hurwitz(abs(part), n), right = hurwitz(1.0 - abs(part), n);
    bvec4 swap = lessThan(part, vec4(0.0));
    vec4 reflected = sign * mix(left, right, swap) + mix(right, left, swap) - y;
    bvec4 pole = bvec4(ivec4(equal(part, vec4(0.0))) | ivec4(is_inf(x)));
    reflected = mix(reflected, vec4(sign * INFINITY_()), pole);
    return mix(sign * y, reflected, lessThanEqual(x, vec4(0.0)));
}
