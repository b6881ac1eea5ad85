"""Roots, exponentials, logarithms, and trigonometric and hyperbolic functions."""

from __future__ import annotations

from math import inf, pi
from math import log as _log
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, defvjp, differentiable, op
from tensorgl.ops.arithmetic import abs, maximum, pow
from tensorgl.ops.casting import in_float
from tensorgl.ops.comparison import eq, where

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "exp2",
    "expm1",
    "hypot",
    "ldexp",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "rad2deg",
    "rsqrt",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]

Tensor = Any
LN2, LN10 = _log(2), _log(10)


@op
def sqrt(input: Tensor) -> Tensor:
    """The square root; NaN for negative numbers."""
    return call1(p.sqrt, input)


defvjp(p.sqrt, input=lambda g, out: g / (2 * out))


@op
def rsqrt(input: Tensor) -> Tensor:
    """`1 / sqrt(input)`."""
    return call1(p.rsqrt, input)


defvjp(p.rsqrt, input=lambda g, out: -0.5 * g * pow(out, 3))


@op
def exp(input: Tensor) -> Tensor:
    """The exponential function."""
    return call1(p.exp, input)


defvjp(p.exp, input=lambda g, out: g * out)


@op
def exp2(input: Tensor) -> Tensor:
    """2 to the power of `input`."""
    return call1(p.exp2, input)


defvjp(p.exp2, input=lambda g, out: g * out * LN2)


@op
def expm1(input: Tensor) -> Tensor:
    """`exp(input) - 1`, precise near 0."""
    return call1(p.expm1, input)


defvjp(p.expm1, input=lambda g, out: g * (out + 1))


@op
def log(input: Tensor) -> Tensor:
    """The natural logarithm."""
    return call1(p.log, input)


defvjp(p.log, input=lambda g, input: g / input)


@op
def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return call1(p.log2, input)


defvjp(p.log2, input=lambda g, input: g / (input * LN2))


@op
def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return call1(p.log10, input)


defvjp(p.log10, input=lambda g, input: g / (input * LN10))


@op
def log1p(input: Tensor) -> Tensor:
    """`log(1 + input)`, precise near 0."""
    return call1(p.log1p, input)


defvjp(p.log1p, input=lambda g, input: g / (input + 1))


def _logaddexp(input: Tensor, other: Tensor, exponential: Any, scale: float) -> Tensor:
    larger = maximum(input, other)
    rest = call1(p.log1p, exponential(-abs(input - other)))
    # Equal infinities have no difference; they are also the result.
    return where(eq(abs(larger), inf), larger, larger + rest * scale)


@op
@in_float
@differentiable(
    input=lambda g, input, other: g / (1 + exp(other - input)),
    other=lambda g, input, other: g / (1 + exp(input - other)),
)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """`log(exp(input) + exp(other))` without overflow."""
    return _logaddexp(input, other, exp, 1.0)


@op
@in_float
@differentiable(
    input=lambda g, input, other: g / (1 + exp2(other - input)),
    other=lambda g, input, other: g / (1 + exp2(input - other)),
)
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """`log2(2**input + 2**other)` without overflow."""
    return _logaddexp(input, other, exp2, 1 / LN2)


@op
@in_float
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """`input * 2**other`."""
    return input * exp2(other)


@op
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """`sqrt(input**2 + other**2)` without overflow."""
    return call2(p.hypot, input, other)


defvjp(
    p.hypot,
    input=lambda g, out, input: g * (input / out),
    other=lambda g, out, other: g * (other / out),
)


@op
def sin(input: Tensor) -> Tensor:
    """The sine."""
    return call1(p.sin, input)


defvjp(p.sin, input=lambda g, input: g * cos(input))


@op
def cos(input: Tensor) -> Tensor:
    """The cosine."""
    return call1(p.cos, input)


defvjp(p.cos, input=lambda g, input: g * -sin(input))


@op
def tan(input: Tensor) -> Tensor:
    """The tangent."""
    return call1(p.tan, input)


defvjp(p.tan, input=lambda g, out: g * (out * out + 1))


@op
def asin(input: Tensor) -> Tensor:
    """The inverse sine, in [-π/2, π/2]."""
    return call1(p.asin, input)


defvjp(p.asin, input=lambda g, input: g * rsqrt(1 - input * input))


@op
def acos(input: Tensor) -> Tensor:
    """The inverse cosine, in [0, π]."""
    return call1(p.acos, input)


defvjp(p.acos, input=lambda g, input: g * -rsqrt(1 - input * input))


@op
def atan(input: Tensor) -> Tensor:
    """The inverse tangent, in (-π/2, π/2)."""
    return call1(p.atan, input)


defvjp(p.atan, input=lambda g, input: g / (input * input + 1))


@op
def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (other, input), in [-π, π]."""
    return call2(p.atan2, input, other)


def _atan2_slope(input: Tensor, other: Tensor) -> Tensor:
    """1 / (input² + other²), and 0 at the origin."""
    square = input * input + other * other
    return where(eq(square, 0), 0, 1 / square)


defvjp(
    p.atan2,
    input=lambda g, input, other: g * (other * _atan2_slope(input, other)),
    other=lambda g, input, other: g * (-input * _atan2_slope(input, other)),
)


@op
def sinh(input: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return call1(p.sinh, input)


defvjp(p.sinh, input=lambda g, input: g * cosh(input))


@op
def cosh(input: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return call1(p.cosh, input)


defvjp(p.cosh, input=lambda g, input: g * sinh(input))


@op
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return call1(p.tanh, input)


defvjp(p.tanh, input=lambda g, out: g * (1 - out * out))


@op
def asinh(input: Tensor) -> Tensor:
    """The inverse hyperbolic sine."""
    return call1(p.asinh, input)


defvjp(p.asinh, input=lambda g, input: g * rsqrt(input * input + 1))


@op
def acosh(input: Tensor) -> Tensor:
    """The inverse hyperbolic cosine of numbers from 1 on."""
    return call1(p.acosh, input)


defvjp(p.acosh, input=lambda g, input: g * rsqrt(input * input - 1))


@op
def atanh(input: Tensor) -> Tensor:
    """The inverse hyperbolic tangent of numbers in [-1, 1]."""
    return call1(p.atanh, input)


defvjp(p.atanh, input=lambda g, input: g / (1 - input * input))


def _sinc_slope(g: Tensor, input: Tensor) -> Tensor:
    x = input * pi
    square = x * input
    slope = (x * cos(x) - sin(x)) / square
    return where(eq(square, 0), 0, g * slope)


@op
@in_float
@differentiable(input=_sinc_slope)
def sinc(input: Tensor) -> Tensor:
    """`sin(πx) / (πx)`, and 1 at 0."""
    x = input * pi
    return where(eq(input, 0), 1.0, sin(x) / x)


@op
def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    return input * (pi / 180)


@op
def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    return input * (180 / pi)


arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctan2 = atan2
arctanh = atanh
