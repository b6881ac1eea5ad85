// What both kernels of argmax share: the greatest KEY, then the first place AT which it is.
#define FOLD tops
#define IDENTITY ivec4(~0x7fffffff)
#define COMBINE(a, b) max(a, b)
#define TERM(at, o, p, given) KEY(at)
#include "reduce.fold.glsl"
#undef FOLD
#undef IDENTITY
#undef COMBINE
#undef TERM

#define FOLD places
#define IDENTITY ivec4(0x7fffffff)
#define COMBINE(a, b) min(a, b)
#define TERM(at, o, p, given) select(ivec4(equal(KEY(at), given)), AT(at, p), IDENTITY)
#include "reduce.fold.glsl"

void kernel(int t) {
    ivec4 top = tops(t, ivec4(0));
    RESULT0(t, places(t, top));
#if G > 1
    RESULT1(t, top);
#endif
}
