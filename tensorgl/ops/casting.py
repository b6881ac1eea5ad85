"""Casts between dtypes, and the one dtype in which a composite of several operands computes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.avals import NUMBER, Aval
from tensorgl.dispatch import call1, defvjp
from tensorgl.dtypes import dtype, float16, float32
from tensorgl.primitives.core import promote, to_float

__all__ = ["cast", "dtype_of", "float_dtype", "in_float"]

Tensor = Any


def cast(input: Tensor, dtype: dtype | None) -> Tensor:
    """The tensor in another dtype; itself for its own one or None."""
    return input if dtype is None or dtype is input.dtype else call1(p.cast, input, (dtype,))


defvjp(p.cast, input=lambda g: g)  # the engine casts it back


def dtype_of(name: str, input: Tensor) -> dtype:
    """The dtype of an argument of the op `name`; a TypeError if it is no tensor."""
    if not isinstance(input, TensorBase):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    return input._aval.dtype


def float_dtype(name: str, input: Tensor) -> dtype:
    """The dtype of a floating-point tensor; a NotImplementedError for integers and bools."""
    kind = dtype_of(name, input)
    if not kind.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for {kind.name} tensors; use .float()")
    return kind


def in_float(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give an elementwise composite its operands in one floating-point dtype, promoted as PyTorch does.

    float16 is computed in float32 and rounded once.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        operands = [x for x in (*args, *kwargs.values()) if x is not None]
        kind = to_float(promote(tuple(_aval(x) for x in operands)))
        work = float32 if kind is float16 else kind

        def cast(x: Any) -> Any:
            if not isinstance(x, TensorBase) or x._aval.dtype is work:
                return x
            return call1(p.cast, x, (work,))

        out = function(*map(cast, args), **{name: cast(x) for name, x in kwargs.items()})
        return out if work is kind else call1(p.cast, out, (kind,))

    return call


def _aval(x: Any) -> Aval:
    if isinstance(x, TensorBase):
        return x._aval
    try:
        return NUMBER[type(x)]
    except KeyError:
        raise TypeError(f"expected a Tensor or a number, not {type(x).__name__}") from None
