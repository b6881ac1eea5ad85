"""Movement kernels. Views are numpy's views of the same memory."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as np_as_strided

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Binary, Kernel, Unary, factory, kernel

_ALL = builtins.slice(None)


@factory
def reshape(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    (shape,) = params
    return lambda x: x.reshape(shape)


@factory
def permute(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    (dims,) = params
    return lambda x: x.transpose(dims)


def _dense_steps(a: Aval) -> tuple[int, ...]:
    """The strides, in bytes, of an array in row-major order."""
    steps: list[int] = []
    step = NUMPY_DTYPE[a.dtype].itemsize
    for n in reversed(a.shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))


@factory
def expand(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    (x_aval,), (shape,) = avals, params
    lead = out.ndim - x_aval.ndim
    kept = tuple(n == m for n, m in zip(x_aval.shape, shape[lead:], strict=True))
    d = NUMPY_DTYPE[out.dtype]

    def strides(steps: tuple[int, ...]) -> tuple[int, ...]:
        return (0,) * lead + tuple(s if k else 0 for k, s in zip(kept, steps, strict=True))

    dense = strides(_dense_steps(x_aval))

    def run(x: Any) -> Any:
        if x.flags.c_contiguous and x.size:  # a tenth of the time that as_strided takes
            return np.ndarray(shape, d, x, 0, dense)
        return np_as_strided(x, shape, strides(x.strides))

    return run


@factory
def slice(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    spans = zip(*params, strict=True)
    key = (*(builtins.slice(*span) for span in spans), ...)
    return lambda x: x[key]


@factory
def narrow(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    dim, length, drop = params
    lead = (_ALL,) * dim
    if drop:
        return lambda x, start: x[(*lead, start, ...)]
    if dim == 0:
        return lambda x, start: x[start : start + length]
    return lambda x, start: x[(*lead, builtins.slice(start, start + length))]


@factory
def narrow_backward(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    dim, _, drop = params
    lead, shape, d = (_ALL,) * dim, tuple(out.shape), NUMPY_DTYPE[out.dtype]
    length = 1 if drop else avals[0].shape[dim]

    def run(g: Any, start: int) -> Any:
        result = np.zeros(shape, d)
        place = start if drop else builtins.slice(start, start + length)
        result[(*lead, place, ...)] = g
        return result

    return run


@kernel
def diagonal(x: Any, offset: Any, dim1: Any, dim2: Any) -> Any:
    view = x.diagonal(offset, dim1, dim2)
    view.flags.writeable = x.flags.writeable  # numpy would have it read-only
    return view


@factory
def as_strided(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    size, stride, offset = params
    d = NUMPY_DTYPE[out.dtype]
    steps = tuple(s * d.itemsize for s in stride)
    start = offset * d.itemsize

    def run(x: Any) -> Any:
        return np.ndarray(size, d, np.ascontiguousarray(x), start, steps)

    return run if out.size else lambda x: x[:0].reshape(size)


@factory
def unfold(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    dim, _, step = params

    def run(x: Any) -> Any:
        strides = list(x.strides)
        strides[dim] *= step
        return np_as_strided(x, out.shape, (*strides, x.strides[dim]))

    return run


@kernel
def unfold_backward(g: Any, dim: Any, length: Any, step: Any) -> Any:
    size, count = g.shape[-1], g.shape[dim]
    shape = list(g.shape[:-1])
    shape[dim] = length
    out = np.zeros(shape, g.dtype)
    lead = (_ALL,) * dim
    for k in range(size):  # over the window's taps, not over elements
        out[(*lead, builtins.slice(k, k + (count - 1) * step + 1, step))] += g[..., k]
    return out


@factory
def flip(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    (dims,) = params
    back = builtins.slice(None, None, -1)
    key = tuple(back if k in dims else _ALL for k in range(out.ndim))
    return lambda x: x[key].copy()


@factory
def pad(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    (widths,) = params
    inner = tuple(
        builtins.slice(lo, lo + n) for n, (lo, _) in zip(avals[0].shape, widths, strict=True)
    )
    shape, d = tuple(out.shape), NUMPY_DTYPE[out.dtype]

    def run(x: Any, value: Any) -> Any:
        result = np.full(shape, value, d) if value else np.zeros(shape, d)
        result[inner] = x
        return result

    return run


@factory
def cat(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    dim = params[0]
    return lambda *arrays: np.concatenate(arrays, dim)
