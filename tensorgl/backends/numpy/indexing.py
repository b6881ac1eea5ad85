"""Indexing kernels. An index out of range raises PyTorch's error and writes nothing.

Whatever the dim, an index is worked out to positions in flat memory first: numpy's `take`, assignment
and `ufunc.at` have quick paths for one flat index, several times as quick as for index tuples. All of
them go through the index in order, so that results are deterministic and the last write counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import Kernel, factory, kernel

_UNSIGNED = {np.dtype(np.int64): np.uint64, np.dtype(np.int32): np.uint32}
_REDUCE = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _in_range(
    index: Any, size: int, dim: int, wrap: bool = False, error: type[Exception] = IndexError
) -> Any:
    """The index, with negative ones counted from the end if `wrap`.

    Raises:
        IndexError: one of them is out of range; or another `error`.
    """
    if index.size == 0:
        return index
    unsigned = _UNSIGNED[index.dtype]
    if index.view(unsigned).max() < size:  # a negative one is huge, so one pass sees both ends
        return index
    if wrap:
        wrapped = np.where(index < 0, index + size, index)
        if wrapped.view(unsigned).max() < size:
            return wrapped
    bad = index[(index < (-size if wrap else 0)) | (index >= size)].flat[0]
    raise error(f"index {bad} is out of bounds for dimension {dim} with size {size}")


@kernel
def take(x: Any, index: Any, dim: Any, wrap: Any) -> Any:
    if not wrap or x.size == 0:  # numpy does not look at the index where the result is empty
        _in_range(index, x.shape[dim], dim, wrap)
    try:
        if x.flags.c_contiguous:
            return x.take(index, dim)
        return x[(slice(None),) * dim + (index,)]  # `take` would copy all of x first
    except IndexError:
        _in_range(index, x.shape[dim], dim, wrap)
        raise


@kernel
def put(x: Any, index: Any, source: Any, dim: Any, wrap: Any) -> Any:
    out = np.array(x, order="C")
    out[(slice(None),) * dim + (_in_range(index, x.shape[dim], dim, wrap),)] = source
    return out


@kernel
def put_add(x: Any, index: Any, source: Any, dim: Any, wrap: Any) -> Any:
    out = np.array(x, order="C")
    places = _in_range(index, x.shape[dim], dim, wrap).reshape(-1)
    lead, trail = x.shape[:dim], x.shape[dim + 1 :]
    if trail:
        count = int(np.prod(trail))
        places = places[:, None] * count + np.arange(count)
    if lead:
        starts = np.arange(int(np.prod(lead))) * int(np.prod(x.shape[dim:]))
        places = starts.reshape(-1, *(1,) * places.ndim) + places
    np.add.at(out.reshape(-1), places.reshape(-1), source.reshape(-1))
    return out


@factory
def ravel_index(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    def run(*indices: Any) -> Any:
        places: Any = 0
        for index, size, dim in zip(indices, *params, strict=True):
            wide = index.astype(np.int64, copy=False)
            places = places * size + _in_range(wide, size, dim, wrap=True)
        return places

    return run


def _places(index: Any, shape: Any, dim: int) -> Any:
    """The flat positions of [.., index[..], ..] at `dim` and the same place elsewhere."""
    index = _in_range(index, shape[dim], dim, error=RuntimeError)
    offsets: Any = 0
    step = 1
    for d in reversed(range(len(shape))):
        if d == dim:
            index = index * step if step > 1 else index
        elif index.shape[d] > 1:
            along = np.arange(index.shape[d]) * step
            offsets = along.reshape(-1, *(1,) * (len(shape) - 1 - d)) + offsets
        step *= shape[d]
    return index + offsets


@kernel
def gather(x: Any, index: Any, dim: Any) -> Any:
    return x.reshape(-1).take(_places(index, x.shape, dim))


def _scattered(x: Any, index: Any, source: Any, dim: int) -> tuple[Any, Any, Any]:
    """A copy of x, and flat: its memory's positions to write to, and what to write there."""
    part = source[tuple(slice(n) for n in index.shape)]
    return np.array(x, order="C"), _places(index, x.shape, dim).reshape(-1), part.reshape(-1)


@kernel
def scatter(x: Any, index: Any, source: Any, dim: Any) -> Any:
    out, places, values = _scattered(x, index, source, dim)
    out.reshape(-1)[places] = values
    return out


@kernel
def scatter_add(x: Any, index: Any, source: Any, dim: Any) -> Any:
    out, places, values = _scattered(x, index, source, dim)
    if index.shape[dim] == 1:  # no place twice
        out.reshape(-1)[places] += values
    else:
        np.add.at(out.reshape(-1), places, values)
    return out


@kernel
def scatter_reduce(x: Any, index: Any, source: Any, dim: Any, reduce: Any) -> Any:
    out, places, values = _scattered(x, index, source, dim)
    _REDUCE[reduce].at(out.reshape(-1), places, values)
    return out
