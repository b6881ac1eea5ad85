"""Movement kernels. Views are numpy's views of the same memory."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as np_as_strided

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Kernel, factory, kernel


@kernel
def reshape(x: Any, shape: Any) -> Any:
    return x.reshape(shape)


@kernel
def permute(x: Any, dims: Any) -> Any:
    return x.transpose(dims)


@kernel
def expand(x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, shape)


@factory
def slice(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    spans = zip(*params, strict=True)
    key = (*(builtins.slice(*span) for span in spans), ...)
    return lambda x: x[key]


@factory
def as_strided(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    size, stride, offset = params
    item = NUMPY_DTYPE[out.dtype].itemsize
    steps = tuple(s * item for s in stride)

    def run(x: Any) -> Any:
        start = x.reshape(-1)[offset:] if x.flags.c_contiguous else _from(x, offset)
        return np_as_strided(start, size, steps)

    return run


def _from(x: Any, offset: int) -> Any:
    """A 1-d array that starts `offset` elements after the first of `x`."""
    first = np_as_strided(x, (offset + 1,), (x.itemsize,))
    return first[offset:]


@factory
def unfold(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
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
    lead = (builtins.slice(None),) * dim
    for k in range(size):  # over the window's taps, not over elements
        out[(*lead, builtins.slice(k, k + (count - 1) * step + 1, step))] += g[..., k]
    return out


@kernel
def flip(x: Any, dims: Any) -> Any:
    return np.ascontiguousarray(np.flip(x, dims))


@factory
def pad(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    (widths,) = params
    inner = tuple(
        builtins.slice(lo, lo + n) for n, (lo, _) in zip(avals[0].shape, widths, strict=True)
    )
    d = NUMPY_DTYPE[out.dtype]

    def run(x: Any, value: Any) -> Any:
        result = np.full(out.shape, value, d) if value else np.zeros(out.shape, d)
        result[inner] = x
        return result

    return run


@factory
def cat(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    dim = params[0]
    return lambda *arrays: np.concatenate(arrays, dim)
