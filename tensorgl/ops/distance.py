"""Distances and similarities of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np  # for a table of indices that depends on a size only

from tensorgl import primitives
from tensorgl.dispatch import call2, from_host, op
from tensorgl.dtypes import int64
from tensorgl.ops.reduction import sum
from tensorgl.ops.rounding import clamp_min

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]

Tensor = Any


@op
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`; norms count as at least `eps`."""
    unit1 = x1 / clamp_min(x1.norm(2, dim, True), eps)
    unit2 = x2 / clamp_min(x2.norm(2, dim, True), eps)
    return sum(unit1 * unit2, dim)


@op
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of `x1 - x2 + eps` over the last dim."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@op
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The p-norm distances of each two rows: (N, M) to (N (N - 1) / 2,), in the order of pairs."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    first, second = (
        from_host(index, int64, input.device) for index in np.triu_indices(input.shape[0], 1)
    )
    return (_rows(input, first) - _rows(input, second)).norm(p, 1)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    return call2(primitives.take, x, index, (0,))
