"""The compute target natively: OpenGL 4.3, a storage buffer a memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import moderngl

from tensorgl.backends.glsl.device import LOCAL, Limits
from tensorgl.backends.glsl.memory import BYTES
from tensorgl.backends.glsl.shader import compile_error
from tensorgl.backends.opengl.device import MAX_TEXELS, NativeDevice

__all__ = ["ComputeDevice"]

_BARRIER = moderngl.SHADER_STORAGE_BARRIER_BIT
_HOST_BARRIER = moderngl.BUFFER_UPDATE_BARRIER_BIT


class ComputeDevice(NativeDevice):
    """Kernels are compute shaders."""

    def __init__(self, context: Any, software: bool) -> None:
        info = context.info
        buffers = info["GL_MAX_COMPUTE_SHADER_STORAGE_BLOCKS"]
        limits = Limits(
            target="compute",
            header="#version 430",
            renderer=info["GL_RENDERER"],
            software=software,
            draw_buffers=min(8, buffers // 2),
            inputs=buffers,
            texels=min(info["GL_MAX_SHADER_STORAGE_BLOCK_SIZE"] // 16, MAX_TEXELS),
            rows=0,
            number_bytes=info["GL_MAX_UNIFORM_BLOCK_SIZE"],
            number_alignment=_alignment(info),
        )
        super().__init__(context, limits)
        self._groups = info["GL_MAX_COMPUTE_WORK_GROUP_COUNT"][0]
        self._barrier = context.memory_barrier
        self._texel_bytes: dict[int, int] = {}

    def allocate(self, kind: str, texels: int, width: int) -> int:
        size = texels * BYTES[kind]
        with self:
            try:
                buffer = self.context.buffer(reserve=size)
            except moderngl.Error as error:
                raise MemoryError(str(error)) from None
            self._check_memory()
        number = self._remember(buffer)
        self._texel_bytes[number] = BYTES[kind]
        return number

    def free(self, memory: int) -> None:
        del self._texel_bytes[memory]
        with self:
            self._memories.pop(memory).release()

    def write(self, memory: int, start: int, data: bytes) -> None:
        with self:
            self._barrier(_HOST_BARRIER)
            self._memories[memory].write(data, offset=start * self._texel_bytes[memory])

    def read(self, memory: int, start: int, texels: int) -> bytes:
        size = self._texel_bytes[memory]
        with self:
            self._barrier(_HOST_BARRIER)
            return self._memories[memory].read(texels * size, offset=start * size)

    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        try:
            with self:
                program = self.context.compute_shader(source)
        except moderngl.Error as error:
            raise compile_error(error, source) from None
        self._programs.append(program)
        return len(self._programs) - 1

    def _launch(self, launches: array[int], at: int, slots: array[int], begin: int) -> int:
        (_, program, offset, grid, _, x, y, z, barrier, outputs, inputs) = launches[at : at + 11]
        at += 11
        if barrier:
            self._barrier(_BARRIER)
        memories = self._memories
        for k in range(outputs):
            memories[slots[launches[at + k]]].bind_to_storage_buffer(inputs + k)
        at += outputs
        for k in range(inputs):
            memories[slots[launches[at + k]]].bind_to_storage_buffer(k)
        # a block's size is what the shader declares; more than that is never read
        self._ring.bind_to_uniform_block(0, offset=begin + offset, size=-1)
        if x:
            self._programs[program].run(x, y, z)
        else:
            groups = -(-grid // LOCAL)
            y = -(-groups // self._groups)
            self._programs[program].run(-(-groups // y), y, 1)
        return at + inputs


def _alignment(info: Any) -> int:
    """Offsets of uniform blocks; drivers ask for at most 256."""
    return info.get("GL_UNIFORM_BUFFER_OFFSET_ALIGNMENT", 256)
