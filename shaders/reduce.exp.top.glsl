// What both kernels of sums of exponentials share: the greatest of X, and the results.
#define FOLD tops
#define IDENTITY vec4(-INFINITY_())
#define COMBINE(a, b) op_maximum(a, b)
#define TERM(at, o, p, given) X(at)
#include "reduce.fold.glsl"
#undef FOLD
#undef IDENTITY
#undef COMBINE
#undef TERM

bvec4 is_lowest(vec4 top) { return equal(floatBitsToInt(top), floatBitsToInt(vec4(-INFINITY_()))); }

// exp(-inf - -inf) is NaN, but a part in which all is -inf adds 0 to a sum.
vec4 finite(vec4 top) { return mix(top, vec4(0.0), is_lowest(top)); }

void finish(int t, vec4 top, vec4 sum) {
    RESULT0(t, top);
#if G > 1
    RESULT1(t, sum);
#else
    RESULT1(t, mix(sum, vec4(NAN_()), is_lowest(top)));
#endif
}
