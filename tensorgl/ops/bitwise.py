"""Logic, bits, and the divisors and multiples of integers. None has a gradient."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, call2, op
from tensorgl.ops.arithmetic import abs, floor_divide
from tensorgl.ops.comparison import eq, ne, where

__all__ = [
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "gcd",
    "lcm",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
]

Tensor = Any


def _truth(input: Tensor) -> Tensor:
    """As bool: what is not 0 is true, NaN included."""
    if isinstance(input, TensorBase) and input._aval.dtype.category == 0:
        return input
    return ne(input, 0)


@op
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Whether both are not 0."""
    return call2(p.bitwise_and, _truth(input), _truth(other))


@op
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Whether one is not 0, or both."""
    return call2(p.bitwise_or, _truth(input), _truth(other))


@op
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Whether exactly one is not 0."""
    return call2(p.bitwise_xor, _truth(input), _truth(other))


@op
def logical_not(input: Tensor) -> Tensor:
    """Whether it is 0."""
    return call1(p.logical_not, input)


@op
def bitwise_and(input: Tensor, other: Tensor) -> Tensor:
    """`input & other` of integers or bools."""
    return call2(p.bitwise_and, input, other)


@op
def bitwise_or(input: Tensor, other: Tensor) -> Tensor:
    """`input | other` of integers or bools."""
    return call2(p.bitwise_or, input, other)


@op
def bitwise_xor(input: Tensor, other: Tensor) -> Tensor:
    """`input ^ other` of integers or bools."""
    return call2(p.bitwise_xor, input, other)


@op
def bitwise_not(input: Tensor) -> Tensor:
    """`~input` of integers or bools."""
    return call1(p.bitwise_not, input)


@op
def bitwise_left_shift(input: Tensor, other: Tensor) -> Tensor:
    """`input << other`; 0 where `other` is negative or not below the number of bits."""
    return call2(p.bitwise_left_shift, input, other)


@op
def bitwise_right_shift(input: Tensor, other: Tensor) -> Tensor:
    """`input >> other`, which keeps the sign; a count out of range shifts everything out."""
    return call2(p.bitwise_right_shift, input, other)


@op
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor of integers, not negative; of 0 and 0 it is 0."""
    return call2(p.gcd, input, other)


@op
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple of integers, not negative; 0 where one is 0."""
    divisor = gcd(input, other)
    return abs(floor_divide(input, where(eq(divisor, 0), 1, divisor)) * other)
