"""Sorting and searching. NaN counts as the greatest value; sorts are stable in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl.backends.numpy.kernels import kernel

SMALL = 1 << 11  # up to this many elements numpy's own stable sort is the fastest


@kernel
def argsort(x: Any, dim: Any, descending: Any) -> Any:
    if x.size > SMALL and x.dtype != np.float64:
        keys = _keys(x)
        keys = ~keys if descending else keys
        if keys.dtype == np.int32:
            return _packed_argsort(keys, dim)
        return np.ascontiguousarray(np.argsort(keys, dim, kind="stable"))
    if not descending:
        return np.ascontiguousarray(np.argsort(x, dim, kind="stable"))
    # Stable and descending: sort the flipped array, then flip the result back.
    flipped = np.argsort(np.flip(x, dim), dim, kind="stable")
    return np.ascontiguousarray(np.flip(x.shape[dim] - 1 - flipped, dim))


def _keys(x: Any) -> Any:
    """Integers in the order of the values: of 16 bits (a radix sort), else 32 (packed), else 64."""
    if x.dtype.kind == "f":
        bits = (x.astype(np.float32) + np.float32(0)).view(np.int32)  # -0 becomes 0
        bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)  # the greater the magnitude the smaller
        bits[np.isnan(x)] = 0x7FFFFFFF
        return bits
    if x.itemsize <= 2:
        return x
    low, high = int(x.min()), int(x.max())
    if high - low < 1 << 16:
        return (x - low).astype(np.uint16)
    return x.astype(np.int32) if max(~low, high) < 1 << 31 else x


def _packed_argsort(keys: Any, dim: int) -> Any:
    """Sorts key and index as one integer: stable by construction, and numpy's fastest sort."""
    packed = np.moveaxis(keys, dim, -1).astype(np.int64, order="C")
    packed <<= 32
    packed |= np.arange(packed.shape[-1])
    packed.sort(-1)
    packed &= 0xFFFFFFFF
    return np.ascontiguousarray(np.moveaxis(packed, -1, dim))


@kernel
def argtopk(x: Any, dim: Any, k: Any, largest: Any) -> Any:
    n = x.shape[dim]
    if k == 0 or n < max(512, 16 * k):
        order = argsort(x, dim, largest)
        return np.ascontiguousarray(order[(slice(None),) * dim + (slice(k),)])
    rows = np.moveaxis(x, dim, -1)
    best = _few_of_many(np.ascontiguousarray(rows).reshape(-1, n), k, largest)
    return np.ascontiguousarray(np.moveaxis(best.reshape(*rows.shape[:-1], k), -1, dim))


def _few_of_many(rows: Any, k: int, largest: bool) -> Any:
    """The indices of the k extreme elements of each long row, in order.

    Split a row into groups: the k-th best of the groups' bests is a bound that at least k elements
    reach, and few more.
    """
    count, n = rows.shape
    size = max(4 * k, min(256, n // 4))
    groups = rows[:, : n - n % size].reshape(count, n // size, size)
    if largest:
        bests = np.maximum.reduce(groups, 1)
        reach = ~(rows < np.partition(bests, -k, -1)[:, -k, None])
    else:
        bests = np.fmin.reduce(groups, 1)
        reach = ~(rows > np.partition(bests, k - 1, -1)[:, k - 1, None])
    places = np.flatnonzero(reach)
    row = places // n
    order = argsort(rows.reshape(-1)[places], 0, largest)
    order = order[np.argsort(row[order], kind="stable")]
    starts = np.searchsorted(row, np.arange(count))
    return places[order[starts[:, None] + np.arange(k)]] % n


@kernel
def argkth(x: Any, dim: Any, k: Any) -> Any:
    return np.argpartition(x, k, dim).take([k], dim)


@kernel
def searchsorted(sorted_sequence: Any, values: Any, right: Any) -> Any:
    if sorted_sequence.ndim == 1:
        return np.searchsorted(sorted_sequence, values, "right" if right else "left")
    n = sorted_sequence.shape[-1]
    low = np.zeros(values.shape, np.int64)
    high = np.full(values.shape, n)
    for _ in range(n.bit_length()):  # bisection, all values at once
        middle = (low + high) // 2
        at = np.take_along_axis(sorted_sequence, np.minimum(middle, n - 1), -1)
        below = (middle < high) & ~(at > values if right else at >= values)
        low = np.where(below, middle + 1, low)
        high = np.where(below, high, middle)
    return low
