"""Which backend serves which device; each is imported when its device is first used.

`cuda`, `cudnn` and `mps` are no backends: they answer scripts that ask PyTorch about its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tensorgl.avals import device
from tensorgl.backends import cuda, cudnn, mps
from tensorgl.backends.base import Backend

__all__ = ["backend_of", "cuda", "cudnn", "install", "mps"]

_MODULES = {
    "cpu": "tensorgl.backends.numpy",
    "gl": f"tensorgl.backends.{'webgl' if sys.platform == 'emscripten' else 'opengl'}",
    "meta": "tensorgl.backends.meta",
}
_loaded: dict[device, Backend] = {}
on_install: list[Callable[[], None]] = []
"""Called when a device gets another backend: those who remember what the old one bound forget it."""


def backend_of(device: device) -> Backend:
    """The backend of a device.

    Raises:
        RuntimeError: this build has no backend for it.
    """
    backend = _loaded.get(device)
    if backend is None:
        module = _MODULES.get(device.type)
        if module is None:
            raise RuntimeError(
                f"device '{device}': no backend for it in this build; use one of {', '.join(_MODULES)}"
            )
        backend = _loaded[device] = import_module(module).create()
    return backend


def install(device: device, backend: Backend | None) -> Backend | None:
    """Let this backend serve a device from now on; returns the one that did so before, if any.

    None: the device's own, made when it is next used. Tensors that another backend made there are
    lost to the new one.
    """
    before = _loaded.pop(device, None)
    if backend is not None:
        _loaded[device] = backend
    for forget in on_install:
        forget()
    return before


def existing(device: device) -> Backend | None:
    """The backend of a device if that was used already."""
    return _loaded.get(device)


def describe(device: device) -> Any:
    """What would serve device "gl", without making its backend: `renderer`, `software` and more.

    Raises:
        RuntimeError: nothing would; the message says what is missing.
    """
    return import_module(_MODULES[device.type]).describe()


def loaded() -> list[Backend]:
    """The backends that are in use."""
    return list(_loaded.values())


def _forked() -> None:
    """Take device "gl" from a child process; its parent's context is not for it, and says so when asked."""
    gl = device("gl")
    if gl in _loaded:
        _lost.append(install(gl, None))


_lost: list[Backend | None] = []
"""A parent's backends, which must not be taken down in a child."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
