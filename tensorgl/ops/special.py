"""The error function and its kin, the logarithm of gamma and its derivatives, sigmoid and logit."""

from __future__ import annotations

from math import inf, nan, pi
from math import log as _log
from math import sqrt as _sqrt
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, defvjp, differentiable, op
from tensorgl.ops.arithmetic import square
from tensorgl.ops.casting import in_float
from tensorgl.ops.comparison import eq, gt, lt, where
from tensorgl.ops.math import exp, log
from tensorgl.ops.rounding import clamp

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "lgamma",
    "logit",
    "mvlgamma",
    "polygamma",
    "sigmoid",
    "xlogy",
]

Tensor = Any


@op
def erf(input: Tensor) -> Tensor:
    """The error function, 2/√π times the integral of exp(-t²) from 0 to `input`."""
    return call1(p.erf, input)


defvjp(p.erf, input=lambda g, input: g * (2 / _sqrt(pi) * exp(-square(input))))


@op
def erfc(input: Tensor) -> Tensor:
    """`1 - erf(input)`, precise in the tail."""
    return call1(p.erfc, input)


defvjp(p.erfc, input=lambda g, input: g * (-2 / _sqrt(pi) * exp(-square(input))))


@op
def erfinv(input: Tensor) -> Tensor:
    """The inverse of `erf`, for numbers in [-1, 1]."""
    return call1(p.erfinv, input)


defvjp(p.erfinv, input=lambda g, out: g * (_sqrt(pi) / 2 * exp(square(out))))


@op
def lgamma(input: Tensor) -> Tensor:
    """The natural logarithm of the absolute value of the gamma function."""
    return call1(p.lgamma, input)


defvjp(p.lgamma, input=lambda g, input: g * digamma(input))


@op
def digamma(input: Tensor) -> Tensor:
    """The derivative of `lgamma`."""
    return call1(p.polygamma, input, (0,))


@op
def polygamma(n: int, input: Tensor) -> Tensor:
    """The `n`-th derivative of `digamma`; a RuntimeError for negative `n`."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return call1(p.polygamma, input, (n,))


defvjp(p.polygamma, input=lambda g, input, n: g * polygamma(n + 1, input))


@op
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension `p`."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    total = lgamma(input) + p * (p - 1) / 4 * _log(pi)
    for j in range(1, p):
        total = total + lgamma(input - j / 2)
    return total


@op
def sigmoid(input: Tensor) -> Tensor:
    """`1 / (1 + exp(-input))`."""
    return call1(p.sigmoid, input)


defvjp(p.sigmoid, input=lambda g, out: g * ((1 - out) * out))


def _logit_slope(g: Tensor, input: Tensor, eps: float | None) -> Tensor:
    low = eps or 0.0
    outside = lt(input, low) | gt(input, 1 - low)
    return where(outside, nan if eps is None else 0.0, g / (input * (1 - input)))


@op
@in_float
@differentiable(input=_logit_slope)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """`log(input / (1 - input))`, the inverse of `sigmoid`; with `eps`, of `input` in [eps, 1 - eps]."""
    if eps is not None:
        input = clamp(input, eps, 1 - eps)
    return log(input / (1 - input))


def _log_of(x: Tensor) -> Tensor:
    """The logarithm of a tensor or a number."""
    if isinstance(x, TensorBase):
        return log(x)
    return _log(x) if x > 0 else (-inf if x == 0 else nan)


def _xlogy_input(g: Tensor, input: Tensor, other: Tensor) -> Tensor:
    return where(eq(input, 0) & (other <= 0), 0, g * _log_of(other))


@op
@in_float
@differentiable(input=_xlogy_input, other=lambda g, input, other: g * input / other)
def xlogy(input: Tensor, other: Tensor) -> Tensor:
    """`input * log(other)`, and 0 where `input` is 0 and `other` is not NaN."""
    return where((input == 0) & (other == other), 0, input * _log_of(other))
