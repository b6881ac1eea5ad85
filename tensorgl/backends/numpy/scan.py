"""Running sums, products and extremes along one dim."""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Unary, factory, kernel

SMALL = 1 << 14  # below this many elements numpy's own loop is the fastest


def _held_in(d: Any) -> Any:
    """The dtype of the running value of floats, as PyTorch has it on a CPU."""
    return np.dtype(np.float32 if d == np.float16 else np.float64)


@factory
def cumsum(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    (dim,) = params
    d = NUMPY_DTYPE[out.dtype]
    if d.kind != "f":
        return lambda x: np.cumsum(x, dim)
    if d == np.float16 or out.size < SMALL:
        return lambda x: np.cumsum(x, dim, _held_in(d)).astype(d, copy=False)
    return _cumsum_blocks(tuple(out.shape), dim, d)


def _cumsum_blocks(shape: tuple[int, ...], dim: int, d: Any) -> Unary:
    """Sums within blocks by a product with a triangle of ones, then adds the blocks before.

    numpy's loop waits for each addition before it starts the next; BLAS runs many at once.
    """
    n, inner = shape[dim], product(shape[dim + 1 :])
    size = next((b for b in range(32, 7, -1) if n % b == 0), min(n, 32))
    count = -(-n // size)
    triangle = np.tril(np.ones((size, size), d))

    def run(x: Any) -> Any:
        blocks = x.reshape(-1, n, inner)
        if count * size != n:
            blocks = np.pad(blocks, ((0, 0), (0, count * size - n), (0, 0)))
        if inner == 1:
            y = blocks.reshape(-1, size) @ triangle.T
        else:
            y = triangle @ blocks.reshape(-1, size, inner)
        y = y.reshape(-1, count, size, inner)
        before = np.cumsum(y[:, :, -1], 1, np.float64)
        if not np.isfinite(before[:, -1]).all():  # 0 * inf would spoil a whole block
            return np.cumsum(x, dim, np.float64).astype(d, copy=False)
        y[:, 1:] += before[:, :-1, None].astype(d)
        return np.ascontiguousarray(y.reshape(-1, count * size, inner)[:, :n]).reshape(shape)

    return run


@factory
def cumprod(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    (dim,) = params
    d = NUMPY_DTYPE[out.dtype]
    if d.kind != "f":
        return lambda x: np.cumprod(x, dim)
    return lambda x: np.cumprod(x, dim, _held_in(d)).astype(d, copy=False)


@kernel
def logcumsumexp(x: Any, dim: Any) -> Any:
    if x.dtype == np.float16:
        return np.logaddexp.accumulate(x, dim, np.float32).astype(np.float16)
    return np.logaddexp.accumulate(x, dim)


@kernel
def cumargmax(x: Any, dim: Any) -> Any:
    return _latest(x, np.maximum.accumulate(x, dim), dim)


@kernel
def cumargmin(x: Any, dim: Any) -> Any:
    return _latest(x, np.minimum.accumulate(x, dim), dim)


def _latest(x: Any, extreme: Any, dim: int) -> Any:
    """Where along `dim` the running extreme was last seen, up to each place."""
    seen = x == extreme
    if x.dtype.kind == "f":
        seen |= np.isnan(x)
    shape = [1] * x.ndim
    shape[dim] = x.shape[dim]
    return np.maximum.accumulate(seen * np.arange(x.shape[dim]).reshape(shape), dim)
