"""Matmul by BLAS. Half precision computes in single."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import Binary, factory


@factory
def matmul(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    if out.dtype.name == "float16":
        product = _product(avals, out, 4)
        return lambda x, y: product(x.astype("f4"), y.astype("f4")).astype("f2")
    return _product(avals, out, out.dtype.itemsize) if out.dtype.is_floating_point else np.matmul


def _product(avals: tuple[Aval, ...], out: Aval, item: int) -> Binary:
    """Matmul through BLAS, of elements of `item` bytes."""
    a, b = avals
    (m, k), n = a.shape[-2:], b.shape[-1]
    fold = a.ndim > 2 and prod(b.shape[:-2]) == 1
    rows = (prod(out.shape[:-1]), k)
    # OpenBLAS's kernel for small products is a quarter slower than the others where `other` is
    # transposed, which from 64 rows on is more than it costs to copy it.
    copy = b.ndim > 2 and m >= 64 and m * k * n <= 10**6
    result = _aligned if out.size * item >= _ALIGN_FROM else np.empty
    kind = np.dtype(f"f{item}")

    def run(x: Any, y: Any) -> Any:
        if fold and x.flags.c_contiguous:  # one product instead of one for each matrix
            flat = result((rows[0], n), kind)
            return np.matmul(x.reshape(rows), y.reshape(k, n), out=flat).reshape(out.shape)
        # BLAS needs rows or columns without gaps; before 2.3 numpy is slower without, 100 times.
        if item not in x.strides[-2:]:
            x = np.ascontiguousarray(x)
        if item not in y.strides[-2:] or (copy and y.strides[-1] != item):
            y = np.ascontiguousarray(y)
        return np.matmul(x, y, out=result(out.shape, kind))

    return run


_LINE = 64  # bytes of a cache line
_ALIGN_FROM = 1 << 18


def _aligned(shape: tuple[int, ...], kind: Any) -> Any:
    """An array that begins at a cache line: BLAS writes up to a third faster to it."""
    count = prod(shape)
    buffer = np.empty(count * kind.itemsize + _LINE, np.uint8)
    start = -buffer.ctypes.data % _LINE
    return buffer[start : start + count * kind.itemsize].view(kind).reshape(shape)
