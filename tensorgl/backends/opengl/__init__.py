"""Native OpenGL through moderngl: the device of the GLSL backend outside browsers.

`TENSORGL_GL_TARGET` chooses "compute" (OpenGL 4.3) or "fragment" (OpenGL 3.3); without it the context
decides.
"""

from __future__ import annotations

import os

from tensorgl.backends.base import Backend
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.opengl.compute import ComputeDevice
from tensorgl.backends.opengl.fragment import FragmentDevice
from tensorgl.backends.opengl.probe import create_context, is_software

__all__ = ["create"]

TARGETS = ("compute", "fragment")


def create(target: str | None = None) -> Backend:
    """A backend with a context of its own, for the registry.

    Args:
        target: "compute" or "fragment"; None asks `TENSORGL_GL_TARGET`, then the context.

    Raises:
        RuntimeError: there is no context, or it cannot do the target that is asked for.
    """
    if target is None:
        target = os.environ.get("TENSORGL_GL_TARGET", "")
    if target and target not in TARGETS:
        raise RuntimeError(
            f"TENSORGL_GL_TARGET: expected one of {', '.join(TARGETS)}, given {target!r}"
        )
    context = create_context()
    able = context.version_code >= 430
    if target == "compute" and not able:
        version = context.info["GL_VERSION"]
        context.release()
        raise RuntimeError(
            f"TENSORGL_GL_TARGET=compute needs OpenGL 4.3; this driver has {version}. Unset it to use "
            "the fragment target."
        )
    software = is_software(context.info["GL_RENDERER"])
    if able and target != "fragment":
        return GlslBackend(ComputeDevice(context, software))
    return GlslBackend(FragmentDevice(context, software))
