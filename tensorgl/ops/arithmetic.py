"""Arithmetic: sums, products, quotients and powers, signs, and the larger and smaller of two."""

from __future__ import annotations

import math
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, call2, defvjp, differentiable, op
from tensorgl.dtypes import float64
from tensorgl.ops.casting import dtype_of, float_dtype
from tensorgl.ops.comparison import eq, ge, isnan, lt, where

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
    """The gradient of a step function: zeros."""
    return g.new_zeros(g.shape)


def _is_float(x: Tensor) -> bool:
    return x._aval.dtype.is_floating_point if isinstance(x, TensorBase) else isinstance(x, float)


def _scaled(input: Tensor, other: Tensor, alpha: Number) -> Tensor:
    if isinstance(alpha, float) and not _is_float(input) and not _is_float(other):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    return other * alpha


@op
def add(input: Tensor, other: Tensor, *, alpha: Number = 1) -> Tensor:
    """`input + alpha * other`, with broadcasting and promotion."""
    return call2(p.add, input, other if alpha == 1 else _scaled(input, other, alpha))


defvjp(p.add, input=lambda g: g, other=lambda g: g)


@op
def sub(input: Tensor, other: Tensor, *, alpha: Number = 1) -> Tensor:
    """`input - alpha * other`, with broadcasting and promotion."""
    return call2(p.sub, input, other if alpha == 1 else _scaled(input, other, alpha))


defvjp(p.sub, input=lambda g: g, other=lambda g: -g)


@op
def rsub(input: Tensor, other: Tensor, *, alpha: Number = 1) -> Tensor:
    """`other - alpha * input`."""
    return sub(other, input, alpha=alpha)


@op
def mul(input: Tensor, other: Tensor) -> Tensor:
    """`input * other`, with broadcasting and promotion."""
    return call2(p.mul, input, other)


defvjp(p.mul, input=lambda g, other: g * other, other=lambda g, input: g * input)


