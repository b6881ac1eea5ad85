"""Native OpenGL through moderngl: the device of the GLSL backend outside browsers.

`TENSORGL_GL_TARGET` chooses "compute" (OpenGL 4.3) or "fragment" (OpenGL 3.3); without it the context
decides.
"""

from __future__ import annotations

import os

from tensorgl.backends.base import Backend
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.device import is_software
from tensorgl.backends.opengl.compute import ComputeDevice
from tensorgl.backends.opengl.fragment import FragmentDevice
from tensorgl.backends.opengl.probe import create_context, describe

__all__ = ["create", "describe", "target_for"]

TARGETS = ("compute", "fragment")


def target_for(version: str, compute: bool) -> str:
    """The target of a context: what `TENSORGL_GL_TARGET` says, else the best that it can do.

    Raises:
        RuntimeError: the variable names no target, or one that this version of OpenGL cannot do.
    """
    asked = os.environ.get("TENSORGL_GL_TARGET", "")
    if asked and asked not in TARGETS:
        raise RuntimeError(
            f"TENSORGL_GL_TARGET: expected one of {', '.join(TARGETS)}, given {asked!r}"
        )
    if asked == "compute" and not compute:
        raise RuntimeError(
            f"TENSORGL_GL_TARGET=compute needs OpenGL 4.3; this driver has {version}. Unset it to use "
            "the fragment target."
        )
    return asked or TARGETS[not compute]


def create(target: str | None = None) -> Backend:
    """A backend with a context of its own, for the registry.

    Args:
        target: "compute" or "fragment"; None: the one of `target_for`.

    Raises:
        RuntimeError: there is no context, or it cannot do the target that is asked for.
    """
    context = create_context()
    info = context.info
    try:
        target = target or target_for(info["GL_VERSION"], context.version_code >= 430)
    except RuntimeError:
        context.release()
        raise
    kind = ComputeDevice if target == "compute" else FragmentDevice
    return GlslBackend(kind(context, is_software(info["GL_RENDERER"])))
