"""Reductions. Half precision accumulates in single, integers in int64, as PyTorch does.

numpy adds along rows slowly where they are short, and along other dims one element after the other,
whose rounding errors grow with the count. Here floats are added in blocks: errors stay as small as
those of pairwise sums, and everything runs at about the speed of memory.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod as product
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Binary, Unary, factory, kernel

Shape = tuple[int, ...]
ROW = 1024  # elements of a row that are added at once
FOLD = 64  # rows that are added at once, and from how many elements on they count as long for that
FEW = 24  # elements of a row that numpy is slow to reduce
BLAS = (
    8192  # elements a product: from 9216 on OpenBLAS wakes threads, which may wait long for a core
)


def _sum_middle(n: int, inner: int, d: Any) -> Unary:
    """Sums over the middle of three dims (any, n, inner), in any shape: of parts, then their sums."""
    if inner == 1:
        part = n if n < 2 * ROW else ROW
        add = _sum_rows(part, d)
    elif n * inner <= BLAS or FOLD <= inner <= ROW:
        part = min(n, BLAS // inner)
        add = _sum_neighbours(n // part, part, inner, d)
    else:
        part = min(n, FOLD)
        add = _fold(part, n // part * inner)
    if part == n:
        return add
    whole = n - n % part
    rest = _sum_middle(n // part, inner, d)

    def run(x: Any) -> Any:
        x = x.reshape(-1, n, inner)
        total = rest(add(x[:, :whole]))
        if whole == n:
            return total
        return total.reshape(-1, inner) + np.add.reduce(x[:, whole:], 1)

    return run


def _sum_neighbours(count: int, part: int, inner: int, d: Any) -> Unary:
    """Sums of `part` neighbours each, `inner` elements apart, by products with a row of ones."""
    ones = np.ones((1, part), d)
    return lambda x: ones @ x.reshape(-1, count, part, inner)


def _fold(part: int, width: int) -> Unary:
    """Sums of elements that lie `width` apart."""
    return lambda x: np.add.reduce(x.reshape(-1, part, width), 1)


def _sum_rows(n: int, d: Any) -> Unary:
    """Sums of rows of `n` elements, by products with a vector of ones."""
    ones = np.ones(n, d)
    size = BLAS // n

    def run(x: Any) -> Any:
        x = x.reshape(-1, n)
        rows = len(x)
        if rows <= size:
            return x @ ones
        whole = rows - rows % size
        total = np.empty(rows, d)
        np.matmul(x[:whole].reshape(-1, size, n), ones, out=total[:whole].reshape(-1, size))
        np.matmul(x[whole:], ones, out=total[whole:])
        return total

    return run


@lru_cache(1024)
def _sum_contiguous(shape: Shape, dim: Shape, d: Any) -> Unary:
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
    steps: list[Unary] = []
    inner = 1
    for n, summed in reversed(runs):
        if summed:
            steps.append(_sum_middle(n, inner, d))
        else:
            inner *= n
    if not steps:
        return np.array

    def run(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x.reshape(kept)

    return run


def _sum_strided(x: Any, dim: Shape) -> Any:
    """Sums over `dim`, with the dims kept, of an array of any layout."""
    repeated = [k for k in range(x.ndim) if x.shape[k] > 1 and x.strides[k] == 0]
    if repeated:  # broadcast: add each element once, then count it as often as it stands there
        once = x[tuple(slice(1) if k in repeated else slice(None) for k in range(x.ndim))]
        times = product(x.shape[k] for k in repeated if k in dim)
        total = _float_sum(once, dim) * x.dtype.type(times)
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
def sum(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
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
def var_mean(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any) -> Unary:
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
def prod(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    dim, keepdim = params
    d = NUMPY_DTYPE[out.dtype]
    if d == np.float16:
        return lambda x: np.multiply.reduce(x, dim, np.float32, keepdims=keepdim).astype(d)
    last = avals[0].ndim - 1
    if d.kind != "f" or last not in dim:
        return lambda x: np.multiply.reduce(x, dim, d, keepdims=keepdim)
    others = tuple(k for k in dim if k != last)

    def run(x: Any) -> Any:
        return np.multiply.reduce(_columns(np.multiply, _halved(x)), others).reshape(out.shape)

    return run


def _halved(x: Any) -> Any:
    """A shorter last dim with the same products: numpy multiplies many pairs at once, a row not."""
    while (n := x.shape[-1]) > FEW:
        half = x[..., : n // 2] * x[..., n // 2 : n // 2 * 2]
        if n % 2:
            half[..., 0] *= x[..., -1]
        x = half
    return x


def _columns(ufunc: Any, x: Any) -> Any:
    """Reduces a short last dim as a few long columns: each of many short rows would cost a call."""
    return ufunc.reduce(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0)


@factory
def amax(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    return _extremum(avals[0], params, out.shape, np.maximum, np.argmax)


@factory
def amin(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    return _extremum(avals[0], params, out.shape, np.minimum, np.argmin)


def _extremum(a: Aval, params: tuple[Any, ...], shape: Shape, ufunc: Any, arg: Binary) -> Unary:
    """By numpy's reduction, or what is faster than it for many short rows."""
    dim, keepdim = params
    if dim == (a.ndim - 1,) and a.size > 16 * a.shape[-1]:
        n = a.shape[-1]
        if n <= FEW:
            return lambda x: _columns(ufunc, x).reshape(shape)
        if n <= ROW and a.dtype.is_floating_point:
            return lambda x: _pick_by(arg, x.reshape(-1, n)).reshape(shape)
    return lambda x: ufunc.reduce(x, dim, keepdims=keepdim)


def _pick_by(arg: Binary, rows: Any) -> Any:
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
