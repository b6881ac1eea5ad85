// How kernels reach memory in the fragment target: one texture of texels an operand, in rows of a
// width that is a power of two. Sections begin with "//: name"; $k is the operand, $f a read of its texel t,
// $s what those reads need.

//: begin
layout(std140) uniform Numbers { ivec4 numbers[$n]; };
#define GRID numbers[0].x
#define START numbers[0].y
#define LOG_WIDTH numbers[0].z

//: local

//: input f32
uniform sampler2D in$k;
vec4 texel_$k(int t) { return $f; }
float element_$k(int i) { return texel_$k(i >> 2)[i & 3]; }

//: input i32
uniform isampler2D in$k;
ivec4 texel_$k(int t) { return $f; }
int element_$k(int i) { return texel_$k(i >> 2)[i & 3]; }

//: input f16
uniform sampler2D in$k;
vec4 texel_$k(int t) { return $f; }
float element_$k(int i) { return texel_$k(i >> 2)[i & 3]; }

//: input u8
uniform usampler2D in$k;
ivec4 texel_$k(int t) { return ivec4($f); }
int element_$k(int i) { return texel_$k(i >> 2)[i & 3]; }

//: output f32
layout(location = $k) out vec4 out$k;
void store_$k(int t, vec4 v) { out$k = v; }

//: output i32
layout(location = $k) out ivec4 out$k;
void store_$k(int t, ivec4 v) { out$k = v; }

//: output f16
layout(location = $k) out vec4 out$k;
void store_$k(int t, vec4 v) { out$k = v; }

//: output u8
layout(location = $k) out uvec4 out$k;
void store_$k(int t, ivec4 v) { out$k = uvec4(v) & 255u; }

//: main
void main() {
    $s
    int t = (int(gl_FragCoord.y) << LOG_WIDTH) + int(gl_FragCoord.x);
    kernel(min(t, GRID - 1));
}

//: main within
void main() {
    $s
    int t = (int(gl_FragCoord.y) << LOG_WIDTH) + int(gl_FragCoord.x) - START;
    kernel(clamp(t, 0, GRID - 1));
    // Last, as software rasterisers run what follows a discard up to three times more slowly.
    if (t < 0 || t >= GRID) discard;
}
