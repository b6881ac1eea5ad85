"""Asks the browser for a WebGL2 context, and says what it is or what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tensorgl.backends.glsl.device import is_software

__all__ = ["WebGL", "checked", "connect", "describe"]

_NO_CONTEXT = (
    "device 'gl' is not available: {error}. Check that hardware acceleration is switched on in the "
    "browser's settings (chrome://gpu or about:support shows why WebGL2 is off), or use device 'cpu'"
)
_NO_FLOATS = (
    "device 'gl' is not available: {renderer} cannot draw to 32-bit floats (EXT_color_buffer_float is "
    "missing{halves}), which training needs; use device 'cpu', another browser, or another GPU"
)


@dataclass(frozen=True)
class WebGL:
    """What a context reports of itself."""

    renderer: str
    version: str
    software: bool
    limits: dict[str, int]


def connect() -> tuple[Any, Any]:
    """The JavaScript side of a device with a context of its own, and what that reports.

    Raises:
        RuntimeError: there is no context, or it cannot draw to floats.
    """
    import pyodide_js
    from pyodide.ffi import JsException

    try:
        device = _device_class().new(pyodide_js._module)
    except JsException as error:
        raise RuntimeError(_NO_CONTEXT.format(error=error.message)) from None
    return device, checked(device)


def checked(device: Any) -> Any:
    """What a device's context reports.

    Raises:
        RuntimeError: it cannot draw to floats; it is closed.
    """
    limits = device.limits()
    if not limits.float32:
        halves = ", 16-bit floats are all it has" if limits.float16 else ""
        message = _NO_FLOATS.format(renderer=limits.renderer, halves=halves)
        device.close()
        raise RuntimeError(message)
    return limits


@cache
def _device_class() -> Any:
    from pyodide.code import run_js

    scripts = files("tensorgl.wasm")
    memory, device = (scripts.joinpath(f"{n}.js").read_text("utf-8") for n in ("gl_memory", "gl"))
    return run_js(device)(run_js(memory))


@cache
def describe() -> WebGL:
    """What a context is; the first call opens one, and closes it.

    Raises:
        RuntimeError: as `connect`.
    """
    device, limits = connect()
    found = WebGL(
        renderer=limits.renderer,
        version=limits.version,
        software=is_software(limits.renderer),
        limits={
            "max_texture_size": limits.rows,
            "max_draw_buffers": limits.drawBuffers,
            "max_texture_image_units": limits.inputs,
            "max_uniform_block_size": limits.numberBytes,
        },
    )
    device.close()
    return found
