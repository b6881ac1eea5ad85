"""What neural-network ops share: dtype checks, half precision, in-place forms, loss reductions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import mode
from tensorgl.avals import device
from tensorgl.dispatch import call1, source
from tensorgl.dtypes import bool as bool_
from tensorgl.dtypes import dtype, float16, float32, int64
from tensorgl.inplace import inplace
from tensorgl.ops.movement import clone
from tensorgl.ops.reduction import mean, sum

__all__ = [
    "computes_in_single",
    "dtype_of",
    "float_only",
    "overwrite",
    "positions",
    "reduced",
]

Tensor = Any
Op = Callable[..., Any]


def dtype_of(name: str, input: Tensor) -> dtype:
    """The dtype of a tensor that must not be of bools.

    Raises:
        TypeError: it is no tensor.
        NotImplementedError: it is of bools; PyTorch has no such kernel either.
    """
    try:
        kind = input._aval.dtype
    except AttributeError:
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        ) from None
    if kind is bool_:
        raise NotImplementedError(
            f"{name}: not implemented for 'Bool'; cast the input with .float()"
        )
    return kind


def float_only(name: str, input: Tensor) -> None:
    """Reject what is no floating-point tensor, as `dtype_of` does."""
    kind = dtype_of(name, input)
    if not kind.is_floating_point:
        raise NotImplementedError(
            f"{name}: not implemented for '{kind.title}'; cast the input with .float()"
        )


def computes_in_single(function: Op) -> Op:
    """Reject integers; compute float16 in float32 and round once, as PyTorch does on a CPU."""
    name = function.__name__

    @functools.wraps(function)
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        float_only(name, input)
        if input._aval.dtype is not float16:
            return function(input, *args, **kwargs)
        return call1(
            p.cast, function(call1(p.cast, input, (float32,)), *args, **kwargs), (float16,)
        )

    return call


def overwrite(input: Tensor, function: Op, *args: Any) -> Tensor:
    """Write `function(input, *args)` over `input`; what its gradient saves is a copy."""
    operand = clone(input) if mode.grad and input._requires_grad else input
    return inplace(input, function(operand, *args))


def positions(size: int, place: device) -> Tensor:
    """0, 1, … size - 1, as int64."""
    return source(p.arange, (0, 1), (size, int64), place)


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """A loss of each element as "none", "mean" or "sum" asks.

    Raises:
        ValueError: `reduction` is none of them.
    """
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return sum(loss)
    if reduction != "none":
        raise ValueError(
            f"{reduction} is not a valid value for reduction; expected 'none', 'mean' or 'sum'"
        )
    return loss
