"""`compile`: PyTorch's name for running a model or function as one captured program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["compile"]


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable[..., Any] = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """The model or function itself: backends of this version run ops one by one.

    Every option is accepted and ignored. Without a model, a decorator.

    Raises:
        TypeError: `model` cannot be called.
    """
    if model is None:
        return compile
    if not callable(model):
        raise TypeError(f"compile: expected a Module or a function, given {type(model).__name__}")
    return model
