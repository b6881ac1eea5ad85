// out[o, r, i] = COMBINE over k <= r of x[o, k, i]
#input x
#include "scan.prefix.glsl"

void kernel(int t) {
    RESULT0(t, FINISH(prefix(t)));
}
