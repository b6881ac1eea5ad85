// var_mean of what parts give: a is the sum of squared deviations from a part's mean, b its sum. What a
// mean differs from that of the whole adds its square for each element of the part (Chan et al. 1979).
#input a
#input b

#ifdef LANES
#define A(at) vec4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w))
#define B(at) vec4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w))
#else
#define A(at) load4_a(at)
#define B(at) load4_b(at)
#endif
#define IDENTITY vec4(0.0)
#define COMBINE(a, b) ((a) + (b))
#include "var_mean.counts.glsl"

#define FOLD sums
#define TERM(at, o, p, given) B(at)
#include "reduce.fold.glsl"
#undef FOLD
#undef TERM

vec4 merged(vec4 squares, vec4 sum, vec4 n, vec4 mean) {
    return squares + n * squared(sum / n - mean);
}
#define FOLD squares
#define TERM(at, o, p, given) merged(A(at), B(at), count(ivec4(o), p / I, R), given)
#include "reduce.fold.glsl"

void kernel(int t) {
    vec4 sum = sums(t, vec4(0.0));
    finish(t, squares(t, sum / counts(t)), sum);
}
