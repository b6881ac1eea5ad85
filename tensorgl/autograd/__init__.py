"""Automatic differentiation: `backward`, `grad`, gradient modes, custom functions and checks.

`engine` is the core and imports nothing of tensorgl; the other modules are written in tensors.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tensorgl.autograd.engine import (
    backward,
    enable_grad,
    grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]

_LATER = {
    "GradcheckError": "checks",
    "gradcheck": "checks",
    "gradgradcheck": "checks",
}


def __getattr__(name: str) -> Any:
    """What is written in tensors is imported when it is first asked for."""
    if name in _LATER:
        return getattr(import_module(f"tensorgl.autograd.{_LATER[name]}"), name)
    raise AttributeError(f"module 'tensorgl.autograd' has no attribute '{name}'")
