"""Comparisons, tests for NaN and infinity, and choice. None has a gradient but `where`."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, calln, defvjp, op
from tensorgl.ops.casting import dtype_of

__all__ = [
    "allclose",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "le",
    "less",
    "less_equal",
    "lt",
    "ne",
    "not_equal",
    "where",
]

Tensor = Any


@op
def eq(input: Tensor, other: Tensor) -> Tensor:
    """`input == other`, elementwise."""
    return call2(p.eq, input, other)


@op
def ne(input: Tensor, other: Tensor) -> Tensor:
    """`input != other`, elementwise."""
    return call2(p.ne, input, other)


@op
def lt(input: Tensor, other: Tensor) -> Tensor:
    """`input < other`, elementwise."""
    return call2(p.lt, input, other)


@op
def le(input: Tensor, other: Tensor) -> Tensor:
    """`input <= other`, elementwise."""
    return call2(p.le, input, other)


@op
def gt(input: Tensor, other: Tensor) -> Tensor:
    """`input > other`, elementwise."""
    return call2(p.lt, other, input)


@op
def ge(input: Tensor, other: Tensor) -> Tensor:
    """`input >= other`, elementwise."""
    return call2(p.le, other, input)


not_equal = ne
less = lt
less_equal = le
greater = gt
greater_equal = ge


@op
def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN."""
    return call1(p.isnan, input)


@op
def isinf(input: Tensor) -> Tensor:
    """Whether each element is plus or minus infinity."""
    if not dtype_of("isinf", input).is_floating_point:
        return ne(input, input)
    return eq(call1(p.abs, input), inf)


@op
def isposinf(input: Tensor) -> Tensor:
    """Whether each element is plus infinity."""
    return eq(input, inf)


@op
def isneginf(input: Tensor) -> Tensor:
    """Whether each element is minus infinity."""
    return eq(input, -inf)


@op
def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    if not dtype_of("isfinite", input).is_floating_point:
        return eq(input, input)
    return lt(call1(p.abs, input), inf)


@op
def isreal(input: Tensor) -> Tensor:
    """True everywhere: there are no complex dtypes."""
    return input.new_ones(input.shape, dtype=isnan(input).dtype)


@op
def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Tensor:
    """Whether `|input - other| <= atol + rtol * |other|`; equal infinities are close.

    Raises:
        RuntimeError: the dtypes differ, or a tolerance is negative.
    """
    kind, other_kind = dtype_of("isclose", input), dtype_of("isclose", other)
    if kind is not other_kind:
        raise RuntimeError(f"{kind.title} did not match {other_kind.title}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    close = eq(input, other)
    if equal_nan:
        close = close | (isnan(input) & isnan(other))
    if rtol == 0 and atol == 0:
        return close
    if kind.category == 0:
        return close
    if not kind.is_floating_point:
        other = other * 1.0  # differences of uint8 would wrap around
    # An infinite difference may be within an infinite tolerance, which does not make it close.
    difference = call1(p.abs, input - other)
    allowed = atol + call1(p.abs, rtol * other)
    return close | (le(difference, allowed) & isfinite(difference))


@op
def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements are close; see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@op
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal."""
    for x in (input, other):
        dtype_of("equal", x)
    return input.shape == other.shape and bool(eq(input, other).all())


@op
def where(condition: Tensor, input: Tensor = None, other: Tensor = None) -> Tensor:
    """`input` where the bool tensor `condition` is true, else `other`.

    With `condition` alone, the indices of its true elements: `nonzero(condition, as_tuple=True)`.
    """
    if input is None and other is None:
        from tensorgl.ops.gathering import nonzero  # it is written in ops that need this module

        return nonzero(condition, as_tuple=True)
    return calln(p.where, (condition, input, other))


defvjp(
    p.where,
    input=lambda g, condition: where(condition, g, 0),
    other=lambda g, condition: where(condition, 0, g),
)
