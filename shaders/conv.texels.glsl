// The RUN texels of a row of x that a row of taps reads, v0 to v3, and their elements, for conv.planes and
// conv_weight.planes. Named one by one, as software rasterisers are slow with arrays.
#define TEXEL(v, k) v = kept(load4_x(a + at[k]), inside[k]);
#define E(i) ((i) < 4 ? v0 : (i) < 8 ? v1 : (i) < 12 ? v2 : v3)[(i) & 3]
#if RUN == 1
#define TEXELS TEXEL(v0, 0)
#elif RUN == 2
#define TEXELS TEXEL(v0, 0) TEXEL(v1, 1)
#elif RUN == 3
#define TEXELS TEXEL(v0, 0) TEXEL(v1, 1) TEXEL(v2, 2)
#else
#define TEXELS TEXEL(v0, 0) TEXEL(v1, 1) TEXEL(v2, 2) TEXEL(v3, 3)
#endif
