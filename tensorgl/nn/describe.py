"""Words about modules: types and members as messages spell them, arguments as callers do."""

from __future__ import annotations

from typing import Any

from tensorgl.avals import device as device_type
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.tensor import Tensor

__all__ = ["destination", "indented", "member", "typename"]


def typename(x: Any) -> str:
    """The type of `x` as error messages spell it."""
    if isinstance(x, Tensor):
        return f"tensorgl.{x.dtype.title}Tensor"
    kind = type(x)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def indented(text: str, spaces: int = 2) -> str:
    """`text` with all lines but the first moved to the right."""
    return text.replace("\n", "\n" + " " * spaces)


def member(module: Any, name: str) -> Any:
    """The attribute `name`, or the error of a path that leads nowhere."""
    if not hasattr(module, name):
        raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
    return getattr(module, name)


def destination(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    memory_format: Any = None,
) -> tuple[device_type | None, dtype_type | None]:
    """The device and dtype that the arguments of `to` name."""
    for a in args:
        if isinstance(a, Tensor):
            device, dtype = a.device, a.dtype
        elif isinstance(a, dtype_type):
            dtype = a
        elif isinstance(a, str | device_type):
            device = a
        elif a is not None and not isinstance(a, bool):
            raise TypeError(f"to(): expected a device, dtype or Tensor, given {type(a).__name__}")
    return None if device is None else device_type(device), dtype
