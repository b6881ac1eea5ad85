"""Distances and similarities of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np  # for a table of indices that depends on a size only

from tensorgl.dispatch import from_host, op
from tensorgl.dtypes import int64
from tensorgl.ops.gathering import index_select
from tensorgl.ops.movement import broadcast_tensors
from tensorgl.ops.norm import norm
from tensorgl.ops.reduction import sum
from tensorgl.ops.rounding import clamp_min

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]

Tensor = Any


@op
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`; norms count as at least `eps`."""
    x1, x2 = broadcast_tensors(x1, x2)
    unit1, unit2 = (x / clamp_min(norm(x, 2, dim, True), eps) for x in (x1, x2))
    return sum(unit1 * unit2, dim)


@op
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of `x1 - x2 + eps` over the last dim."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


@op
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The p-norm distances of each two rows: (N, M) to (N (N - 1) / 2,), in the order of pairs."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    first, second = (
        from_host(index, int64, input.device) for index in np.triu_indices(input.shape[0], 1)
    )
    return norm(index_select(input, 0, first) - index_select(input, 0, second), p, 1)
