"""Special functions that numpy lacks: erf and its kin, and the logarithm of gamma and its derivatives.

They are computed in double precision, to a few units in its last place, whatever the dtype; but erf
and erfinv of single precision have short formulas of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import factorial
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import KERNELS, NUMPY_DTYPE, Kernel, Unary, factory

BLOCK = 1 << 16  # elements at a time, so that the many temporaries of a formula stay in cache


def _in_blocks(function: Unary, work: Any, out: Aval) -> Unary:
    """A kernel that runs `function` on one-dimensional blocks of dtype `work`."""
    d = NUMPY_DTYPE[out.dtype]

    def run(x: Any) -> Any:
        result = np.empty(x.shape, d)
        source, target = x.reshape(-1), result.reshape(-1)
        for k in range(0, target.size, BLOCK):
            block = slice(k, k + BLOCK)
            target[block] = function(source[block].astype(work, copy=False))
        return result

    return run


def _in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register `name(x, *params)` for arrays of any dtype, given in double precision."""

    def make(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
        return _in_blocks(lambda x: function(x, *params), np.float64, out)

    KERNELS[function.__name__] = make
    return function


def _horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    """The polynomial with these coefficients, highest power first; `x` has a dim."""
    out = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        out *= x
        out += c
    return out


# -- erf, erfc, erfinv --------------------------------------------------------------------------

# atanh(erf x) = x P(x²): weighted minimax fit for 0 <= x <= 3.95, where single precision reaches 1.
# The relative error of tanh(x P(x²)) is below 1e-7; P grows beyond, so that the result stays 1.
_ATANH_ERF = tuple(
    np.array(c, np.float32)
    for c in (
        1.4182340650225833e-07,
        -5.6678716890775565e-06,
        8.763296618378942e-05,
        -6.197711701890354e-04,
        -1.9184876259766004e-04,
        1.0276906475736497e-01,
        1.1283792732135296,
    )
)

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969):
# erf x = x A(x²)/B(x²) to 0.46875, erfc x = exp(-x²) C(x)/D(x) to 4, and beyond
# erfc x = exp(-x²)/x (1/√π - P(1/x²)/(x² Q(1/x²))).
_A = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_B = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
_C = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_D = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)
_SMALL = 0.46875


def _erf_single(x: Any) -> Any:
    square = np.square(x)
    out = square * _ATANH_ERF[0]
    for c in _ATANH_ERF[1:-1]:
        out += c
        out *= square
    out += _ATANH_ERF[-1]
    out *= x
    return np.tanh(out, out=out)


def _erf_small(x: Any) -> Any:
    square = x * x
    return x * _horner(square, _A) / _horner(square, _B)


def _erfc_positive(x: Any) -> Any:
    """Erfc of x >= 0.46875."""
    out = np.empty_like(x)
    middle = x <= 4
    y = x[middle]
    out[middle] = _horner(y, _C) / _horner(y, _D)
    y = np.minimum(x[~middle], 30.0)  # erfc(27) underflows
    inverse = 1 / (y * y)
    tail = inverse * _horner(inverse, _P) / _horner(inverse, _Q)
    out[~middle] = (0.5641895835477562869 - tail) / y
    # exp(-x²) in two factors, since the rounding of x² would be magnified by x².
    x = np.minimum(x, 30.0)
    head = np.trunc(x * 16) / 16
    return out * np.exp(-head * head) * np.exp((head - x) * (head + x))


def _erf_double(x: Any) -> Any:
    small = np.abs(x) <= _SMALL
    out = np.empty_like(x)
    out[small] = _erf_small(x[small])
    y = x[~small]
    out[~small] = np.copysign(1 - _erfc_positive(np.abs(y)), y)
    return out


