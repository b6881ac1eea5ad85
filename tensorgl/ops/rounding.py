"""Rounding, bounds, and repair of what is not finite."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, calln, defvjp, op
from tensorgl.dtypes import finfo
from tensorgl.ops.arithmetic import flat
from tensorgl.ops.casting import dtype_of, float_dtype
from tensorgl.ops.comparison import eq, ge, gt, isnan, le, lt, where

__all__ = [
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "fix",
    "floor",
    "frac",
    "heaviside",
    "nan_to_num",
    "nextafter",
    "round",
    "trunc",
]

Tensor = Any


@op
def ceil(input: Tensor) -> Tensor:
    """The least integer that is not smaller."""
    return call1(p.ceil, input)


@op
def floor(input: Tensor) -> Tensor:
    """The greatest integer that is not larger."""
    return call1(p.floor, input)


@op
def trunc(input: Tensor) -> Tensor:
    """Rounded towards zero."""
    return call1(p.trunc, input)


fix = trunc


@op
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Rounded to the nearest, half to even; to `decimals` places, or to tens and so on if negative.

    Raises:
        NotImplementedError: `decimals` is not 0 for an integer tensor.
    """
    if decimals == 0:
        return call1(p.round, input)
    float_dtype("round with decimals", input)
    if decimals > 0:
        return call1(p.round, input * 10.0**decimals) / 10.0**decimals
    return call1(p.round, input / 10.0**-decimals) * 10.0**-decimals


for _step in (p.ceil, p.floor, p.trunc, p.round):
    defvjp(_step, input=flat)


@op
def frac(input: Tensor) -> Tensor:
    """What `trunc` takes away, with the sign of `input`."""
    float_dtype("frac", input)
    return input - trunc(input.detach())


@op
def clamp(input: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """`input` within bounds that are numbers or tensors; `max` where `min` is larger.

    The gradient goes through where `min <= input <= max`.

    Raises:
        RuntimeError: there is no bound.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if max is None:
        return call2(p.clamp_min, input, min)
    if min is None:
        return call2(p.clamp_max, input, max)
    return calln(p.clamp, (input, min, max))


defvjp(
    p.clamp,
    input=lambda g, input, min, max: where(ge(input, min) & le(input, max), g, 0),
    min=lambda g, input, min, max: where(lt(input, min) & (min < max), g, 0),
    max=lambda g, input, min, max: where(gt(input, max) | (max < min), g, 0),
)


@op
def clamp_min(input: Tensor, min: Tensor) -> Tensor:
    """`clamp` with a lower bound only."""
    return call2(p.clamp_min, input, min)


defvjp(
    p.clamp_min,
    input=lambda g, input, min: where(ge(input, min), g, 0),
    min=lambda g, input, min: where(lt(input, min), g, 0),
)


@op
def clamp_max(input: Tensor, max: Tensor) -> Tensor:
    """`clamp` with an upper bound only."""
    return call2(p.clamp_max, input, max)


defvjp(
    p.clamp_max,
    input=lambda g, input, max: where(le(input, max), g, 0),
    max=lambda g, input, max: where(gt(input, max), g, 0),
)

clip = clamp


@op
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """NaN and infinities replaced: by default by 0 and by the largest finite numbers."""
    kind = dtype_of("nan_to_num", input)
    if not kind.is_floating_point:
        return input.clone()
    limits = finfo(kind)
    out = clamp(input, limits.min, limits.max)
    if posinf is not None:
        out = where(eq(input, inf), posinf, out)
    if neginf is not None:
        out = where(eq(input, -inf), neginf, out)
    return where(isnan(input), nan or 0.0, out)


@op
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where `input` is negative, `values` where it is 0, and 1 where it is positive.

    Raises:
        RuntimeError: the dtypes differ.
    """
    positive = gt(input, 0)
    if values.dtype is not input.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return where(eq(input, 0), values, call1(p.cast, positive, (input.dtype,)))


@op
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number after `input` in the direction of `other`."""
    return call2(p.nextafter, input, other)


defvjp(p.nextafter, input=lambda g: g, other=flat)
