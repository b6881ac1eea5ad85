"""Matmul and convolution by BLAS. Half precision computes in single."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import Kernel, factory, kernel


@factory
def matmul(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    if out.dtype.name == "float16":
        product = _product(avals, out, 4)
        return lambda x, y: product(x.astype("f4"), y.astype("f4")).astype("f2")
    return _product(avals, out, out.dtype.itemsize) if out.dtype.is_floating_point else np.matmul


def _product(avals: tuple[Aval, ...], out: Aval, item: int) -> Kernel:
    """Matmul through BLAS, of elements of `item` bytes."""
    a, b = avals
    (m, k), n = a.shape[-2:], b.shape[-1]
    fold = a.ndim > 2 and prod(b.shape[:-2]) == 1
    rows = (prod(out.shape[:-1]), k)
    # OpenBLAS's kernel for small products is a quarter slower than the others where `other` is
    # transposed, which from 64 rows on is more than it costs to copy it.
    copy = b.ndim > 2 and m >= 64 and m * k * n <= 10**6

    def run(x: Any, y: Any) -> Any:
        if fold and x.flags.c_contiguous:  # one product instead of one for each matrix
            return np.matmul(x.reshape(rows), y.reshape(k, n)).reshape(out.shape)
        # BLAS needs rows or columns without gaps; before 2.3 numpy is slower without, 100 times.
        if item not in x.strides[-2:]:
            x = np.ascontiguousarray(x)
        if item not in y.strides[-2:] or (copy and y.strides[-1] != item):
            y = np.ascontiguousarray(y)
        return np.matmul(x, y)

    return run


def _windows(x: Any, positions: Any, taps: Any, stride: Any, dilation: Any) -> Any:
    """A view (N, C, *positions, *taps) of a padded input."""
    strides = x.strides
    steps = tuple(s * k for s, k in zip(strides[2:], stride, strict=True))
    inner = tuple(s * k for s, k in zip(strides[2:], dilation, strict=True))
    return as_strided(x, (*x.shape[:2], *positions, *taps), (*strides[:2], *steps, *inner))


def _padded(x: Any, padding: Any) -> Any:
    if not any(lo or hi for lo, hi in padding):
        return x
    return np.pad(x, ((0, 0), (0, 0), *padding))


@kernel
def conv(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    n, o, nd = x.shape[0], w.shape[0], x.ndim - 2
    x = _padded(x, padding)
    taps = w.shape[2:]
    positions = tuple(
        (s - d * (k - 1) - 1) // t + 1
        for s, k, t, d in zip(x.shape[2:], taps, stride, dilation, strict=True)
    )
    v = _windows(x, positions, taps, stride, dilation)
    v = v.reshape(n, groups, x.shape[1] // groups, *v.shape[2:])
    axes = (1, 0, *range(3, 3 + nd), 2, *range(3 + nd, 3 + 2 * nd))
    columns = v.transpose(axes).reshape(groups, n * int(np.prod(positions)), -1)
    weight = w.reshape(groups, o // groups, -1)
    out = columns @ weight.transpose(0, 2, 1)
    out = out.reshape(groups, n, *positions, o // groups)
    out = out.transpose(1, 0, 2 + nd, *range(2, 2 + nd))
    return np.ascontiguousarray(out).reshape(n, o, *positions)


@kernel
def conv_input(
    g: Any, w: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    n, o, nd = g.shape[0], w.shape[0], g.ndim - 2
    positions, taps = g.shape[2:], w.shape[2:]
    channels = w.shape[1] * groups
    full = tuple(s + lo + hi for s, (lo, hi) in zip(size, padding, strict=True))
    rows = g.reshape(n, groups, o // groups, -1).transpose(1, 0, 3, 2)
    rows = rows.reshape(groups, -1, o // groups)
    columns = rows @ w.reshape(groups, o // groups, -1)
    columns = columns.reshape(groups, n, *positions, w.shape[1], *taps)
    columns = columns.transpose(
        1, 0, 2 + nd, *range(3 + nd, 3 + 2 * nd), *range(2, 2 + nd)
    ).reshape(n, channels, *taps, *positions)
    out = np.zeros((n, channels, *full), g.dtype)
    for tap in np.ndindex(*taps):
        place = tuple(
            slice(k * d, k * d + (m - 1) * t + 1, t)
            for k, d, m, t in zip(tap, dilation, positions, stride, strict=True)
        )
        out[(slice(None), slice(None), *place)] += columns[(slice(None), slice(None), *tap)]
    inner = tuple(slice(lo, lo + s) for s, (lo, _) in zip(size, padding, strict=True))
    return out[(slice(None), slice(None), *inner)]


@kernel
def conv_weight(
    g: Any, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    n, o, nd = g.shape[0], g.shape[1], x.ndim - 2
    x = _padded(x, padding)
    v = _windows(x, g.shape[2:], size, stride, dilation)
    v = v.reshape(n, groups, x.shape[1] // groups, *v.shape[2:])
    axes = (1, 0, *range(3, 3 + nd), 2, *range(3 + nd, 3 + 2 * nd))
    columns = v.transpose(axes).reshape(groups, n * int(np.prod(g.shape[2:])), -1)
    rows = g.reshape(n, groups, o // groups, -1).transpose(1, 2, 0, 3)
    rows = rows.reshape(groups, o // groups, -1)
    return (rows @ columns).reshape(o, x.shape[1] // groups, *size)
