"""The fragment target in a browser. What runs is wasm/gl.js; this hands it addresses."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyodide.ffi import JsException

from tensorgl.backends.glsl.device import DeviceLost, Limits, is_software
from tensorgl.backends.glsl.rescue import VolatileDevice
from tensorgl.backends.glsl.shader import compile_error
from tensorgl.backends.webgl.probe import checked, connect

__all__ = ["WebGLDevice"]

HEADER = """#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp isampler2D;
precision highp usampler2D;"""

MAX_TEXELS = (1 << 31) // 4 - 1
"""Elements are counted in an int."""
WAITS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each attempt at a new context: a browser that starts its GPU process anew refuses some."""

_STORED = {"f16": np.float16, "u8": np.uint8}
"""Kinds that are read as 32 bits an element."""
_ERRORS = {
    0x0500: "INVALID_ENUM",
    0x0501: "INVALID_VALUE",
    0x0502: "INVALID_OPERATION",
    0x0505: "OUT_OF_MEMORY",
    0x0506: "INVALID_FRAMEBUFFER_OPERATION",
}


class WebGLDevice(VolatileDevice):
    """A WebGL2 context of its own. Each list of launches is one call to JavaScript."""

    def __init__(self) -> None:
        super().__init__()
        self.js, found = connect()
        self.limits = _limits(found)
        self._js_run = self.js.run

    def reopen(self) -> Limits:
        why = ""
        for wait in WAITS:
            time.sleep(wait)
            try:
                self.js.again()
                return _limits(checked(self.js))
            except JsException as error:
                why = error.message
        raise RuntimeError(why)

    def _allocate(self, kind: str, texels: int, width: int) -> int:
        try:
            memory = self.js.allocate(kind, width, texels // width)
        except JsException as error:
            raise self._told(error) from None
        if not memory:
            raise MemoryError(f"no texture of {width} x {texels // width} texels of {kind}")
        return memory

    def _free(self, memory: int) -> None:
        self.js.free(memory)

    def _write(self, memory: int, start: int, data: bytes) -> None:
        try:
            self.js.write(memory, start, data)
        except JsException as error:
            raise self._told(error) from None

    def _read(self, memory: int, start: int, texels: int) -> bytes:
        try:
            return self._bytes(memory, self.js.read(memory, start, texels))
        except JsException as error:
            raise self._told(error) from None

    async def _read_async(self, memory: int, start: int, texels: int) -> bytes:
        try:
            return self._bytes(memory, await self.js.readLater(memory, start, texels))
        except JsException as error:
            raise self._told(error) from None

    def _bytes(self, memory: int, values: Any) -> bytes:
        """What was read, in the memory's own kind."""
        stored = _STORED.get(self._kinds[memory][0])
        if stored is None:
            return values.to_bytes()
        return np.asarray(values.to_py()).astype(stored).tobytes()

    def _compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        try:
            return self.js.compile(source, len(inputs))
        except JsException as error:
            raise self._told(error) from None

    def _run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        at, count = launches.buffer_info()
        where, size = numbers.buffer_info()
        try:
            self._js_run(at, count, slots.buffer_info()[0], where, 4 * size)
        except JsException as error:
            raise self._told(error) from None

    def _timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]:
        at, count = launches.buffer_info()
        where, size = numbers.buffer_info()
        try:
            times = self.js.timed(at, count, slots.buffer_info()[0], where, 4 * size)
        except JsException as error:
            raise self._told(error) from None
        return [round(ms * 1e6) for ms in times]

    def _finish(self) -> None:
        try:
            self.js.finish()
        except JsException as error:
            raise self._told(error) from None

    def _told(self, error: Any) -> Exception:
        """What an exception of gl.js means here."""
        if error.name == "ContextLost" or self.js.lost():
            return DeviceLost(error.message)
        if error.name == "ShaderError":
            log, _, source = error.message.rpartition("\0")
            return compile_error(log.strip("\0\n "), source)
        return RuntimeError(f"WebGL: {error.message}")

    def error(self) -> str:
        number = self.js.error()
        return _ERRORS.get(number, f"error {number}") if number else ""

    def close(self) -> None:
        self.js.close()


def _limits(found: Any) -> Limits:
    return Limits(
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
