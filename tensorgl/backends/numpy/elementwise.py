"""Elementwise kernels: mostly numpy's ufuncs; what numpy lacks is in `special`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Kernel, factory, kernel, ufuncs

ufuncs(
    abs=np.abs,
    acos=np.arccos,
    acosh=np.arccosh,
    add=np.add,
    asin=np.arcsin,
    asinh=np.arcsinh,
    atan=np.arctan,
    atan2=np.arctan2,
    atanh=np.arctanh,
    bitwise_and=np.bitwise_and,
    bitwise_left_shift=np.left_shift,
    bitwise_not=np.bitwise_not,
    bitwise_or=np.bitwise_or,
    bitwise_right_shift=np.right_shift,
    bitwise_xor=np.bitwise_xor,
    ceil=np.ceil,
    cos=np.cos,
    cosh=np.cosh,
    div=np.divide,
    eq=np.equal,
    exp=np.exp,
    exp2=np.exp2,
    expm1=np.expm1,
    floor=np.floor,
    floor_divide=np.floor_divide,
    fmod=np.fmod,
    isnan=np.isnan,
    le=np.less_equal,
    log=np.log,
    log10=np.log10,
    log1p=np.log1p,
    log2=np.log2,
    logical_not=np.logical_not,
    lt=np.less,
    maximum=np.maximum,
    minimum=np.minimum,
    mul=np.multiply,
    ne=np.not_equal,
    neg=np.negative,
    nextafter=np.nextafter,
    pow=np.power,
    reciprocal=np.reciprocal,
    remainder=np.remainder,
    round=np.round,
    sign=np.sign,
    sin=np.sin,
    sinh=np.sinh,
    sqrt=np.sqrt,
    sub=np.subtract,
    tan=np.tan,
    tanh=np.tanh,
    trunc=np.trunc,
)


@kernel
def rsqrt(x: Any) -> Any:
    return np.reciprocal(np.sqrt(x))


@kernel
def sigmoid(x: Any) -> Any:
    return np.reciprocal(1 + np.exp(-x))


@kernel
def copy(x: Any) -> Any:
    return np.array(x, order="C")


@factory
def cast(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    d = NUMPY_DTYPE[out.dtype]
    return lambda x: np.asarray(x).astype(d)


@factory
def where(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    d = NUMPY_DTYPE[out.dtype]
    if out.size < 1024:
        return lambda condition, a, b: np.where(condition, np.asarray(a, d), np.asarray(b, d))
    return partial(_select, d, np.dtype(f"i{d.itemsize}"))


def _select(d: Any, bits: Any, condition: Any, a: Any, b: Any) -> Any:
    """Choose by bit masks: np.where branches at each element, eight times slower on random masks."""
    a, b = np.asarray(a, d).view(bits), np.asarray(b, d).view(bits)
    mask = condition.view(np.int8).astype(bits)
    np.negative(mask, out=mask)
    if b.ndim == 0 and not b:
        return (a & mask).view(d)
    if a.ndim == 0 and not a:
        return (b & np.invert(mask, out=mask)).view(d)
    mask = (a ^ b) & mask
    mask ^= b
    return mask.view(d)
