"""Distinct elements and rows. How many there are depends on the values, so the host finds them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import call1, from_host, op, to_host
from tensorgl.ops.movement import reshape, wrap_dim

__all__ = ["unique", "unique_consecutive"]

Tensor = Any


@op
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices along `dim`), in ascending order.

    Args:
        input: a tensor of any shape.
        sorted: accepted for PyTorch's sake; the result always is.
        return_inverse: also where in the result each element of the input is.
        return_counts: also how often each occurs.
        dim: compare slices along this dim instead of elements.

    Raises:
        RuntimeError: there are slices, but without elements.
    """
    return _distinct(input, dim, True, return_inverse, return_counts)


@op
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The elements (or slices along `dim`) without those that equal the one before."""
    return _distinct(input, dim, False, return_inverse, return_counts)


def _distinct(
    input: Tensor, dim: int | None, sort: bool, return_inverse: bool, return_counts: bool
) -> Any:
    """The first of each run of equals, after a sort or as they are."""
    values = to_host(input)
    d = 0
    if dim is None:
        slices, inverse_shape = values.reshape(-1), values.shape
    else:
        if input.ndim == 0:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        d = wrap_dim(dim, input.ndim)
        slices, inverse_shape = np.moveaxis(values, d, 0), (input.shape[d],)
    if slices.size == 0 and len(slices):
        raise RuntimeError(
            "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied: "
            f"input {tuple(values.shape)}, dim {dim}"
        )
    rows = slices.reshape(len(slices), prod(slices.shape[1:]))
    if not sort:
        order = np.arange(len(rows))
    elif dim is None:
        order = to_host(call1(p.argsort, reshape(input, (-1,)), (0, False)))
    else:  # by their first element, then the second, and so on
        order = np.lexsort(rows.T[::-1])
    rows = rows[order]
    starts = np.ones(len(rows), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(1)
    first = np.flatnonzero(starts)
    distinct = np.moveaxis(slices[order[first]], 0, d)
    results = [from_host(np.ascontiguousarray(distinct), input.dtype, input.device)]
    if return_inverse:
        inverse = np.empty(len(rows), np.int64)
        inverse[order] = np.cumsum(starts) - 1
        results.append(from_host(inverse.reshape(inverse_shape), dtypes.int64, input.device))
    if return_counts:
        counts = np.diff(first, append=len(rows))
        results.append(from_host(counts, dtypes.int64, input.device))
    return results[0] if len(results) == 1 else tuple(results)
