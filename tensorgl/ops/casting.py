"""Casts between dtypes, and the one dtype in which a composite of several operands computes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.avals import NUMBER
from tensorgl.dispatch import call1, defvjp
from tensorgl.dtypes import dtype, float16, float32
from tensorgl.primitives.core import promote, to_float

__all__ = ["float_dtype", "in_float"]

Tensor = Any

defvjp(p.cast, input=lambda g: g)  # the engine casts it back


def float_dtype(name: str, input: Tensor) -> dtype:
    """The dtype of a floating-point tensor.

    Raises:
        TypeError: it is no tensor.
        NotImplementedError: its dtype is an integer or bool.
    """
    if not isinstance(input, TensorBase):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    kind = input._aval.dtype
    if not kind.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for {kind.name} tensors; use .float()")
    return kind


def in_float(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give an elementwise composite its operands in one floating-point dtype, promoted as PyTorch does.

    float16 is computed in float32 and rounded once.
    """

    @functools.wraps(function)
    def call(*operands: Any) -> Tensor:
        avals = tuple(
            x._aval if isinstance(x, TensorBase) else NUMBER[type(x)]
            for x in operands
            if x is not None
        )
        kind = to_float(promote(avals))
        work = float32 if kind is float16 else kind
        out = function(
            *[
                call1(p.cast, x, (work,))
                if isinstance(x, TensorBase) and x._aval.dtype is not work
                else x
                for x in operands
            ]
        )
        return out if work is kind else call1(p.cast, out, (kind,))

    return call
