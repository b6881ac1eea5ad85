"""Indexing kernels. An index out of range raises IndexError; it never wraps and never writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl.backends.numpy.kernels import kernel


def _checked(index: Any, size: int, dim: int) -> Any:
    if index.size and (index.min() < 0 or index.max() >= size):
        bad = index[(index < 0) | (index >= size)].flat[0]
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size}")
    return index


@kernel
def take(x: Any, index: Any, dim: Any) -> Any:
    return np.take(x, _checked(index, x.shape[dim], dim), dim)


@kernel
def put(x: Any, index: Any, source: Any, dim: Any) -> Any:
    out = np.array(x)
    out[(slice(None),) * dim + (_checked(index, x.shape[dim], dim),)] = source
    return out


@kernel
def put_add(x: Any, index: Any, source: Any, dim: Any) -> Any:
    out = np.array(x)
    np.add.at(out, (slice(None),) * dim + (_checked(index, x.shape[dim], dim),), source)
    return out


def _grid(index: Any, dim: int) -> tuple[Any, ...]:
    """Index arrays that address [.., index[..], ..] at `dim` and the same place elsewhere."""
    places: list[Any] = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    places[dim] = index
    return tuple(places)


@kernel
def gather(x: Any, index: Any, dim: Any) -> Any:
    if x.ndim == 0:
        return x
    return x[_grid(_checked(index, x.shape[dim], dim), dim)]


@kernel
def scatter(x: Any, index: Any, source: Any, dim: Any) -> Any:
    out = np.array(x)
    part = tuple(slice(n) for n in index.shape)
    out[_grid(_checked(index, x.shape[dim], dim), dim)] = source[part]
    return out


@kernel
def scatter_add(x: Any, index: Any, source: Any, dim: Any) -> Any:
    out = np.array(x)
    part = tuple(slice(n) for n in index.shape)
    np.add.at(out, _grid(_checked(index, x.shape[dim], dim), dim), source[part])
    return out
