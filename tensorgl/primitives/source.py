"""Sources: tensors made from numbers alone. Values are operands, so that they never make a new kernel."""

from __future__ import annotations

from tensorgl.avals import Aval
from tensorgl.dtypes import dtype
from tensorgl.primitives.core import Result, Shape, primitive

__all__ = [
    "arange",
    "full",
]


Avals = tuple[Aval, ...]


def _full(avals: Avals, shape: Shape, dtype: dtype) -> Result:
    return Result(shape, dtype)


def _arange(avals: Avals, size: int, dtype: dtype) -> Result:
    """Start + step * k for k in range(size)."""
    return Result((size,), dtype)


full = primitive("full", "value", "shape dtype", _full, "source")
arange = primitive("arange", "start step", "size dtype", _arange, "source")
