"""Reductions over dims: sums, products, means, logsumexp, and tests of all elements."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, defvjp, differentiable, op, source
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.casting import cast
from tensorgl.ops.comparison import eq, isnan, ne, where
from tensorgl.ops.dims import Dims, count, flattened, numpy_names, unreduced
from tensorgl.ops.movement import expand, flip, permute, reshape, sliced, wrap_dims
from tensorgl.primitives.reduction import reduced_shape

__all__ = [
    "all",
    "any",
    "count_nonzero",
    "logsumexp",
    "mean",
    "nanmean",
    "nansum",
    "prod",
    "sum",
]

Tensor = Any


@op
@numpy_names
def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The sum over `dim` (default: all); integers and bools sum to int64, or to `dtype`."""
    out = call1(p.sum, cast(input, dtype), (wrap_dims(dim, input.ndim), keepdim))
    return cast(out, dtype)


defvjp(p.sum, input=lambda g, shape, dim, keepdim: expand(unreduced(g, shape, dim, keepdim), shape))


@op
@numpy_names
def nansum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The sum over `dim` (default: all) in which NaN counts as 0."""
    input = cast(input, dtype)
    if input.dtype.is_floating_point:
        input = where(isnan(input), 0, input)
    return sum(input, dim, keepdim, dtype=dtype)


@op
@numpy_names
def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The mean over `dim` (default: all) of a floating-point tensor; NaN where that is empty."""
    input = cast(input, dtype)
    kind = input.dtype
    if not kind.is_floating_point:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be a floating point dtype. "
            f"Got: {kind.title}; pass dtype=torch.float32 or cast with .float()"
        )
    if kind is dtypes.float16:  # the sum may exceed half's range where the mean does not
        return cast(mean(cast(input, dtypes.float32), dim, keepdim), kind)
    dims = wrap_dims(dim, input.ndim)
    return call2(p.div, call1(p.sum, input, (dims, keepdim)), count(input.shape, dims))


@op
@numpy_names
def nanmean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The mean over `dim` (default: all) of the elements that are not NaN."""
    kind = input.dtype
    if not kind.is_floating_point:
        raise RuntimeError(
            f"nanmean(): expected input to have floating point dtype but got {kind.title}"
        )
    if dtype is not None and dtype is not kind:
        return nanmean(cast(input, dtype), dim, keepdim)
    if kind is dtypes.float16:
        return cast(nanmean(cast(input, dtypes.float32), dim, keepdim), kind)
    present = eq(input, input)
    return nansum(input, dim, keepdim) / cast(sum(present, dim, keepdim), kind)


@op
@numpy_names
def prod(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype_type | None = None
) -> Tensor:
    """The product over `dim` (default: all); of integers and bools in int64, or in `dtype`."""
    out = call1(p.prod, cast(input, dtype), (wrap_dims(dim, input.ndim), keepdim))
    return cast(out, dtype)


def _prod_backward(
    g: Tensor, input: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool
) -> Tensor:
    """Times the product of all others: that of those before and of those after, without division."""
    if not dim:
        return g
    x = flattened(input, dim)
    others = flip(products_before(flip(x, -1), x.ndim - 1), -1) * products_before(x, x.ndim - 1)
    order = (*(k for k in range(len(shape)) if k not in dim), *dim)
    others = reshape(others, tuple(shape[k] for k in order))
    others = permute(others, tuple(order.index(k) for k in range(len(shape))))
    return unreduced(g, shape, dim, keepdim) * others


defvjp(
    p.prod,
    input=lambda g, input, shape, dim, keepdim: _prod_backward(g, input, shape, dim, keepdim),
)


def products_before(x: Tensor, dim: int) -> Tensor:
    """The product of the elements before each one along `dim`; 1 for the first."""
    if x.shape[dim] == 0:
        return x
    stops = tuple(n - (k == dim) for k, n in enumerate(x.shape))
    part = sliced(x, (0,) * x.ndim, stops, (1,) * x.ndim)
    widths = tuple((int(k == dim), 0) for k in range(x.ndim))
    return call1(p.cumprod, call2(p.pad, part, 1, (widths,)), (dim,))


def _logsumexp_backward(g: Tensor, input: Tensor, out: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    shape, dims = input.shape, wrap_dims(dim, input.ndim)
    g, out = unreduced(g, shape, dims, keepdim), unreduced(out, shape, dims, keepdim)
    return g * call1(p.exp, input - out)


@op
@numpy_names
@differentiable(
    input=lambda g, input, out, dim, keepdim: _logsumexp_backward(g, input, out, dim, keepdim)
)
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """The logarithm of the sum of exponentials over `dim`, safe from overflow."""
    kind = input.dtype
    if kind is dtypes.float16:
        return cast(logsumexp(cast(input, dtypes.float32), dim, keepdim), kind)
    if not kind.is_floating_point:
        input = cast(input, dtypes.get_default_dtype())
    dims = wrap_dims(dim, input.ndim)
    if count(input.shape, dims) == 0:
        return call1(p.log, sum(call1(p.exp, input), dims, keepdim))
    top = call1(p.amax, input, (dims, True))
    top = where(eq(call1(p.abs, top), inf), 0, top)
    total = call1(p.log, call1(p.sum, call1(p.exp, input - top), (dims, True))) + top
    return reshape(total, reduced_shape(input.shape, dims, keepdim))


@op
@numpy_names
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements over `dim` (default: all) are not 0."""
    return sum(input if input.dtype is dtypes.bool else ne(input, 0), dim)


@op
@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element over `dim` (default: all) is not 0; bool, but uint8 for uint8."""
    return _quantified(p.amax, False, input, dim, keepdim)


@op
@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether no element over `dim` (default: all) is 0; bool, but uint8 for uint8."""
    return _quantified(p.amin, True, input, dim, keepdim)


def _quantified(extremum: Any, of_nothing: bool, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    dims = () if dim is not None and dim in ((), []) else wrap_dims(dim, input.ndim)
    if count(input.shape, dims):
        truth = input if input.dtype is dtypes.bool else ne(input, 0)
        out = call1(extremum, truth, (dims, keepdim))
    else:
        shape = reduced_shape(tuple(input.shape), dims, keepdim)
        out = source(p.full, (of_nothing,), (shape, dtypes.bool), input.device)
    return cast(out, dtypes.uint8) if input.dtype is dtypes.uint8 else out
