"""Asks the machine for an OpenGL context, and says what it is or what is missing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from tensorgl.backends.glsl.device import is_software

__all__ = ["OpenGL", "check_process", "create_context", "describe"]

_INSTALL = {
    "libEGL.so": "apt-get install libegl1",
    "libGL.so": "apt-get install libgl1",
    "context": "apt-get install libegl1 libgl1-mesa-dri",
}

_process: int | None = None
"""The process that made the first context."""


@dataclass(frozen=True)
class OpenGL:
    """What a context reports of itself."""

    renderer: str
    version: str
    software: bool
    compute: bool
    limits: dict[str, int]


def check_process() -> None:
    """That no context was made before this process was forked.

    Drivers keep threads and locks of their own, which a child does not have.

    Raises:
        RuntimeError: one was.
    """
    if _process not in (None, os.getpid()):
        raise RuntimeError(
            "device 'gl' cannot be used in this process: it was forked from one that had used it already, "
            "and OpenGL belongs to that one. Start processes with "
            "multiprocessing.set_start_method('spawn'), or work on 'cpu' here"
        )


def create_context() -> Any:
    """A context without a window: with EGL where there is EGL, the newest version up to 4.3.

    Raises:
        RuntimeError: there is no context to be had; the message says what to install.
    """
    global _process
    check_process()
    try:
        import moderngl
    except ImportError as error:
        raise RuntimeError(
            f"moderngl is not installed ({error}); run: pip install moderngl"
        ) from None
    failures: list[str] = []
    attempts: tuple[dict[str, Any], ...] = (
        {"backend": "egl", "require": 430},
        {"backend": "egl", "require": 330},
        {"require": 430},
        {"require": 330},
    )
    for options in attempts:
        try:
            context = moderngl.create_standalone_context(**options)
            _process = os.getpid()
            return context
        except Exception as error:  # glcontext raises bare Exception, ImportError or ValueError
            failures.append(str(error))
    missing = next((v for k, v in _INSTALL.items() if k in failures[0]), _INSTALL["context"])
    raise RuntimeError(
        f"no OpenGL context: {'; '.join(dict.fromkeys(failures))}. On Debian run: {missing}"
    )


def describe() -> OpenGL:
    """What a context is; the first call opens one, and closes it.

    Raises:
        RuntimeError: as `create_context`.
    """
    check_process()
    return _probed()


@cache
def _probed() -> OpenGL:
    context = create_context()
    info = context.info
    names = ("GL_MAX_TEXTURE_SIZE", "GL_MAX_DRAW_BUFFERS", "GL_MAX_SHADER_STORAGE_BLOCK_SIZE")
    renderer = info["GL_RENDERER"]
    found = OpenGL(
        renderer=renderer,
        version=info["GL_VERSION"],
        software=is_software(renderer),
        compute=context.version_code >= 430,
        limits={n.removeprefix("GL_").lower(): int(info[n]) for n in names if n in info},
    )
    context.release()
    return found
