"""The few OpenGL calls that moderngl does not have, and its compile errors with the text they are about."""

from __future__ import annotations

import ctypes
from typing import Any

from tensorgl.backends.glsl.shader import ShaderError

__all__ = ["Functions", "compile_error"]


class Functions:
    """OpenGL functions by name, through the context's own loader."""

    COLOR_ATTACHMENT0 = 0x8CE0
    TEXTURE_2D = 0x0DE1
    TEXTURE0 = 0x84C0
    OUT_OF_MEMORY = "GL_OUT_OF_MEMORY"

    def __init__(self, context: Any) -> None:
        load = context.mglo._context.load

        def function(name: str, *arguments: Any) -> Any:
            return ctypes.CFUNCTYPE(None, *arguments)(load(name))

        unsigned, integer = ctypes.c_uint, ctypes.c_int
        self.read_buffer = function("glReadBuffer", unsigned)
        self.active_texture = function("glActiveTexture", unsigned)
        self.bind_texture = function("glBindTexture", unsigned, unsigned)
        self.copy_tex_sub_image = function("glCopyTexSubImage2D", unsigned, *[integer] * 7)


def compile_error(error: Exception, source: str) -> ShaderError:
    """The driver's complaint with the text it is about."""
    numbered = "\n".join(f"{k:4} {line}" for k, line in enumerate(source.splitlines(), 1))
    return ShaderError(f"a shader was rejected: {error}\n{numbered}")
