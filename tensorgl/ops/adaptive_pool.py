"""Adaptive pooling: windows that cut the input into a given number of parts.

Window `i` of `count` goes from `floor(i n / count)` to `ceil((i + 1) n / count)`. Where `count`
divides `n`, that is plain pooling; else neighbours overlap and their lengths differ by one or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tensorgl.dispatch import op
from tensorgl.ops.arithmetic import minimum
from tensorgl.ops.avg_pool import avg_pool1d, avg_pool2d, avg_pool3d
from tensorgl.ops.comparison import where
from tensorgl.ops.extremum import argmax
from tensorgl.ops.gathering import gather, index_select
from tensorgl.ops.geometry import Shape, check_dims
from tensorgl.ops.movement import expand, reshape
from tensorgl.ops.pool import max_pool1d, max_pool2d, max_pool3d
from tensorgl.ops.reduction import mean, sum
from tensorgl.ops.support import float_only, positions

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
]

Tensor = Any
Counts = int | Sequence[int | None] | None

_AVG = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}
_MAX = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}


@op
def adaptive_avg_pool1d(input: Tensor, output_size: Counts) -> Tensor:
    """The means of `output_size` windows of (N, C, L) or (C, L)."""
    return _avg_pool("adaptive_avg_pool1d", 1, input, output_size)


@op
def adaptive_avg_pool2d(input: Tensor, output_size: Counts) -> Tensor:
    """The means of `output_size` windows of (N, C, H, W) or (C, H, W).

    Args:
        input: what to pool.
        output_size: how many windows along each dim; None for as many as elements.

    Raises:
        RuntimeError: the sizes do not fit the dims, or are negative.
    """
    return _avg_pool("adaptive_avg_pool2d", 2, input, output_size)


@op
def adaptive_avg_pool3d(input: Tensor, output_size: Counts) -> Tensor:
    """The means of `output_size` windows of (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool("adaptive_avg_pool3d", 3, input, output_size)


@op
def adaptive_max_pool1d(input: Tensor, output_size: Counts, return_indices: bool = False) -> Any:
    """The maxima of `output_size` windows of (N, C, L) or (C, L)."""
    return _max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


@op
def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Counts, return_indices: bool = False
) -> Any:
    """`adaptive_max_pool1d` with `return_indices=True`."""
    return _max_pool("adaptive_max_pool1d", 1, input, output_size, True)


@op
def adaptive_max_pool2d(input: Tensor, output_size: Counts, return_indices: bool = False) -> Any:
    """The maxima of `output_size` windows of (N, C, H, W) or (C, H, W).

    Args:
        input: what to pool.
        output_size: how many windows along each dim; None for as many as elements.
        return_indices: also give the place of each maximum, flat in H times W.

    Raises:
        RuntimeError: the sizes do not fit the dims, or are negative.
    """
    return _max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


@op
def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Counts, return_indices: bool = False
) -> Any:
    """`adaptive_max_pool2d` with `return_indices=True`."""
    return _max_pool("adaptive_max_pool2d", 2, input, output_size, True)


@op
def adaptive_max_pool3d(input: Tensor, output_size: Counts, return_indices: bool = False) -> Any:
    """The maxima of `output_size` windows of (N, C, D, H, W) or (C, D, H, W)."""
    return _max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


@op
def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Counts, return_indices: bool = False
) -> Any:
    """`adaptive_max_pool3d` with `return_indices=True`."""
    return _max_pool("adaptive_max_pool3d", 3, input, output_size, True)


def _counts(name: str, nd: int, input: Tensor, output_size: Counts) -> Shape:
    """How many windows there are along each dim."""
    float_only(name, input)
    check_dims(name, input, nd)
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * nd
    if len(sizes) != nd or min(n for n in (*sizes, 0) if n is not None) < 0:
        raise RuntimeError(
            f"{name}: output_size must be {nd} numbers greater than or equal to 0, or None for the "
            f"input's own size, but received {output_size}"
        )
    return tuple(m if n is None else n for n, m in zip(sizes, input.shape[-nd:], strict=True))


def _divides(counts: Shape, size: Shape) -> bool:
    return 0 not in counts and not any(n % c for n, c in zip(size, counts, strict=True))


def _windows(n: int, count: int, device: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Start and end of each window, and (count, width) what they see; short ones see their end again."""
    width = -(-n // count) + 1 if count else 0
    number = positions(count, device)
    start = number * n // max(count, 1)
    end = -((number + 1) * -n // max(count, 1))
    taps = reshape(start, (-1, 1)) + positions(width, device)
    return start, end, minimum(taps, reshape(end - 1, (-1, 1)))


def _seen(input: Tensor, dim: int, taps: Tensor) -> Tensor:
    """The input with `dim` replaced by (windows, taps)."""
    shape = tuple(input.shape)
    out = index_select(input, dim, reshape(taps, (-1,)))
    return reshape(out, (*shape[:dim], *taps.shape, *shape[dim + 1 :]))


def _avg_pool(name: str, nd: int, input: Tensor, output_size: Counts) -> Tensor:
    counts = _counts(name, nd, input, output_size)
    size = tuple(input.shape[-nd:])
    if set(counts) == {1}:
        return mean(input, tuple(range(-nd, 0)), keepdim=True)
    if _divides(counts, size):
        return _AVG[nd](input, tuple(n // c for n, c in zip(size, counts, strict=True)))
    out = input
    for dim, count in enumerate(counts, input.ndim - nd):
        n, after = out.shape[dim], (1,) * (input.ndim - 1 - dim)
        if count in (0, n):
            out = out if count else index_select(out, dim, positions(0, input.device))
            continue
        start, end, taps = _windows(n, count, input.device)
        unique = positions(taps.shape[1], input.device) < reshape(end - start, (-1, 1))
        seen = where(reshape(unique, (*taps.shape, *after)), _seen(out, dim, taps), 0)
        out = sum(seen, dim + 1) / reshape(end - start, (-1, *after))
    return out


def _max_pool(name: str, nd: int, input: Tensor, output_size: Counts, return_indices: bool) -> Any:
    counts = _counts(name, nd, input, output_size)
    size, lead = tuple(input.shape[-nd:]), tuple(input.shape[:-nd])
    if _divides(counts, size):
        kernel = tuple(n // c for n, c in zip(size, counts, strict=True))
        return _MAX[nd](input, kernel, return_indices=return_indices)
    flat = reshape(input, (*lead, prod(size)))
    places = _places(size, counts, input.device)
    if 0 in counts:
        chosen = expand(reshape(places, (0,)), (*lead, 0))
    else:
        seen = _seen(flat, len(lead), places)
        table = expand(places, tuple(seen.shape))
        chosen = reshape(gather(table, -1, argmax(seen, -1, keepdim=True)), tuple(seen.shape[:-1]))
    values = reshape(gather(flat, -1, chosen), (*lead, *counts))
    return (values, reshape(chosen, (*lead, *counts))) if return_indices else values


def _places(size: Shape, counts: Shape, device: Any) -> Tensor:
    """What each window sees, flat in the input's last dims: (windows, taps)."""
    nd = len(size)
    places: Any = 0
    for dim, (n, count) in enumerate(zip(size, counts, strict=True)):
        taps = _windows(n, count, device)[2]
        shape = [1] * (2 * nd)
        shape[dim], shape[nd + dim] = taps.shape
        places = places * n + reshape(taps, tuple(shape))
    return reshape(places, (prod(counts), prod(places.shape[nd:])))
