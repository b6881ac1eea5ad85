"""Reductions over dims: sums, products, extremes, moments and norms."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, defvjp, op
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.movement import expand, reshape, wrap_dims

__all__ = ["mean", "sum"]

Tensor = Any
Dims = int | tuple[int, ...] | None


def _restored(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced tensor spread over the shape that it was reduced from."""
    if not keepdim:
        g = reshape(g, tuple(1 if k in dim else n for k, n in enumerate(shape)))
    return expand(g, shape)


@op
def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The sum over `dim` (default: all); integers and bools sum to int64."""
    if dtype is not None:
        input = call1(p.cast, input, (dtype,))
    return call1(p.sum, input, (wrap_dims(dim, input.ndim), keepdim))


defvjp(p.sum, input=lambda g, shape, dim, keepdim: _restored(g, shape, dim, keepdim))


@op
def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The mean over `dim` (default: all) of a floating-point tensor."""
    if dtype is not None:
        input = call1(p.cast, input, (dtype,))
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be a floating point dtype. "
            f"Got: {input.dtype.title}"
        )
    total = sum(input, dim, keepdim)
    return total / (input._aval.size / total._aval.size if total._aval.size else 1)
