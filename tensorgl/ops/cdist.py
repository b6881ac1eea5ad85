"""Distances of each vector of one set to each of another."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl.dispatch import differentiable, op
from tensorgl.ops.arithmetic import maximum
from tensorgl.ops.comparison import where
from tensorgl.ops.math import sqrt
from tensorgl.ops.movement import adjoint, unsqueeze
from tensorgl.ops.norm import vector_norm
from tensorgl.ops.reduction import sum

__all__ = ["cdist"]

Tensor = Any

_FEW = 25  # up to so many vectors, differences are quick, and more exact than a product
_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


@op
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = _MODES[0]) -> Tensor:
    """The p-norm distances of the rows of `x1` and `x2`; their gradient is 0 where the distance is.

    Args:
        x1: (*, P, M).
        x2: (*, R, M), with batches that broadcast.
        p: the order of the norm; 0 counts the elements that differ.
        compute_mode: "use_mm_for_euclid_dist" computes Euclidean distances from a matrix product,
            which loses digits of small ones; "donot_use_mm_for_euclid_dist" from differences;
            "use_mm_for_euclid_dist_if_necessary" from a product for more than 25 vectors.

    Returns:
        (*, P, R).

    Raises:
        RuntimeError: shapes do not fit, a tensor is no floating-point one, or `p` is negative.
        ValueError: the compute mode is unknown.
    """
    if compute_mode not in _MODES:
        raise ValueError(
            f"{compute_mode} is not a valid value for compute_mode; use one of {', '.join(_MODES)}"
        )
    for name, x in (("X1", x1), ("X2", x2)):
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
        if not x.dtype.is_floating_point:
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {x.dtype.title}"
            )
    if x1.dtype is not x2.dtype:
        raise RuntimeError(
            f"cdist: expected X1 and X2 of one dtype, given {x1.dtype.name} and {x2.dtype.name}"
        )
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError(f"cdist only supports non-negative p values, given {p}")
    if p != 2 and x1.shape[-1]:  # distances of empty vectors are 0, whatever the norm
        return vector_norm(_differences(x1, x2), p, -1)
    many = max(x1.shape[-2], x2.shape[-2]) > _FEW
    return _euclidean(x1, x2, compute_mode == _MODES[1] or (compute_mode == _MODES[0] and many))


def _differences(x1: Tensor, x2: Tensor) -> Tensor:
    return unsqueeze(x1, -2) - unsqueeze(x2, -3)


def _euclidean_gradient(g: Tensor, x1: Tensor, x2: Tensor, out: Tensor) -> Tensor:
    """The sum over x2's rows of `g * (x1 - x2) / out`, without the differences themselves."""
    ratio = g / where(out == 0, inf, out)
    return x1 * sum(ratio, -1, True) - ratio @ x2


@differentiable(
    x1=lambda g, x1, x2, out: _euclidean_gradient(g, x1, x2, out),
    x2=lambda g, x1, x2, out: _euclidean_gradient(adjoint(g), x2, x1, adjoint(out)),
)
def _euclidean(x1: Tensor, x2: Tensor, by_product: bool) -> Tensor:
    if not by_product:
        return vector_norm(_differences(x1, x2), 2, -1)
    squares = sum(x1 * x1, -1, True) + adjoint(sum(x2 * x2, -1, True)) - 2 * x1 @ adjoint(x2)
    return sqrt(maximum(squares, 0))
