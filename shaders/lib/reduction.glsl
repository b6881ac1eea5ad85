// What only reductions and scans put together.

// log(exp(a) + exp(b)); NaN if either is.
vec4 logaddexp(vec4 a, vec4 b) {
    vec4 below = mix(-abs(a - b), vec4(0.0), equal(a, b));  // infinities have no difference
    return op_maximum(a, b) + op_log1p(op_exp(below));
}