@op
def div(input: Tensor, other: Tensor, *, rounding_mode: str | None = None) -> Tensor:
    """`input / other`; integers give the default float unless rounded.

    Args:
        input: the dividend.
        other: the divisor.
        rounding_mode: None for true division, "trunc" towards zero, "floor" towards minus infinity.

    Raises:
        RuntimeError: an integer is divided by zero and rounded, or the mode is none of these.
    """
    if rounding_mode is None:
        return call2(p.div, input, other)
    if rounding_mode == "floor":
        return call2(p.floor_divide, input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    return _div_trunc(input, other)


defvjp(
    p.div,
    input=lambda g, other: g / other,
    other=lambda g, input, other: -g * (input / other / other),
)


@differentiable(input=flat, other=flat)
def _div_trunc(input: Tensor, other: Tensor) -> Tensor:
    if _is_float(input) or _is_float(other):
        return call1(p.trunc, call2(p.div, input, other))
    return floor_divide(input - fmod(input, other), other)


@op
def true_divide(input: Tensor, other: Tensor) -> Tensor:
    """`input / other`."""
    return call2(p.div, input, other)


@op
def floor_divide(input: Tensor, other: Tensor) -> Tensor:
    """The quotient rounded towards minus infinity; a RuntimeError for an integer by zero."""
    return call2(p.floor_divide, input, other)


defvjp(p.floor_divide, input=flat, other=flat)


@op
def remainder(input: Tensor, other: Tensor) -> Tensor:
    """The remainder with the sign of `other`, as Python's `%`."""
    return call2(p.remainder, input, other)


defvjp(
    p.remainder,
    input=lambda g: g,
    other=lambda g, input, other: -g * div(input, other, rounding_mode="floor"),
)


@op
def fmod(input: Tensor, other: Tensor) -> Tensor:
    """The remainder with the sign of `input`, as C's `fmod`."""
    return call2(p.fmod, input, other)


defvjp(
    p.fmod,
    input=lambda g: g,
    other=lambda g, input, other: -g * div(input, other, rounding_mode="trunc"),
)


@op
def pow(input: Tensor, exponent: Tensor) -> Tensor:
    """`input ** exponent`, elementwise.

    Raises:
        RuntimeError: an integer tensor is given a negative integer as exponent.
    """
    if type(exponent) is int and exponent < 0 and not _is_float(input):
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    return call2(p.pow, input, exponent)


def _pow_input(g: Tensor, input: Tensor, exponent: Tensor) -> Tensor:
    if isinstance(exponent, TensorBase):
        return where(eq(exponent, 0), 0, g * (exponent * pow(input, sub(exponent, 1))))
    if exponent == 0:
        return flat(g)
    return g * (exponent * (input if exponent == 2 else pow(input, exponent - 1)))


def _pow_exponent(g: Tensor, input: Tensor, exponent: Tensor, out: Tensor) -> Tensor:
    if isinstance(input, TensorBase):
        slope = g * (out * call1(p.log, input))
        return where(eq(input, 0) & ge(exponent, 0), 0, slope)
    if input == 0:
        return where(ge(exponent, 0), 0, g * -out)
    return g * (out * (math.log(input) if input > 0 else math.nan))


defvjp(p.pow, input=_pow_input, exponent=_pow_exponent)


@op
def float_power(input: Tensor, exponent: Tensor) -> Tensor:
    """`input ** exponent` in float64."""
    return pow(_double(input), _double(exponent))


def _double(x: Tensor) -> Tensor:
    return call1(p.cast, x, (float64,)) if isinstance(x, TensorBase) else float(x)


@op
def square(input: Tensor) -> Tensor:
    """`input * input`."""
    return pow(input, 2)


@op
def neg(input: Tensor) -> Tensor:
    """`-input`."""
    return call1(p.neg, input)


defvjp(p.neg, input=lambda g: -g)


@op
def positive(input: Tensor) -> Tensor:
    """`input` itself; a RuntimeError for bool tensors."""
    if dtype_of("positive", input).category == 0:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@op
def abs(input: Tensor) -> Tensor:
    """The absolute value; its gradient at 0 is 0."""
    return call1(p.abs, input)


defvjp(p.abs, input=lambda g, input: g * sign(input))


@op
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1, and 0 for NaN; its gradient is 0."""
    return call1(p.sign, input)


defvjp(p.sign, input=flat)


@op
def sgn(input: Tensor) -> Tensor:
    """`sign`, which it is for real numbers."""
    return sign(input)


@op
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set: true for negative numbers and -0.0."""
    return lt(copysign(1.0, input), 0)


@op
def copysign(input: Tensor, other: Tensor) -> Tensor:
    """The magnitude of `input` with the sign of `other`, in a float dtype."""
    return call2(p.copysign, input, other)


defvjp(p.copysign, input=lambda g, out, input: g * (sign(input) * sign(out)), other=flat)


@op
def reciprocal(input: Tensor) -> Tensor:
    """`1 / input`."""
    return call1(p.reciprocal, input)


defvjp(p.reciprocal, input=lambda g, out: -g * (out * out))


@op
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two; NaN wins. Equal operands share the gradient evenly."""
    return call2(p.maximum, input, other)


def _share(g: Tensor, lost: Tensor, tied: Tensor) -> Tensor:
    return where(lost, 0, where(tied, g * 0.5, g))


defvjp(
    p.maximum,
    input=lambda g, input, other: _share(g, lt(input, other), eq(input, other)),
    other=lambda g, input, other: _share(g, lt(other, input), eq(input, other)),
)


@op
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two; NaN wins. Equal operands share the gradient evenly."""
    return call2(p.minimum, input, other)


defvjp(
    p.minimum,
    input=lambda g, input, other: _share(g, lt(other, input), eq(input, other)),
    other=lambda g, input, other: _share(g, lt(input, other), eq(input, other)),
)


@op
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two, and the other one where one is NaN."""
    return where(ge(input, other) | isnan(other), input, other)


@op
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two, and the other one where one is NaN."""
    return where(ge(other, input) | isnan(other), input, other)


@op
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`."""
    return add(input, mul(tensor1, tensor2), alpha=value)


@op
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """`input + value * tensor1 / tensor2`; a RuntimeError where both are integers."""
    if not _is_float(tensor1) and not _is_float(tensor2):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported; use (input + value * "
            "torch.trunc(tensor1 / tensor2)).to(input.dtype) or cast one of them to float."
        )
    return add(input, div(tensor1, tensor2), alpha=value)


@differentiable(
    input=lambda g, weight: g * (1 - weight),
    end=lambda g, weight: g * weight,
    weight=lambda g, input, end: g * (end - input),
)
def _lerp(input: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    span = end - input
    if not isinstance(weight, TensorBase):
        near = weight < 0.5
        return input + span * weight if near else end - span * (1 - weight)
    # From the nearer end, so that weight 1 gives `end` exactly.
    return where(lt(abs(weight), 0.5), input + span * weight, end - span * rsub(weight, 1))


@op
def lerp(input: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """`input + weight * (end - input)`, with a number or a tensor as weight.

    Raises:
        NotImplementedError: the tensors are not floating-point ones.
        RuntimeError: their dtypes differ.
    """
    kind = float_dtype("lerp", input)
    for name, x in (("end", end), ("weight", weight)):
        if not isinstance(x, TensorBase) or x._aval.dtype is kind:
            continue
        if name == "end" or x._aval.ndim:  # a 0-dim weight is like a number
            raise RuntimeError(
                f"expected dtype {kind.name} for `{name}` but got dtype {x._aval.dtype.name}"
            )
    return _lerp(input, end, weight)


absolute = abs
divide = div
multiply = mul
negative = neg
subtract = sub