@factory
def erf(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    if out.dtype.itemsize == 8:
        return _in_blocks(_erf_double, np.float64, out)
    return _in_blocks(_erf_single, np.float32, out)


@_in_double
def erfc(x: Any) -> Any:
    small = np.abs(x) <= _SMALL
    out = np.empty_like(x)
    out[small] = 1 - _erf_small(x[small])
    y = x[~small]
    tail = _erfc_positive(np.abs(y))
    out[~small] = np.where(y < 0, 2 - tail, tail)
    return out


# M. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2010), single precision:
# erfinv x = x P(w) with w = -log(1 - x²), to 3e-7.
_CENTRAL = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _erfinv_single(x: Any) -> Any:
    w = -np.log((1 - x) * (1 + x))
    out = x * np.where(w < 5, _horner(w - 2.5, _CENTRAL), _horner(np.sqrt(w) - 3, _TAIL))
    return np.where(np.abs(x) == 1, np.copysign(x.dtype.type(np.inf), x), out)


def _erfinv_double(x: Any) -> Any:
    w = -np.log((1 - x) * (1 + x))
    out = _erfinv_single(x)
    # Giles stops at w = 16, where single precision does: beyond, erfc x = exp(-x²)/(x √π).
    v = np.maximum(w + np.log(2.0), 16)
    out = np.where(w < 16, out, np.copysign(np.sqrt(v - 0.5 * np.log(np.pi * v)), x))
    # Two of Halley's steps. Near 1, 1 - |x| is exact and erfc has no cancellation.
    for _ in range(2):
        y = np.abs(out)
        residual = np.where(np.abs(x) < 0.5, _erf_double(y) - np.abs(x), (1 - np.abs(x)) - erfc(y))
        step = residual * (np.sqrt(np.pi) / 2) * np.exp(y * y)
        out = np.copysign(y - step / (1 + y * step), x)
    return np.where(np.abs(x) == 1, np.copysign(np.inf, x), out)


@factory
def erfinv(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    if out.dtype.itemsize == 8:
        return _in_blocks(_erfinv_double, np.float64, out)
    return _in_blocks(_erfinv_single, np.float32, out)


# -- gamma --------------------------------------------------------------------------------------

_BERNOULLI = (  # B_2, B_4, …
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
    -3617 / 510,
    43867 / 798,
    -174611 / 330,
    854513 / 138,
    -236364091 / 2730,
)
_EULER = 0.57721566490153286061
_STIRLING = tuple(b / (2 * j * (2 * j - 1)) for j, b in enumerate(_BERNOULLI[:9], 1))[::-1]
_PSI = tuple(b / (2 * j) for j, b in enumerate(_BERNOULLI[:9], 1))[::-1]


def _zeta(s: int, x: Any) -> Any:
    """Hurwitz's zeta, the sum of (x + k)^-s over k >= 0, for x > 0, by Euler and Maclaurin."""
    out = np.zeros_like(x)
    for k in range(10):
        out += (x + k) ** -s
    w = x + 10
    power = w ** (1.0 - s)
    out += power * (1 / (s - 1) + 0.5 / w)
    factor = float(s)
    for j, b in enumerate(_BERNOULLI, 1):
        power /= w * w
        out += b / factorial(2 * j) * factor * power
        factor *= (s + 2 * j - 1) * (s + 2 * j)
    return out


@cache
def _lgamma_series() -> tuple[float, ...]:
    """Of lgamma(2 + t) / t: 1 - γ + Σ (-1)^k (ζ(k) - 1) / k t^(k-1); it converges like (t / 2)^k."""
    two = np.array([2.0])
    terms = [(-1) ** k * float(_zeta(k, two)[0]) / k for k in range(2, 30)]
    return tuple([1 - _EULER, *terms][::-1])


def _sin_pi(x: Any) -> Any:
    """|sin(πx)|, exactly 0 at integers."""
    return np.sin(np.pi * np.abs(x - np.rint(x)))


def _lgamma_positive(x: Any) -> Any:
    out = np.empty_like(x)
    large = x >= 8
    y = x[large]
    inverse = 1 / y
    series = inverse * _horner(inverse * inverse, _STIRLING)
    out[large] = (y - 0.5) * (np.log(y) - 1) + (0.5 * np.log(2 * np.pi) - 0.5) + series
    y = x[~large]
    # Γ(n + t) = Γ(2 + t) times (2 + t) … (n - 1 + t), or divided by t and 1 + t; |t| <= 1/2. Neither
    # zero of lgamma, at 1 and 2, suffers from cancellation.
    n = np.floor(y + 0.5)
    t = y - n
    product = np.ones_like(y)
    for j in range(2, 8):
        product *= np.where(j < n, j + t, 1)
    small = t * _horner(t, _lgamma_series()) + np.log(product)
    small -= np.where(n < 2, np.log1p(t), 0)
    small -= np.where(n < 1, np.log(y), 0)
    out[~large] = small
    return out


@_in_double
def lgamma(x: Any) -> Any:
    magnitude = np.abs(x)
    out = _lgamma_positive(magnitude)
    negative = x < 0
    y = magnitude[negative]
    reflected = np.log(np.pi) - np.log(y) - np.log(_sin_pi(y)) - out[negative]
    out[negative] = np.where(y == np.floor(y), np.inf, reflected)
    return out


def _digamma_positive(x: Any) -> Any:
    """By recurrence to x >= 10, then the asymptotic series (Abramowitz and Stegun, 6.3.18)."""
    x = x.copy()
    out = np.zeros_like(x)
    for _ in range(10):
        low = x < 10
        out -= np.where(low, 1 / x, 0)
        x += low
    inverse = 1 / (x * x)
    return out + np.log(x) - 0.5 / x - inverse * _horner(inverse, _PSI)


def _cotangent_derivative(n: int, x: Any) -> Any:
    """The n-th derivative of cot(πx), a polynomial in the cotangent c: P' → -π (1 + c²) P'(c)."""
    p = [0, 1]  # lowest power first
    for _ in range(n):
        d = [k * a for k, a in enumerate(p)][1:]
        p = [-(a + b) for a, b in zip([*d, 0, 0], [0, 0, *d], strict=True)]
    cotangent = 1 / np.tan(np.pi * (x - np.rint(x)))
    return np.pi**n * _horner(cotangent, tuple(float(a) for a in reversed(p)))


@_in_double
def polygamma(x: Any, n: int) -> Any:
    out = np.empty_like(x)
    positive = x > 0
    y = np.where(positive, x, 1 - x)
    sign = (-1) ** n
    y = _digamma_positive(y) if n == 0 else -sign * float(factorial(n)) * _zeta(n + 1, y)
    out[positive] = y[positive]
    rest = ~positive
    y, z = y[rest], x[rest]
    reflected = sign * y - np.pi * _cotangent_derivative(n, z)
    # digamma has a sign at the pole at 0, and none at those of the negative integers.
    pole = np.where(z == 0, -np.copysign(np.inf, z), np.nan) if n == 0 else -sign * np.inf
    out[rest] = np.where(z == np.floor(z), pole, reflected)
    return out
