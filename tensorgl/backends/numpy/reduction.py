"""Reductions, scans and sorting. Half precision accumulates in single, as PyTorch does."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl.backends.numpy.kernels import kernel


@kernel
def sum(x: Any, dim: Any, keepdim: Any) -> Any:
    if x.dtype == np.float16:
        return np.add.reduce(x, dim, np.float32, keepdims=keepdim).astype(np.float16)
    return np.add.reduce(x, dim, keepdims=keepdim)


@kernel
def prod(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.multiply.reduce(x, dim, keepdims=keepdim)


@kernel
def amax(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.maximum.reduce(x, dim, keepdims=keepdim)


@kernel
def amin(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.minimum.reduce(x, dim, keepdims=keepdim)


@kernel
def argmax(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.argmax(x, dim, keepdims=keepdim)


@kernel
def argmin(x: Any, dim: Any, keepdim: Any) -> Any:
    return np.argmin(x, dim, keepdims=keepdim)


@kernel
def cumsum(x: Any, dim: Any) -> Any:
    if x.dtype == np.float16:
        return np.cumsum(x, dim, np.float32).astype(np.float16)
    return np.cumsum(x, dim)


@kernel
def cumprod(x: Any, dim: Any) -> Any:
    return np.cumprod(x, dim)


@kernel
def logcumsumexp(x: Any, dim: Any) -> Any:
    return np.logaddexp.accumulate(x, dim)


@kernel
def cumargmax(x: Any, dim: Any) -> Any:
    return _latest(np.logical_or(x == np.maximum.accumulate(x, dim), x != x), dim)


@kernel
def cumargmin(x: Any, dim: Any) -> Any:
    return _latest(np.logical_or(x == np.minimum.accumulate(x, dim), x != x), dim)


def _latest(hit: Any, dim: int) -> Any:
    """The index of the latest hit up to each place along `dim`."""
    shape = [1] * hit.ndim
    shape[dim] = hit.shape[dim]
    positions = np.arange(hit.shape[dim]).reshape(shape)
    return np.maximum.accumulate(np.where(hit, positions, 0), dim)


@kernel
def argsort(x: Any, dim: Any, descending: Any) -> Any:
    if not descending:
        return np.argsort(x, dim, kind="stable")
    # Stable and descending: sort the flipped array, then flip the result back.
    flipped = np.argsort(np.flip(x, dim), dim, kind="stable")
    return np.ascontiguousarray(np.flip(x.shape[dim] - 1 - flipped, dim))
