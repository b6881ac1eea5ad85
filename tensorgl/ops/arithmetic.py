"""Arithmetic: sums, products, quotients, powers, rounding and bounds of one or two operands."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, defvjp, op

__all__ = ["abs", "add", "div", "maximum", "minimum", "mul", "neg", "pow", "sign", "sub"]

Tensor = Any


@op
def add(input: Tensor, other: Tensor, *, alpha: float = 1) -> Tensor:
    """`input + alpha * other`, with broadcasting and promotion."""
    return call2(p.add, input, other if alpha == 1 else mul(other, alpha))


defvjp(p.add, input=lambda g: g, other=lambda g: g)


@op
def sub(input: Tensor, other: Tensor, *, alpha: float = 1) -> Tensor:
    """`input - alpha * other`, with broadcasting and promotion."""
    return call2(p.sub, input, other if alpha == 1 else mul(other, alpha))


defvjp(p.sub, input=lambda g: g, other=lambda g: -g)


@op
def mul(input: Tensor, other: Tensor) -> Tensor:
    """`input * other`, with broadcasting and promotion."""
    return call2(p.mul, input, other)


defvjp(p.mul, input=lambda g, other: g * other, other=lambda g, input: g * input)


@op
def div(input: Tensor, other: Tensor, *, rounding_mode: str | None = None) -> Tensor:
    """`input / other`; integers give the default float.

    Args:
        rounding_mode: None for true division, "trunc" towards zero, "floor" towards minus infinity.
    """
    if rounding_mode is None:
        return call2(p.div, input, other)
    if rounding_mode == "floor":
        return call2(p.floor_divide, input, other)
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
    )


defvjp(
    p.div,
    input=lambda g, other: g / other,
    other=lambda g, out, other: -g * out / other,
)


@op
def neg(input: Tensor) -> Tensor:
    """`-input`."""
    return call1(p.neg, input)


defvjp(p.neg, input=lambda g: -g)


@op
def abs(input: Tensor) -> Tensor:
    """The absolute value; its gradient at 0 is 0."""
    return call1(p.abs, input)


defvjp(p.abs, input=lambda g, input: g * sign(input))


@op
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; its gradient is 0."""
    return call1(p.sign, input)


@op
def pow(input: Tensor, exponent: Tensor) -> Tensor:
    """`input ** exponent`, elementwise."""
    return call2(p.pow, input, exponent)


@op
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two; NaN wins. Equal operands share the gradient evenly."""
    return call2(p.maximum, input, other)


@op
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two; NaN wins. Equal operands share the gradient evenly."""
    return call2(p.minimum, input, other)
