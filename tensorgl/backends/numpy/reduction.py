"""Reductions. Half precision accumulates in single, integers in int64, as PyTorch does.

numpy adds along rows pairwise but slowly where they are short, and along leading dims one after the
other, whose rounding errors grow with the count. Here floats are added by products with vectors of
ones, which BLAS does at the speed of memory, in parts so short that errors stay as small as those of
pairwise sums.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod as product
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Kernel, factory, kernel

Shape = tuple[int, ...]
ROW, COLUMN, PART = 2048, 128, 32  # how many are added at once along a last and another dim


def _sum_rows(n: int, d: Any) -> Kernel:
    """Sums over the last dim, of size `n`, as (rows,)."""
    if n <= ROW:
        ones = np.ones(n, d)
        return lambda x: x.reshape(-1, n) @ ones
    part = ROW // 2
    count = n // part
    whole = count * part
    ones, rest = np.ones(part, d), _sum_rows(count, d)

    def run(x: Any) -> Any:
        x = x.reshape(-1, n)
        total = rest(x[:, :whole].reshape(-1, count, part) @ ones)
        return total if whole == n else total + x[:, whole:] @ ones[: n - whole]

    return run


def _sum_columns(n: int, inner: int, d: Any) -> Kernel:
    """Sums over the middle of three dims (any, n, inner), as (any, 1, inner)."""
    if n <= COLUMN:
        ones = np.ones((1, n), d)
        return lambda x: ones @ x.reshape(-1, n, inner)
    whole = n - n % PART
    first, second = _sum_columns(whole // PART, PART * inner, d), _sum_columns(PART, inner, d)
    ones = np.ones((1, n - whole), d)

    def run(x: Any) -> Any:
        x = x.reshape(-1, n, inner)
        total = second(first(x[:, :whole]))
        return total if whole == n else total + ones @ x[:, whole:]

    return run


@lru_cache(1024)
def _sum_contiguous(shape: Shape, dim: Shape, d: Any) -> Kernel:
    """Sums over `dim` of contiguous arrays of a shape, with the dims kept."""
    kept = tuple(1 if k in dim else n for k, n in enumerate(shape))
    if product(shape) == 0:
        return lambda x: np.zeros(kept, d)
    runs: list[tuple[int, bool]] = []  # neighbouring dims merged: (size, whether it is summed)
    for k, n in enumerate(shape):
        if n == 1:
            continue
        if runs and runs[-1][1] == (k in dim):
            runs[-1] = (runs[-1][0] * n, k in dim)
        else:
            runs.append((n, k in dim))
    steps: list[Kernel] = []
    inner = 1
    for n, summed in reversed(runs):
        if not summed:
            inner *= n
        elif inner == 1:
            steps.append(_sum_rows(n, d))
        else:
            steps.append(_sum_columns(n, inner, d))
    if not steps:
        return np.array

    def run(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x.reshape(kept)

    return run


def _sum_strided(x: Any, dim: Shape) -> Any:
    """Sums over `dim`, with the dims kept, of an array of any layout."""
    repeated = [k for k, (n, s) in enumerate(zip(x.shape, x.strides, strict=True)) if n > 1 and not s]
    if repeated:  # broadcast: add each element once, then count it as often as it stands there
        once = x[tuple(slice(1) if k in repeated else slice(None) for k in range(x.ndim))]
        total = _float_sum(once, dim) * x.dtype.type(product(x.shape[k] for k in repeated if k in dim))
        kept = tuple(1 if k in dim else n for k, n in enumerate(x.shape))
        return np.array(np.broadcast_to(total, kept))
    order = sorted(range(x.ndim), key=lambda k: -x.strides[k])
    y = np.ascontiguousarray(x.transpose(order))
    places = tuple(order.index(k) for k in range(x.ndim))
    total = _sum_contiguous(y.shape, tuple(sorted(places[k] for k in dim)), x.dtype)(y)
    return total.transpose(places)


def _float_sum(x: Any, dim: Shape) -> Any:
    """Sums over `dim` in the array's own precision, with the dims kept."""
    if x.flags.c_contiguous:
        return _sum_contiguous(x.shape, dim, x.dtype)(x)
    return _sum_strided(x, dim)


@factory
def sum(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    dim, keepdim = params
    a, shape = avals[0], out.shape
    if not a.dtype.is_floating_point:
        if a.dtype.name == "bool" and len(dim) == a.ndim:
            return lambda x: np.reshape(np.count_nonzero(x), shape)
        return lambda x: np.add.reduce(x, dim, np.int64, keepdims=keepdim)
    if a.dtype.name == "float16":
        return lambda x: _float_sum(x.astype(np.float32), dim).astype(np.float16).reshape(shape)
    contiguous = _sum_contiguous(tuple(a.shape), dim, NUMPY_DTYPE[a.dtype])

    def run(x: Any) -> Any:
        total = contiguous(x) if x.flags.c_contiguous else _sum_strided(x, dim)
        return total.reshape(shape)

    return run


@factory
def var_mean(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any) -> Kernel:
    dim, correction, _ = params
    shape, d = out[0].shape, NUMPY_DTYPE[out[0].dtype]
    n = product(avals[0].shape[k] for k in dim)
    degrees = max(n - correction, 0)

    def run(x: Any) -> Any:
        x = x.astype(np.float32) if d == np.float16 else x
        mean = _float_sum(x, dim) / x.dtype.type(n)
        deviation = x - mean
        deviation *= deviation
        var = _float_sum(deviation, dim) / x.dtype.type(degrees)
        return var.reshape(shape).astype(d, copy=False), mean.reshape(shape).astype(d, copy=False)

    return run


@factory
def prod(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    dim, keepdim = params
    d = NUMPY_DTYPE[out.dtype]
    if d == np.float16:
        return lambda x: np.multiply.reduce(x, dim, np.float32, keepdims=keepdim).astype(d)
    return lambda x: np.multiply.reduce(x, dim, d, keepdims=keepdim)


@factory
def amax(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    return _extremum(avals[0], *params, out.shape, np.maximum.reduce, np.argmax)


@factory
def amin(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    return _extremum(avals[0], *params, out.shape, np.minimum.reduce, np.argmin)


def _extremum(
    a: Aval, dim: Shape, keepdim: bool, shape: Shape, reduce: Kernel, arg: Kernel
) -> Kernel:
    """By `reduce`, but where there are many short rows, each of which costs numpy a slow call."""
    if dim == (a.ndim - 1,) and a.size >= 16 * a.shape[-1]:
        n = a.shape[-1]
        if n <= 24:  # as a few long columns
            return lambda x: reduce(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0).reshape(shape)
        if n <= 1024 and a.dtype.is_floating_point:
            return lambda x: _pick_by(arg, x.reshape(-1, n)).reshape(shape)
    return lambda x: reduce(x, dim, keepdims=keepdim)


def _pick_by(arg: Kernel, rows: Any) -> Any:
    """The element of each row that `arg` points at."""
    place = arg(rows, 1)
    place += np.arange(0, rows.size, rows.shape[1])
    return rows.reshape(-1).take(place)


@kernel
def argmax(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.argmax(x, dim, keepdims=keepdim)


@kernel
def argmin(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.argmin(x, dim, keepdims=keepdim)
