"""Vector norms of any order, distances, and vectors cut to a norm."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, differentiable, op
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.arithmetic import abs, pow, sign
from tensorgl.ops.casting import cast
from tensorgl.ops.comparison import eq, gt, isnan, ne, where
from tensorgl.ops.dims import Dims, count, numpy_names, unreduced
from tensorgl.ops.movement import expand, reshape, wrap_dim, wrap_dims
from tensorgl.ops.reduction import sum
from tensorgl.primitives.reduction import reduced_shape

__all__ = ["dist", "norm", "renorm"]

Tensor = Any


def _norm_backward(
    g: Tensor, input: Tensor, out: Tensor, ord: float, dim: Dims, keepdim: bool
) -> Tensor:
    """PyTorch's choices: 0 where the norm is 0, equal parts for all that are extreme."""
    shape, dims = input.shape, wrap_dims(dim, input.ndim)
    g, out = unreduced(g, shape, dims, keepdim), unreduced(out, shape, dims, keepdim)
    if ord == 0:
        return expand(g * 0, shape)
    if ord == 1:
        return g * sign(input)
    if ord in (inf, -inf):
        size = abs(input)
        hit = where(isnan(out), isnan(size), eq(size, out))
        return g / sum(hit, dims, keepdim=True) * hit * sign(input)
    # Dividing by infinity where the norm is 0 gives the subgradient 0, and so do its derivatives.
    nonzero = where(eq(out, 0), inf, out)
    if ord == 2:
        return g / nonzero * input
    zero = eq(input, 0)
    size = where(zero, 1, abs(input))
    slope = where(zero, 0, sign(input) * pow(size, ord - 1))
    scale = pow(out, 1 - ord) if ord < 1 else 1 / pow(nonzero, ord - 1)
    return g * scale * slope


@differentiable(
    input=lambda g, input, out, ord, dim, keepdim: _norm_backward(g, input, out, ord, dim, keepdim)
)
def _vector_norm(input: Tensor, ord: float, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    if ord == 2:
        if len(dim) == input.ndim and input._aval.size > 4096:  # a dot product, without squares
            flat = reshape(input, (-1,))
            square = call2(p.matmul, reshape(flat, (1, -1)), reshape(flat, (-1, 1)))
            square = reshape(square, reduced_shape(input.shape, dim, keepdim))
        else:
            square = sum(input * input, dim, keepdim)
        return call1(p.sqrt, square)
    if ord == 0:
        return cast(sum(ne(input, 0), dim, keepdim), input.dtype)
    size = abs(input)
    if ord == 1:
        return sum(size, dim, keepdim)
    if ord in (inf, -inf):
        return call1(p.amax if ord > 0 else p.amin, size, (dim, keepdim))
    return pow(sum(pow(size, ord), dim, keepdim), 1 / ord)


def vector_norm(
    input: Tensor,
    ord: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    dtype: dtype_type | None = None,
) -> Tensor:
    """The norm of order `ord` (any number, inf, -inf) over `dim` (default: all).

    Raises:
        RuntimeError: no floating-point tensor, or empty where the order has no identity.
    """
    input = cast(input, dtype)
    kind = input.dtype
    if not kind.is_floating_point:
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point tensor as input. Got {kind.title}; "
            "cast it with .float()"
        )
    dims = wrap_dims(dim, input.ndim)
    if count(input.shape, dims) == 0:
        if ord < 0 or ord == inf:
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {ord} norm on an empty dimension because the "
                "operation does not have an identity"
            )
        return sum(input, dims, keepdim)
    if kind is dtypes.float16:  # squares leave half's range early
        single = _vector_norm(cast(input, dtypes.float32), float(ord), dims, keepdim)
        return cast(single, kind)
    return _vector_norm(input, float(ord), dims, keepdim)


@op
@numpy_names
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtype_type | None = None,
) -> Tensor:
    """The vector norm of order `p` over `dim` (default: all); "fro" is the 2-norm.

    Raises:
        RuntimeError: another string, no floating-point tensor, or an empty dim without identity.
    """
    if p in (None, "fro"):
        p = 2
    if isinstance(p, str):
        raise RuntimeError(
            f"norm: expected p to be a number, inf, -inf or 'fro', given {p!r}; for matrix norms use "
            "linalg.matrix_norm"
        )
    return vector_norm(input, p, dim, keepdim, dtype)


@op
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The norm of order `p` of `input - other`."""
    return vector_norm(input - other, p)


@op
@numpy_names
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Each slice along `dim`, scaled down to the norm `maxnorm` where its own norm is greater."""
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions; for a vector "
            "use torch.norm"
        )
    if p <= 0 or maxnorm < 0:
        raise RuntimeError(
            f"renorm: expected p > 0 and maxnorm >= 0, given p={p} and maxnorm={maxnorm}"
        )
    kept = wrap_dim(dim, input.ndim)
    size = vector_norm(input, p, tuple(k for k in range(input.ndim) if k != kept), True)
    return input * where(gt(size, maxnorm), maxnorm / (size + 1e-7), 1)
