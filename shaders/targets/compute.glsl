// How kernels reach memory in the compute target: one storage buffer of texels an operand.
// Sections begin with "//: name"; $k is the operand, $p its binding, $s where an output
// starts, $n how many texels of numbers there are, or how many invocations a work group has.

//: begin
layout(std140, binding = 0) uniform Numbers { ivec4 numbers[$n]; };
#define GRID numbers[0].x
#define START numbers[0].y

//: local
layout(local_size_x = $n) in;

//: input f32
layout(std430, binding = $p) readonly buffer In$k { vec4 in$k[]; };
vec4 texel_$k(int t) { return in$k[t]; }
float element_$k(int i) { return in$k[i >> 2][i & 3]; }

//: input i32
layout(std430, binding = $p) readonly buffer In$k { ivec4 in$k[]; };
ivec4 texel_$k(int t) { return in$k[t]; }
int element_$k(int i) { return in$k[i >> 2][i & 3]; }

//: input f16
layout(std430, binding = $p) readonly buffer In$k { uvec2 in$k[]; };
vec4 texel_$k(int t) { uvec2 w = in$k[t]; return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)); }
float element_$k(int i) { return texel_$k(i >> 2)[i & 3]; }

//: input u8
layout(std430, binding = $p) readonly buffer In$k { uint in$k[]; };
ivec4 texel_$k(int t) { uint w = in$k[t]; return ivec4(uvec4(w, w >> 8, w >> 16, w >> 24) & 255u); }
int element_$k(int i) { return int((in$k[i >> 2] >> ((i & 3) * 8)) & 255u); }

//: output f32
layout(std430, binding = $p) writeonly buffer Out$k { vec4 out$k[]; };
void store_$k(int t, vec4 v) { out$k[t + $s] = v; }

//: output i32
layout(std430, binding = $p) writeonly buffer Out$k { ivec4 out$k[]; };
void store_$k(int t, ivec4 v) { out$k[t + $s] = v; }

//: output f16
layout(std430, binding = $p) writeonly buffer Out$k { uvec2 out$k[]; };
void store_$k(int t, vec4 v) { out$k[t + $s] = uvec2(packHalf2x16(v.xy), packHalf2x16(v.zw)); }

//: output u8
layout(std430, binding = $p) writeonly buffer Out$k { uint out$k[]; };
void store_$k(int t, ivec4 v) {
    uvec4 w = uvec4(v) & 255u;
    out$k[t + $s] = w.x | w.y << 8 | w.z << 16 | w.w << 24;
}

//: main
void main() {
    int t = int(gl_GlobalInvocationID.y * (gl_NumWorkGroups.x * gl_WorkGroupSize.x) + gl_GlobalInvocationID.x);
    if (t < GRID) kernel(t);
}
