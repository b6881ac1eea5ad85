// The elements of each result in two passes: their sum, then the squares of what they differ from
// their mean. As parts: the sum of those squares, and the sum. At the end: variance and mean.
#input x

#ifdef LANES
#define X(at) vec4(load_x(at.x), load_x(at.y), load_x(at.z), load_x(at.w))
#else
#define X(at) load4_x(at)
#endif
#define IDENTITY vec4(0.0)
#define COMBINE(a, b) ((a) + (b))
#include "var_mean.counts.glsl"

#define FOLD sums
#define TERM(at, o, p, given) X(at)
#include "reduce.fold.glsl"
#undef FOLD
#undef TERM

#define FOLD squares
#define TERM(at, o, p, given) squared(X(at) - given)
#include "reduce.fold.glsl"

void kernel(int t) {
    vec4 sum = sums(t, vec4(0.0));
    finish(t, squares(t, sum / counts(t)), sum);
}
