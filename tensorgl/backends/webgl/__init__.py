"""WebGL2 in a browser: the device of the GLSL backend where Python runs in Pyodide."""

from __future__ import annotations

from tensorgl.backends.base import Backend
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.webgl.device import WebGLDevice
from tensorgl.backends.webgl.probe import describe

__all__ = ["create", "describe"]


def create() -> Backend:
    """A backend with a context of its own, for the registry.

    Raises:
        RuntimeError: the browser gives no context, or one that cannot draw to floats.
    """
    return GlslBackend(WebGLDevice())
