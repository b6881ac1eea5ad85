// out[o, g, i] = COMBINE over c of x[o, g + c * G, i]
#input x

#ifdef LANES
#define TERM(at, o, p, given) x_vec(load_x(at.x), load_x(at.y), load_x(at.z), load_x(at.w))
#else
#define TERM(at, o, p, given) load4_x(at)
#endif
#define FOLD fold
#include "reduce.fold.glsl"

void kernel(int t) {
    RESULT0(t, FINISH(fold(t, IDENTITY)));
}
