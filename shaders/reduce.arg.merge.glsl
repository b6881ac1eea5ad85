// The same of what parts of x give: a is the place in each part, b its key
#input a
#input b

#ifdef LANES
#define AT(at, p) ivec4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w))
#define KEY(at) ivec4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w))
#else
#define AT(at, p) load4_a(at)
#define KEY(at) load4_b(at)
#endif
#include "reduce.arg.fold.glsl"
