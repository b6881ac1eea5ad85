// The same of what parts of x give: a is the greatest of each part, b its sum of exp(x - a)
#input a
#input b

#ifdef LANES
#define X(at) vec4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w))
#define B(at) vec4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w))
#else
#define X(at) load4_a(at)
#define B(at) load4_b(at)
#endif
#include "reduce.exp.top.glsl"

#define FOLD sums
#define IDENTITY vec4(0.0)
#define COMBINE(a, b) ((a) + (b))
#define TERM(at, o, p, given) (B(at) * op_exp(X(at) - given))
#include "reduce.fold.glsl"

void kernel(int t) {
    vec4 top = tops(t, vec4(0.0));
    finish(t, top, sums(t, finite(top)));
}
