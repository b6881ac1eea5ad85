"""The fragment target natively: OpenGL 3.3, a texture a memory, kernels as one triangle."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import moderngl

from tensorgl.backends.glsl.device import COPY, Limits
from tensorgl.backends.glsl.shader import compile_error
from tensorgl.backends.opengl.context import Functions
from tensorgl.backends.opengl.device import MAX_TEXELS, NativeDevice

__all__ = ["FragmentDevice"]

_DTYPE = {"f32": "f4", "f16": "f2", "i32": "i4", "u8": "u1"}
_TRIANGLE = """#version 330
void main() {
    gl_Position = vec4(ivec2(gl_VertexID & 1, gl_VertexID >> 1) * 4 - 1, 0.0, 1.0);
}
"""


class FragmentDevice(NativeDevice):
    """Kernels are fragment shaders; each set of outputs has a framebuffer, kept while they live."""

    def __init__(self, context: Any, software: bool) -> None:
        info = context.info
        rows = info["GL_MAX_TEXTURE_SIZE"]
        limits = Limits(
            target="fragment",
            header="#version 330",
            renderer=info["GL_RENDERER"],
            software=software,
            draw_buffers=min(8, info["GL_MAX_DRAW_BUFFERS"]),
            inputs=min(16, info["GL_MAX_TEXTURE_IMAGE_UNITS"]),
            texels=min(rows * rows, MAX_TEXELS),
            rows=rows,
            number_bytes=info["GL_MAX_UNIFORM_BLOCK_SIZE"],
            number_alignment=256,
        )
        super().__init__(context, limits)
        self._framebuffers: dict[tuple[int, ...], Any] = {}
        self._users: dict[int, list[tuple[int, ...]]] = {}

    def allocate(self, kind: str, texels: int, width: int) -> int:
        with self:
            try:
                texture = self.context.texture((width, texels // width), 4, dtype=_DTYPE[kind])
            except moderngl.Error as error:
                raise MemoryError(str(error)) from None
            texture.filter = moderngl.NEAREST, moderngl.NEAREST
            self._check_memory()
        return self._remember(texture)

    def free(self, memory: int) -> None:
        with self:
            for key in self._users.pop(memory, ()):
                framebuffer = self._framebuffers.pop(key, None)
                if framebuffer is not None:
                    framebuffer.release()
            self._memories.pop(memory).release()

    def write(self, memory: int, start: int, data: bytes) -> None:
        texture = self._memories[memory]
        width = texture.width
        row = width * _TEXEL_BYTES[texture.dtype]
        rows, rest = divmod(len(data), row)
        first = start // width
        with self:
            if rows:
                texture.write(data[: rows * row], (0, first, width, rows), alignment=1)
            if rest:
                texels = rest // _TEXEL_BYTES[texture.dtype]
                texture.write(data[rows * row :], (0, first + rows, texels, 1), alignment=1)

    def read(self, memory: int, start: int, texels: int) -> bytes:
        texture = self._memories[memory]
        width, size = texture.width, _TEXEL_BYTES[texture.dtype]
        first, skip = divmod(start, width)
        rows = -(-(skip + texels) // width)
        box = (skip, first, texels, 1) if rows == 1 else (0, first, width, rows)
        with self:
            framebuffer = self._framebuffer((memory,))
            data = framebuffer.read(box, 4, dtype=texture.dtype, alignment=1)
        return data if rows == 1 else data[skip * size : (skip + texels) * size]

    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        with self:
            try:
                program = self.context.program(vertex_shader=_TRIANGLE, fragment_shader=source)
            except moderngl.Error as error:
                raise compile_error(error, source) from None
            for k in range(len(inputs)):
                name = f"in{k}"
                if name in program:
                    program[name].value = k
            if "Numbers" in program:
                program["Numbers"].binding = 0
            self._programs.append(self.context.vertex_array(program, []))
        return len(self._programs) - 1

    def _framebuffer(self, key: tuple[int, ...]) -> Any:
        found = self._framebuffers.get(key)
        if found is None:
            found = self.context.framebuffer([self._memories[m] for m in key])
            self._framebuffers[key] = found
            for memory in key:
                self._users.setdefault(memory, []).append(key)
        return found

    def _launch(self, launches: array[int], at: int, slots: array[int], begin: int) -> int:
        if launches[at] == COPY:
            _, source, _, target, start, texels = launches[at : at + 6]
            self._copy(slots[source], slots[target], start, texels)
            return at + 6
        (_, program, offset, grid, start, _, _, _, _, outputs, inputs) = launches[at : at + 11]
        at += 11
        self._outputs = key = tuple([slots[s] for s in launches[at : at + outputs]])
        framebuffer = self._framebuffers.get(key) or self._framebuffer(key)
        at += outputs
        memories = self._memories
        for k in range(inputs):
            memories[slots[launches[at + k]]].use(k)
        width = framebuffer.width
        first = start // width
        framebuffer.use()
        framebuffer.viewport = 0, first, width, -(-(start + grid) // width) - first
        self._ring.bind_to_uniform_block(0, offset=begin + offset, size=-1)
        self._programs[program].render(moderngl.TRIANGLES, vertices=3)
        return at + inputs

    def _copy(self, source: int, target: int, start: int, texels: int) -> None:
        """Copy a plane of the framebuffer that was just drawn to, as whole rows."""
        gl, texture = self.gl, self._memories[target]
        width = texture.width
        gl.read_buffer(Functions.COLOR_ATTACHMENT0 + self._outputs.index(source))
        gl.active_texture(Functions.TEXTURE0 + self.limits.inputs - 1)
        gl.bind_texture(Functions.TEXTURE_2D, texture.glo)
        rows = -(-texels // width)
        gl.copy_tex_sub_image(Functions.TEXTURE_2D, 0, 0, start // width, 0, 0, width, rows)

    def _release(self) -> None:
        for framebuffer in self._framebuffers.values():
            framebuffer.release()
        self._framebuffers.clear()
        super()._release()


_TEXEL_BYTES = {"f4": 16, "f2": 8, "i4": 16, "u1": 4}
