"""The few OpenGL calls that moderngl does not have."""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["Functions"]


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
