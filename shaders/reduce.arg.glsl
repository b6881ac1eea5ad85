// out0[o, g, i] = the first place at which x[o, g + c * G, i] is extreme; of parts also out1, its key
#input x

#ifdef LANES
#define X(at) x_vec(load_x(at.x), load_x(at.y), load_x(at.z), load_x(at.w))
#else
#define X(at) load4_x(at)
#endif

// Integers in the order of the elements, the one that is looked for the greatest. NaN is greater.
ivec4 key(ivec4 x) { return ORDER x; }
ivec4 key(vec4 x) { return select(ivec4(is_nan(x)), ivec4(0x7fffffff), ORDER ordered_bits(x)); }
#define KEY(at) key(X(at))
#define AT(at, p) (p / I)
#include "reduce.arg.fold.glsl"
