"""Automatic differentiation: `backward`, `grad`, gradient modes, custom functions and checks.

`graph`, `engine` and `modes` import nothing of tensorgl; the other modules are written in tensors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tensorgl.autograd.engine import backward, grad
from tensorgl.autograd.modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)

if TYPE_CHECKING:  # __getattr__ imports them
    from tensorgl.autograd import functional
    from tensorgl.autograd.checks import gradcheck, gradgradcheck
    from tensorgl.autograd.function import Function, Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]

_LATER = {
    "Function": "function",
    "Variable": "function",
    "GradcheckError": "checks",
    "gradcheck": "checks",
    "gradgradcheck": "checks",
}
_MODULES = ("checks", "function", "functional", "graph")


def __getattr__(name: str) -> Any:
    """What is written in tensors is imported when it is first asked for."""
    if name in _LATER:
        return getattr(import_module(f"tensorgl.autograd.{_LATER[name]}"), name)
    if name in _MODULES:
        return import_module(f"tensorgl.autograd.{name}")
    raise AttributeError(f"module 'tensorgl.autograd' has no attribute '{name}'")
