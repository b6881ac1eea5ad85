// Philox4x32-10 and what is made of its words, bit for bit as tensorgl/primitives/random.py says.

// The high 32 bits of products, by halves, as GLSL ES has no 64-bit product
uvec4 mul_high(uvec4 a, uvec4 b) {
    uvec4 a0 = a & 0xffffu, a1 = a >> 16, b0 = b & 0xffffu, b1 = b >> 16;
    uvec4 middle = a1 * b0 + ((a0 * b0) >> 16);
    uvec4 other = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16) + (other >> 16);
}

uvec4 philox(uvec4 counter, uvec2 key) {
    const uvec4 multiplier = uvec4(0xd2511f53u, 0u, 0xcd9e8d57u, 0u);
    for (int i = 0; i < 10; i++) {
        uvec4 high = mul_high(counter, multiplier), low = counter * multiplier;
        counter = uvec4(high.z ^ counter.y ^ key.x, low.z, high.x ^ counter.w ^ key.y, low.x);
        key += uvec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// The words of a call's block j; state is the seed and the offset, each its low and its high half.
uvec4 philox_block(int j, ivec4 state) {
    uvec4 s = uvec4(state);
    uint low = s.z + uint(j);
    return philox(uvec4(low, s.w + uint(low < s.z), 0u, 0u), s.xy);
}

vec4 uniform_from(uvec4 words) { return vec4(words >> 8) * (1.0 / 16777216.0); }

vec4 uniform16_from(uvec4 words) { return vec4(words >> 21) * (1.0 / 2048.0); }

ivec4 bernoulli_from(uvec4 words, int threshold) {
    return ivec4(lessThan(words >> 8, uvec4(threshold)));
}

// A span of 2^32 is 0 here.
ivec4 randint_from(uvec4 words, int low, int span) {
    return low + ivec4(span == 0 ? words : mul_high(words, uvec4(span)));
}

// u of `normal_table`, shifted so that its leading bit is the first, and where this bit was
uvec4 normal_bits(uvec4 words, out ivec4 position) {
    uvec4 u = (words << 1) | 1u;
    // No bit follows the first at once, so that the conversion can't round up to a power of two.
    position = (floatBitsToInt(vec4(u & ~(u >> 1))) >> 23) - 127;
    return u << (31 - position);
}

// Which segment of `normal_table` each word falls into
ivec4 normal_segment(uvec4 words) {
    ivec4 position;
    uvec4 u = normal_bits(words, position);
    return position * 64 + ivec4((u >> 25) & 63u);
}

// The normal numbers, given what the table has for the words' segments
vec4 normal_from(uvec4 words, ivec4 base, ivec4 drop) {
    ivec4 position;
    ivec4 part = ivec4((normal_bits(words, position) >> 9) & 0xffffu);
    ivec4 magnitude = base - ((drop * part + 0x8000) >> 16), sign = ivec4(words) >> 31;
    return vec4((magnitude ^ sign) - sign) * (1.0 / 2097152.0);
}
