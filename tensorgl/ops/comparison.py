"""Comparisons, tests for NaN and infinity, logic and bits. None has a gradient but `where`."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, calln, defvjp, op

__all__ = ["eq", "ge", "gt", "isnan", "le", "lt", "ne", "where"]

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


@op
def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN."""
    return call1(p.isnan, input)


@op
def where(condition: Tensor, input: Tensor, other: Tensor) -> Tensor:
    """`input` where the bool tensor `condition` is true, else `other`."""
    return calln(p.where, (condition, input, other))


defvjp(
    p.where,
    input=lambda g, condition: where(condition, g, 0),
    other=lambda g, condition: where(condition, 0, g),
)
