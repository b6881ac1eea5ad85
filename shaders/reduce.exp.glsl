// out0[o, g, i] = the greatest of x[o, g + c * G, i] over c, out1[o, g, i] = the sum of exp(x - out0)
#input x

#ifdef LANES
#define X(at) vec4(load_x(at.x), load_x(at.y), load_x(at.z), load_x(at.w))
#else
#define X(at) load4_x(at)
#endif
#include "reduce.exp.top.glsl"

#define FOLD sums
#define IDENTITY vec4(0.0)
#define COMBINE(a, b) ((a) + (b))
#define TERM(at, o, p, given) op_exp(X(at) - given)
#include "reduce.fold.glsl"

void kernel(int t) {
    vec4 top = tops(t, vec4(0.0));
    finish(t, top, sums(t, finite(top)));
}
