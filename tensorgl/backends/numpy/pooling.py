"""Pooling by taps: each step is one whole array, the elements that one tap of every window sees.

Maxima and sums go dim by dim. Padding is never made: a tap skips the windows in which it lies there.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Binary, Unary, factory

__all__: list[str] = []

Shape = tuple[int, ...]
Tap = tuple[slice, slice]  # the windows in which a tap is inside, and what it sees there


def _taps(size: int, kernel: int, stride: int, low: int, dilation: int, count: int) -> list[Tap]:
    """For each tap along one dim: which of `count` windows have it inside, and where."""
    taps: list[Tap] = []
    for k in range(kernel):
        shift = k * dilation - low  # where window 0 has this tap
        first = max(0, -(shift // stride))
        stop = max(first, min(count, (size - 1 - shift) // stride + 1))
        start = first * stride + shift
        end = start + max(0, (stop - first - 1) * stride + 1)
        taps.append((slice(first, stop), slice(start, end, stride)))
    return taps


class _Pool:
    """The geometry of one bound call: taps along each of the last dims."""

    def __init__(
        self,
        size: Shape,
        windows: Shape,
        kernel: Shape,
        stride: Shape,
        padding: tuple[tuple[int, int], ...],
        dilation: Shape,
    ) -> None:
        lows = [lo for lo, _ in padding]
        self.size, self.windows, self.kernel = size, windows, kernel
        self.low, self.dilation, self.stride = lows, dilation, stride
        self.dims = [
            _taps(*args) for args in zip(size, kernel, stride, lows, dilation, windows, strict=True)
        ]
        # (windows, elements) of every tap over all dims, as indices, in row-major order
        self.all = [
            ((..., *(w for w, _ in tap)), (..., *(e for _, e in tap)))
            for tap in product(*self.dims)
        ]
        reach = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        self.disjoint = all(r < s for r, s in zip(reach, stride, strict=True))

    def first_taps(self, dtype: Any) -> Any:
        """The number of the first tap of each window that is not in the padding, (*windows)."""
        number = np.zeros((), dtype)
        for d, count in enumerate(self.windows):
            start = np.arange(count) * self.stride[d] - self.low[d]
            first = np.maximum(-(start // self.dilation[d]), 0)
            number = number[..., None] * self.kernel[d] + first.astype(dtype)
        return number


def _pool(x: Aval, windows: Aval, params: tuple[Any, ...]) -> _Pool:
    nd = len(params[0])
    return _Pool(x.shape[-nd:], windows.shape[-nd:], *params)


def _along(d: int, nd: int, part: slice) -> tuple[Any, ...]:
    return (..., part, *(slice(None),) * (nd - d - 1))


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


@factory
def pool_max(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    pool = _pool(avals[0], out, params)
    lowest = _lowest(NUMPY_DTYPE[out.dtype])
    return lambda x: _reduced(np.maximum, x, pool, lowest)


@factory
def pool_sum(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    pool = _pool(avals[0], out, params)
    return _single(lambda x: _reduced(np.add, x, pool, 0))


@factory
def pool_spread(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    pool = _pool(out, avals[0], params[1:])
    return _single(lambda g: _spread(g, pool))


def _single(run: Unary) -> Unary:
    """Half precision computes in single."""
    return lambda x: (
        run(x.astype(np.float32)).astype(np.float16) if x.dtype == np.float16 else run(x)
    )


def _reduced(ufunc: Any, x: Any, pool: _Pool, start: Any) -> Any:
    nd = len(pool.dims)
    for d, taps in enumerate(pool.dims):
        shape = list(x.shape)
        shape[x.ndim - nd + d] = pool.windows[d]
        total = np.full(shape, start, x.dtype)
        for windows, elements in taps:
            target = total[_along(d, nd, windows)]
            ufunc(target, x[_along(d, nd, elements)], out=target)
        x = total
    return x


def _spread(g: Any, pool: _Pool) -> Any:
    nd = len(pool.dims)
    for d, taps in enumerate(pool.dims):
        shape = list(g.shape)
        shape[g.ndim - nd + d] = pool.size[d]
        total = np.zeros(shape, g.dtype)
        for windows, elements in taps:
            total[_along(d, nd, elements)] += g[_along(d, nd, windows)]
        g = total
    return g


@factory
def pool_argmax(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    pool = _pool(avals[0], out, params)
    kind = NUMPY_DTYPE[out.dtype]
    lowest = _lowest(NUMPY_DTYPE[avals[0].dtype])

    def run(x: Any) -> Any:
        number = np.empty(out.shape, kind)
        number[...] = pool.first_taps(kind)
        best = np.full(out.shape, lowest, x.dtype)

        def note(k: int, wins: Any, windows: Any) -> None:
            """Tap k wins there. Later taps have higher numbers, so that no branch is needed."""
            target = number[windows]
            np.maximum(target, np.multiply(wins, kind.type(k)), out=target)

        for k, (windows, elements) in enumerate(pool.all):
            seen = np.ascontiguousarray(x[elements])  # strided reads are slow, and this has two
            target = best[windows]
            note(k, seen > target, windows)
            np.maximum(target, seen, out=target)
        if best.dtype.kind == "f" and np.isnan(best).any():  # the last NaN of a window wins
            for k, (windows, elements) in enumerate(pool.all):
                note(k, np.isnan(x[elements]), windows)
        return number

    return run


def _bits(x: Any) -> Any:
    """Floats as the integers of their size."""
    return x.view(f"i{x.itemsize}")


def _where(mask: Any, x: Any) -> Any:
    """`x` where the mask is true, else 0, as bits: several times as fast as a branch an element."""
    bits = _bits(x)
    return np.bitwise_and(bits, -mask.astype(bits.dtype))


@factory
def pool_take(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    pool = _pool(avals[0], out, params)

    def run(x: Any, number: Any) -> Any:
        result = np.zeros(out.shape, x.dtype)
        for k, (windows, elements) in enumerate(pool.all):
            _bits(result)[windows] |= _where(number[windows] == k, x[elements])
        return result

    return run


@factory
def pool_put(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    pool = _pool(out, avals[0], params[1:])

    def run(g: Any, number: Any) -> Any:
        result = np.zeros(out.shape, g.dtype)
        for k, (windows, elements) in enumerate(pool.all):
            chosen = _where(number[windows] == k, g[windows])
            if pool.disjoint:
                _bits(result)[elements] = chosen
            else:
                result[elements] += chosen.view(g.dtype)
        return result

    return run
