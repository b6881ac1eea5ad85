"""Arithmetic: sums, products, quotients and powers, signs, and the larger and smaller of two."""

from __future__ import annotations

import math
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, call2, defvjp, differentiable, op
from tensorgl.dtypes import float64, result_type
from tensorgl.ops.comparison import eq, ge, isnan, lt, ne, where

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "copysign",
    "div",
    "divide",
    "float_power",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "lerp",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "neg",
    "negative",
    "positive",
    "pow",
    "reciprocal",
    "remainder",
    "rsub",
    "sgn",
    "sign",
    "signbit",
    "square",
    "sub",
    "subtract",
    "true_divide",
]

Tensor = Any
Number = float


def flat(g: Tensor) -> Tensor:
    """The gradient rule of a step function: zeros."""
    return g.new_zeros(g.shape)


def _scaled(input: Tensor, other: Tensor, alpha: Number) -> Tensor:
    """`alpha * other`, where `alpha` must not change the dtype of `input + other`."""
    tensors = [x for x in (input, other) if isinstance(x, TensorBase)]
    if not any(x._aval.dtype.is_floating_point for x in tensors) and isinstance(alpha, float):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    if isinstance(alpha, bool) and any(x._aval.dtype.category for x in tensors):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(other, TensorBase) and not other._aval.dtype.category:
        return where(other, alpha, 0) if alpha is not True else other
    if isinstance(alpha, float) and isinstance(other, TensorBase):
        return mul(other.to(result_type([x._aval.dtype for x in tensors], [], [])), alpha)
    return mul(other, alpha) if isinstance(other, TensorBase) else other * alpha


@op
def add(input: Tensor, other: Tensor, *, alpha: Number = 1) -> Tensor:
    """`input + alpha * other`, with broadcasting and promotion."""
    return call2(p.add, input, other if alpha is 1 else _scaled(input, other, alpha))


defvjp(p.add, input=lambda g: g, other=lambda g: g)


@op
def sub(input: Tensor, other: Tensor, *, alpha: Number = 1) -> Tensor:
    """`input - alpha * other`, with broadcasting and promotion."""
    return call2(p.sub, input, other if alpha is 1 else _scaled(input, other, alpha))


defvjp(p.sub, input=lambda g: g, other=lambda g: -g)
