"""Pooling primitives: a window of `kernel` taps slides over the last dims, as in a convolution.

All take `kernel`, `stride`, `dilation` as tuples of N for the last N dims, `padding` as N pairs
(before, after); what lies in the padding takes no part. `after` may be negative: no window then
reaches the last elements. Taps are numbered in row-major order.

Each window of `pool_take(x, taps)` gives its element at the tap told by `taps`; `pool_put` is its
adjoint, as `pool_spread` is that of `pool_sum`.
"""

from __future__ import annotations

from math import prod

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.primitives.contraction import Pairs, conv_size
from tensorgl.primitives.core import Result, Shape, primitive

__all__ = [
    "pool_argmax",
    "pool_max",
    "pool_put",
    "pool_spread",
    "pool_sum",
    "pool_take",
]


Avals = tuple[Aval, ...]


def _pooled(x: Aval, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Shape:
    lead, size = x.shape[: -len(kernel)], x.shape[-len(kernel) :]
    return (*lead, *map(conv_size, size, kernel, stride, padding, dilation))


def _pool(avals: Avals, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Result:
    return Result(_pooled(avals[0], kernel, stride, padding, dilation), avals[0].dtype)


def _pool_argmax(
    avals: Avals, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Result:
    """The tap of the first maximum, or of the last NaN."""
    small = prod(kernel) <= 256
    shape = _pooled(avals[0], kernel, stride, padding, dilation)
    return Result(shape, dtypes.uint8 if small else dtypes.int64)


def _pool_take(
    avals: Avals, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Result:
    return Result(avals[1].shape, avals[0].dtype)


def _pool_put(
    avals: Avals, size: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Result:
    """Gradients of windows, put at the taps that they were taken from, in an input of `size`."""
    return Result((*avals[0].shape[: -len(size)], *size), avals[0].dtype)


pool_max = primitive("pool_max", "input", "kernel stride padding dilation", _pool, "other")
pool_argmax = primitive(
    "pool_argmax", "input", "kernel stride padding dilation", _pool_argmax, "other"
)
pool_take = primitive(
    "pool_take", "input taps", "kernel stride padding dilation", _pool_take, "other"
)
pool_put = primitive(
    "pool_put", "grad taps", "size kernel stride padding dilation", _pool_put, "other"
)
pool_sum = primitive("pool_sum", "input", "kernel stride padding dilation", _pool, "other")
pool_spread = primitive(
    "pool_spread", "grad", "size kernel stride padding dilation", _pool_put, "other"
)
