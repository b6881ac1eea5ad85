"""Runs a GLSL expression over arrays, in both targets, by moderngl alone."""

from __future__ import annotations

from typing import Any

import moderngl
import numpy as np

from tensorgl.backends.glsl.shader import library_for

TARGETS = ("compute", "fragment")
WIDTH, GROUP = 64, 64  # texels in a row of a texture; invocations in a work group

COMPUTE = """#version 430
layout(local_size_x = {group}) in;
{inputs}
layout(std430, binding = {count}) writeonly buffer Result {{ {kind} result[]; }};
{library}
void main() {{
    int t = int(gl_GlobalInvocationID.x);
    {reads}
    result[t] = {expression};
}}
"""
FRAGMENT = """#version 330
{inputs}
layout(location = 0) out {kind} result;
{library}
void main() {{
    ivec2 t = ivec2(gl_FragCoord.xy);
    {reads}
    result = {expression};
}}
"""
TRIANGLE = """#version 330
void main() {
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
"""


def vec(array: Any) -> str:
    return "vec4" if array.dtype == np.float32 else "ivec4"


class Runner:
    """Evaluates a GLSL expression in `a`, `b` and `c`, four elements of each array at a time."""

    def __init__(self) -> None:
        self.context = moderngl.create_standalone_context(backend="egl", require=430)

    def __call__(self, target: str, kind: str, expression: str, *arrays: Any) -> Any:
        count = arrays[0].size
        texels = -(-count // (4 * WIDTH)) * WIDTH
        padded = [np.resize(x, 4 * texels) for x in arrays]
        run = self.compute if target == "compute" else self.fragment
        with self.context:
            raw = run(kind, expression, padded, texels)
        dtype = np.float32 if kind == "vec4" else np.int32
        return np.frombuffer(raw, dtype)[:count].reshape(arrays[0].shape)

    def compute(self, kind: str, expression: str, arrays: list[Any], texels: int) -> bytes:
        inputs = [
            f"layout(std430, binding = {k}) readonly buffer In{k} {{ {vec(x)} in{k}[]; }};"
            for k, x in enumerate(arrays)
        ]
        reads = [f"{vec(x)} {'abc'[k]} = in{k}[t];" for k, x in enumerate(arrays)]
        source = COMPUTE.format(
            group=GROUP,
            inputs="\n".join(inputs),
            count=len(arrays),
            kind=kind,
            library=library_for("", expression),
            reads=" ".join(reads),
            expression=expression,
        )
        shader = self.context.compute_shader(source)
        buffers = [self.context.buffer(x.tobytes()) for x in arrays]
        buffers.append(self.context.buffer(reserve=16 * texels))
        for k, buffer in enumerate(buffers):
            buffer.bind_to_storage_buffer(k)
        shader.run(texels // GROUP)
        raw = buffers[-1].read()
        for item in (shader, *buffers):
            item.release()
        return raw

    def fragment(self, kind: str, expression: str, arrays: list[Any], texels: int) -> bytes:
        inputs = [
            f"uniform {'' if vec(x) == 'vec4' else 'i'}sampler2D in{k};"
            for k, x in enumerate(arrays)
        ]
        reads = [f"{vec(x)} {'abc'[k]} = texelFetch(in{k}, t, 0);" for k, x in enumerate(arrays)]
        source = FRAGMENT.format(
            inputs="\n".join(inputs),
            kind=kind,
            library=library_for("", expression),
            reads=" ".join(reads),
            expression=expression,
        )
        program = self.context.program(vertex_shader=TRIANGLE, fragment_shader=source)
        size = WIDTH, texels // WIDTH
        textures = []
        for k, x in enumerate(arrays):
            dtype = "f4" if vec(x) == "vec4" else "i4"
            texture = self.context.texture(size, 4, x.tobytes(), dtype=dtype)
            texture.filter = moderngl.NEAREST, moderngl.NEAREST
            texture.use(k)
            if f"in{k}" in program:  # if the function needs its value
                program[f"in{k}"] = k
            textures.append(texture)
        dtype = "f4" if kind == "vec4" else "i4"
        result = self.context.texture(size, 4, dtype=dtype)
        framebuffer = self.context.framebuffer([result])
        framebuffer.use()
        triangle = self.context.vertex_array(program, [])
        triangle.render(vertices=3)
        raw = framebuffer.read(components=4, dtype=dtype)
        for item in (triangle, framebuffer, program, result, *textures):
            item.release()
        return raw
