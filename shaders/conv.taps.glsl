// Which taps of a window, or if ADJOINT of the windows that hold a position, lie in the input. AT is where a
// window begins; FIRST and LAST are bounds of its taps.
#if ADJOINT
#define AT(position, S, P) ((position) + (P))
#define FIRST(at, S, D, I) (max(0, (at) - ((I) - 1) * (S) + (D) - 1) / (D))
#define LAST(at, D, I, K) min(K, (at) / (D) + 1)
#else
#define AT(position, S, P) ((position) * (S) - (P))
#define FIRST(at, S, D, I) (max(0, (D) - 1 - (at)) / (D))
#define LAST(at, D, I, K) min(K, max(0, (I) - (at) + (D) - 1) / (D))
#endif

// What tap k reads; x is negative where an adjoint's stride leaves it out.
ivec3 source(ivec3 at, ivec3 k) {
#if ADJOINT
    at -= k * ivec3(DX, DY, DZ);
    ivec3 stride = ivec3(SX, SY, SZ);
    if (any(notEqual(at % stride, ivec3(0)))) return ivec3(-1);
    return at / stride;
#else
    return at + k * ivec3(DX, DY, DZ);
#endif
}
