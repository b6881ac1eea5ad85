"""Elementwise kernels: mostly numpy's ufuncs; what numpy lacks is in `special`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import (
    KERNELS,
    NUMPY_DTYPE,
    Binary,
    Ternary,
    Unary,
    factory,
    kernel,
    ufuncs,
)

LARGE = 1 << 14  # elements from which on passes over memory cost more than calls

ufuncs(
    abs=np.abs,
    acos=np.arccos,
    acosh=np.arccosh,
    asin=np.arcsin,
    asinh=np.arcsinh,
    atan=np.arctan,
    atanh=np.arctanh,
    bitwise_not=np.bitwise_not,
    cos=np.cos,
    cosh=np.cosh,
    exp=np.exp,
    exp2=np.exp2,
    expm1=np.expm1,
    isnan=np.isnan,
    log=np.log,
    log10=np.log10,
    log1p=np.log1p,
    log2=np.log2,
    logical_not=np.logical_not,
    neg=np.negative,
    reciprocal=np.reciprocal,
    sin=np.sin,
    sinh=np.sinh,
    sqrt=np.sqrt,
    tan=np.tan,
    tanh=np.tanh,
)


def array_of(d: Any) -> Unary:
    """A function from a Python number to a 0-d array of numpy dtype `d`; integers wrap around."""
    array = np.array
    if d.kind == "f":
        return lambda number: array(number, d)

    def wrapped(number: Any) -> Any:
        try:
            return array(number, d)
        except OverflowError:
            return array(number, np.int64).astype(d)

    return wrapped


def with_numbers(run: Binary, avals: tuple[Aval, ...]) -> Binary:
    """`run` of two operands, given arrays only: a Python number becomes a 0-d array.

    numpy's ufuncs take numbers too, but convert them more slowly and do not wrap integers around.
    """
    a, b = avals
    if b.dtype.weak:
        convert = array_of(NUMPY_DTYPE[a.dtype])
        return lambda x, y: run(x, convert(y))
    if a.dtype.weak:
        convert = array_of(NUMPY_DTYPE[b.dtype])
        return lambda x, y: run(convert(x), y)
    return run


def _binary(**by_name: Binary) -> None:
    for name, run in by_name.items():
        KERNELS[name] = lambda avals, params, out, run=run: with_numbers(run, avals)


_binary(
    add=np.add,
    atan2=np.arctan2,
    bitwise_and=np.bitwise_and,
    bitwise_left_shift=np.left_shift,
    bitwise_or=np.bitwise_or,
    bitwise_right_shift=np.right_shift,
    bitwise_xor=np.bitwise_xor,
    copysign=np.copysign,
    div=np.divide,
    eq=np.equal,
    gcd=np.gcd,
    hypot=np.hypot,
    le=np.less_equal,
    lt=np.less,
    maximum=np.maximum,
    minimum=np.minimum,
    mul=np.multiply,
    ne=np.not_equal,
    nextafter=np.nextafter,
    sub=np.subtract,
)


def _rounding(**by_name: Unary) -> None:
    """Kernels that leave integers as they are."""
    for name, run in by_name.items():
        KERNELS[name] = lambda avals, params, out, run=run: (
            run if out.dtype.is_floating_point else copy
        )


@kernel
def copy(x: Any) -> Any:
    return np.array(x, order="C")


_rounding(ceil=np.ceil, floor=np.floor, round=np.rint, trunc=np.trunc)


def _division(name: str, exact: Binary, rounded: Unary, result: Ternary) -> None:
    """Register a division that rounds: `exact` is numpy's.

    It raises PyTorch's error where an integer is divided by zero. numpy divides floats one by one
    with libm, so single precision goes by way of double: for quotients below 2^28 the double
    quotient never rounds up to an integer, and its product with the divisor is exact.
    """

    def checked(x: Any, y: Any) -> Any:
        if not y.all():
            raise RuntimeError("ZeroDivisionError")
        return exact(x, y)

    def single(x: Any, y: Any) -> Any:
        quotient = rounded(np.divide(x, y, dtype=np.float64))
        out = result(x, y, quotient).astype(x.dtype)
        rare = ~(np.abs(quotient) < 2.0**28) | np.isinf(y)
        if rare.any():
            out = np.where(rare, exact(x, y), out)
        return out

    def make(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
        if not out.dtype.is_floating_point:
            return with_numbers(checked, avals)
        return with_numbers(single if out.dtype.itemsize == 4 else exact, avals)

    KERNELS[name] = make


def _fmod(x: Any, y: Any, quotient: Any) -> Any:
    return np.copysign(x - quotient * y, x)  # -0.0 where a negative number leaves nothing


_division("floor_divide", np.floor_divide, np.floor, lambda x, y, quotient: quotient)
_division("remainder", np.remainder, np.floor, lambda x, y, quotient: x - quotient * y)
_division("fmod", np.fmod, np.trunc, _fmod)


@factory
def sign(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    if out.dtype.category == 0:
        return copy
    if not out.dtype.is_floating_point:
        return np.sign
    d = NUMPY_DTYPE[out.dtype]
    zero = np.zeros((), d)

    def run(x: Any) -> Any:  # quicker than np.sign, and 0 for NaN as in PyTorch
        difference = np.greater(x, zero).view(np.int8) - np.less(x, zero).view(np.int8)
        return difference.astype(d)

    return run


def fresh(function: Binary) -> Binary:
    """Register `name(x, one)`, a kernel that works on its own intermediate result by `out=`.

    It is given an array of at least one dim (of a 0-d one numpy's results are no arrays), half
    precision as single, and 1 as an array of that dtype, since numpy is slow with Python's numbers.
    """

    def make(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
        if out.dtype.itemsize == 2:
            one = np.ones((), np.float32)
            return lambda x: (
                function(np.atleast_1d(x.astype(np.float32)), one)
                .astype(np.float16)
                .reshape(x.shape)
            )
        one = np.ones((), NUMPY_DTYPE[out.dtype])
        if out.ndim == 0:
            return lambda x: function(x.reshape(1), one).reshape(())
        return lambda x: function(x, one)

    KERNELS[function.__name__] = make
    return function


@fresh
def rsqrt(x: Any, one: Any) -> Any:
    out = np.sqrt(x)
    return np.divide(one, out, out=out)


@fresh
def sigmoid(x: Any, one: Any) -> Any:
    out = np.negative(x)
    np.exp(out, out=out)
    out += one
    return np.divide(one, out, out=out)


@factory
def pow(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    run = np.power if out.dtype.is_floating_point else _integer_power
    general = with_numbers(run, avals)
    if not avals[1].dtype.weak:
        return general
    quick = _FLOAT_POWERS if out.dtype.is_floating_point else _INTEGER_POWERS

    def by_number(x: Any, exponent: Any) -> Any:
        special = quick.get(exponent)
        return general(x, exponent) if special is None else special(x)

    return by_number


def _cube(x: Any) -> Any:
    out = np.square(x)
    out *= x
    return out


_INTEGER_POWERS: dict[Any, Unary] = {1: copy, 2: np.square, 3: _cube}
_FLOAT_POWERS: dict[Any, Unary] = {
    **_INTEGER_POWERS,
    0.5: np.sqrt,
    -0.5: lambda x: np.reciprocal(np.sqrt(x)),
    -1: np.reciprocal,
    -2: lambda x: np.reciprocal(np.square(x)),
}


def _integer_power(x: Any, exponent: Any) -> Any:
    """A negative power is the quotient rounded towards zero: 0, but for bases 1 and -1."""
    negative = np.less(exponent, 0)
    if not negative.any():
        return np.power(x, exponent)
    out = np.power(x, np.where(negative, exponent & 1, exponent))  # exact for 1 and -1
    return np.where(negative & (np.abs(x) != 1), np.zeros((), x.dtype), out)


@factory
def clamp(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Ternary:
    low, high = _bound(avals[1], out), _bound(avals[2], out)
    if out.size < LARGE:
        return lambda x, a, b: np.minimum(np.maximum(x, low(a)), high(b))
    return lambda x, a, b: np.clip(x, low(a), high(b))


@factory
def clamp_min(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    low = _bound(avals[1], out)
    if out.size < LARGE or not (out.dtype.is_floating_point and avals[1].dtype.weak):
        return lambda x, a: np.maximum(x, low(a))
    return lambda x, a: np.clip(x, low(a), np.inf)  # thrice as fast as maximum with a scalar


@factory
def clamp_max(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    high = _bound(avals[1], out)
    if out.size < LARGE or not (out.dtype.is_floating_point and avals[1].dtype.weak):
        return lambda x, b: np.minimum(x, high(b))
    return lambda x, b: np.clip(x, -np.inf, high(b))


def _bound(a: Aval, out: Aval) -> Unary:
    return array_of(NUMPY_DTYPE[out.dtype]) if a.dtype.weak else lambda bound: bound


@factory
def cast(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    d = NUMPY_DTYPE[out.dtype]
    return lambda x: np.asarray(x).astype(d)


@factory
def where(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Ternary:
    first, second = _bound(avals[1], out), _bound(avals[2], out)
    if out.size < LARGE or out.dtype.itemsize == 1:
        return lambda condition, a, b: np.where(condition, first(a), second(b))
    bits = np.dtype(f"i{out.dtype.itemsize}")

    def run(condition: Any, a: Any, b: Any) -> Any:
        # np.where branches, which is slow where the condition is irregular: blend bits instead.
        condition = condition.view(np.int8)
        a, b = first(a).view(bits), second(b).view(bits)
        if b.ndim == 0 and not b:
            return np.multiply(a, condition).view(NUMPY_DTYPE[out.dtype])
        if a.ndim == 0 and not a:
            return np.multiply(b, condition ^ np.int8(1)).view(NUMPY_DTYPE[out.dtype])
        picked = np.bitwise_xor(a, b)
        if picked.shape != out.shape:
            return np.bitwise_xor(picked * condition, b).view(NUMPY_DTYPE[out.dtype])
        picked *= condition
        picked ^= b
        return picked.view(NUMPY_DTYPE[out.dtype])

    return run
