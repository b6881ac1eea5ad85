// out[o, i] = the sum of a[o, r, i] over r, divided by that of b[o, r, i]; and the latter
#input a
#input b

#ifdef LANES
#define A(at) vec4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w))
#define B(at) vec4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w))
#else
#define A(at) load4_a(at)
#define B(at) vec4(load4_b(at))
#endif
#define IDENTITY vec4(0.0)
#define COMBINE(a, b) ((a) + (b))

#define FOLD above
#define TERM(at, o, p, given) A(at)
#include "reduce.fold.glsl"
#undef FOLD
#undef TERM

#define FOLD below
#define TERM(at, o, p, given) B(at)
#include "reduce.fold.glsl"

void kernel(int t) {
    vec4 total = below(t, vec4(0.0));
    RESULT0(t, above(t, vec4(0.0)) / total);
    RESULT1(t, TOTAL(total));
}
