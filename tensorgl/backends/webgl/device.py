"""The fragment target in a browser. What runs is wasm/gl.js; this hands it addresses."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgl.backends.glsl.device import Device, Limits
from tensorgl.backends.glsl.shader import ShaderError
from tensorgl.backends.webgl.probe import connect, is_software

__all__ = ["WebGLDevice"]

HEADER = """#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp isampler2D;
precision highp usampler2D;"""

MAX_TEXELS = (1 << 31) // 4 - 1
"""Elements are counted in an int."""

_STORED = {"f16": np.float16, "u8": np.uint8}
"""Kinds that are read as 32 bits an element."""


class WebGLDevice(Device):
    """A WebGL2 context of its own. Each list of launches is one call to JavaScript."""

    def __init__(self) -> None:
        self.js, found = connect()
        self.limits = Limits(
            target="fragment",
            header=HEADER,
            renderer=found.renderer,
            software=is_software(found.renderer),
            draw_buffers=min(8, found.drawBuffers),
            inputs=min(16, found.inputs),
            texels=min(found.rows * found.rows, MAX_TEXELS),
            rows=found.rows,
            number_bytes=found.numberBytes,
            number_alignment=max(256, found.numberAlignment),
        )
        self._kinds: dict[int, str] = {}
        self._run = self.js.run
        self._timed = self.js.timed

    def allocate(self, kind: str, texels: int, width: int) -> int:
        memory = self.js.allocate(kind, width, texels // width)
        if not memory:
            raise MemoryError(f"no texture of {width} x {texels // width} texels of {kind}")
        self._kinds[memory] = kind
        return memory

    def free(self, memory: int) -> None:
        del self._kinds[memory]
        self.js.free(memory)

    def write(self, memory: int, start: int, data: bytes) -> None:
        self.js.write(memory, start, data)

    def read(self, memory: int, start: int, texels: int) -> bytes:
        return self._bytes(memory, self.js.read(memory, start, texels))

    def _bytes(self, memory: int, values: Any) -> bytes:
        """What was read, in the memory's own kind."""
        stored = _STORED.get(self._kinds[memory])
        if stored is None:
            return values.to_bytes()
        return np.asarray(values.to_py()).astype(stored).tobytes()

    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        return self.js.compile(source, len(inputs))

    def run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        at, count = launches.buffer_info()
        where, size = numbers.buffer_info()
        self._run(at, count, slots.buffer_info()[0], where, 4 * size)

    def timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]:
        at, count = launches.buffer_info()
        where, size = numbers.buffer_info()
        times = self._timed(at, count, slots.buffer_info()[0], where, 4 * size)
        return [round(ms * 1e6) for ms in times]

    def finish(self) -> None:
        self.js.finish()

    def close(self) -> None:
        self.js.close()
