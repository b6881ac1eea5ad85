"""What is found by order: k-th values, medians, modes and quantiles."""

from __future__ import annotations

from typing import Any

from tensorgl import dispatch, dtypes, return_types
from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, op, source
from tensorgl.ops.arithmetic import lerp
from tensorgl.ops.casting import cast
from tensorgl.ops.comparison import isnan, ne, where
from tensorgl.ops.dims import along, numpy_names, pick, squeezed
from tensorgl.ops.extremum import chosen
from tensorgl.ops.movement import expand, permute, reshape, wrap_dim
from tensorgl.ops.reduction import sum
from tensorgl.ops.sorting import argsort, reject_bool, sort
from tensorgl.primitives.reduction import check_not_empty

__all__ = ["kthvalue", "median", "mode", "nanmedian", "nanquantile", "quantile"]

Tensor = Any


def _kth_index(name: str, input: Tensor, k: int, dim: int) -> Tensor:
    """Where the k-th least element (from 0) along `dim` is, with the dim kept."""
    reject_bool(name, input, NotImplementedError)
    check_not_empty(name, input.shape, (wrap_dim(dim, input.ndim),))
    return along(p.argkth, input, dim, k)


@op
@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.kthvalue:
    """`(values, indices)` of the k-th least element (from 1) along `dim`; NaN is the greatest."""
    d = wrap_dim(dim, input.ndim)
    check_not_empty("kthvalue", input.shape, (d,))
    if not 1 <= k <= (input.shape[d] if input.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}: {k}")
    index = _kth_index("kthvalue", input, k - 1, dim)
    values = pick(input, dim, index)
    return return_types.kthvalue(squeezed(values, dim, keepdim), squeezed(index, dim, keepdim))


@op
@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median, the lower one of two; NaN if there is one.

    `median(input)` is that of all elements, and equal ones share the gradient;
    `median(input, dim, keepdim)` is `(values, indices)` along a dim.
    """
    if dim is None:
        return _median_of_all(input, median)
    n = input.shape[wrap_dim(dim, input.ndim)] if input.ndim else 1
    index = _kth_index("median", input, (n - 1) // 2, dim)
    if input.dtype.is_floating_point:
        nan = isnan(input)
        first = along(p.argmax, nan, dim, True)
        index = where(pick(nan, dim, first), first, index)
    values = pick(input, dim, index)
    return return_types.median(squeezed(values, dim, keepdim), squeezed(index, dim, keepdim))


@op
@numpy_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of the elements that are not NaN, in the two forms of `median`."""
    if dim is None:
        return _median_of_all(input, nanmedian)
    if not input.dtype.is_floating_point:
        return return_types.nanmedian(*median(input, dim, keepdim))
    check_not_empty("nanmedian", input.shape, (wrap_dim(dim, input.ndim),))
    present = sum(input == input, dim, keepdim=True)
    last = where(present > 0, present - 1, 0)
    index = pick(argsort(input, dim), dim, call2(p.floor_divide, last, 2))
    values = pick(input, dim, index)
    return return_types.nanmedian(squeezed(values, dim, keepdim), squeezed(index, dim, keepdim))


def _median_of_all(input: Tensor, along_dim: Any) -> Tensor:
    if input._aval.size == 0 and input.dtype.is_floating_point:
        return source(p.full, (float("nan"),), ((), input.dtype), input.device)
    return chosen(input, lambda x: along_dim(reshape(x, (-1,)), 0)[0])


@op
@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.mode:
    """`(values, indices)` of the most frequent element along `dim`: the least of equally frequent ones.

    The index is that of its last occurrence.
    """
    d = wrap_dim(dim, input.ndim)
    check_not_empty("mode", input.shape, (d,))
    x = input if input.ndim else reshape(input, (1,))
    order = argsort(x, d)
    value = pick(x, d, order)
    n = x.shape[d]
    # How many equals lie before each element of the sorted values: its distance from their first.
    place = reshape(
        source(p.arange, (0, 1), (n, dtypes.int64), x.device),
        tuple(n if k == d else 1 for k in range(x.ndim)),
    )
    before = pick(value, d, expand(where(place > 0, place - 1, 0), x.shape))
    starts = where(ne(value, before), place, 0)
    first = pick(starts, d, along(p.cumargmax, starts, d))
    index = pick(order, d, along(p.argmax, place - first, d, True))
    if not input.ndim:
        index = reshape(index, ())
    values = pick(input, dim, index)
    return return_types.mode(squeezed(values, dim, keepdim), squeezed(index, dim, keepdim))


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@op
@numpy_names
def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The q-th quantiles along `dim` (default: of all elements); NaN where there is one.

    Args:
        input: a float32 or float64 tensor.
        q: in [0, 1]; a 1-D tensor gives the result a leading dim of its size.
        dim: one dim.
        keepdim: keep the reduced dim, with size 1.
        interpolation: between two elements "linear", "lower", "higher", "midpoint" or "nearest".

    Raises:
        RuntimeError: no float32 or float64 tensor, an empty one, or q out of range.
        ValueError: there is no such interpolation.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@op
@numpy_names
def nanquantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The quantiles of the elements that are not NaN; arguments as for `quantile`."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


def _quantile(
    name: str,
    input: Tensor,
    q: Any,
    dim: int | None,
    keepdim: bool,
    interpolation: str,
    ignore_nan: bool,
) -> Tensor:
    q = _checked_q(name, input, q, interpolation)
    shape = tuple(input.shape)
    if dim is None:
        x = reshape(input, (-1,))
        kept = (1,) * len(shape) if keepdim else ()
    else:
        d = wrap_dim(dim, input.ndim)
        x = permute(input, (*(k for k in range(len(shape)) if k != d), d)) if shape else input
        kept = (*shape[:d], *((1,) if keepdim and shape else ()), *shape[d + 1 :])
    x = reshape(x, (*x.shape, 1)[: max(x.ndim, 1)])
    n = x.shape[-1]
    x = sort(x, -1)[0]
    present = sum(x == x, -1, keepdim=True)
    last = present - 1 if ignore_nan else n - 1
    rank = reshape(q, (-1,)) * last
    rank = where(rank < 0, 0, rank)  # of a row of NaN
    if not ignore_nan:
        rank = where(present < n, n - 1, rank)  # NaN has been sorted to the end
    rank = expand(rank, (*x.shape[:-1], q._aval.size))
    values = _at_rank(x, rank, interpolation)
    values = permute(values, (x.ndim - 1, *range(x.ndim - 1)))
    return reshape(values, (*q.shape, *kept))


def _checked_q(name: str, input: Tensor, q: Any, interpolation: str) -> Tensor:
    """`q` as a tensor of the input's dtype."""
    kind = input.dtype
    if kind not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if input._aval.size == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got "
            f"{interpolation}"
        )
    if isinstance(q, int | float):
        values = [q]
        q = source(p.full, (q,), ((), kind), input.device)
    else:
        if q.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, given {tuple(q.shape)}")
        if q.dtype is not kind:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        values = dispatch.to_host(q).reshape(-1)
    if not min((bool(0 <= v <= 1) for v in values), default=True):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1], given {q}")
    return q


def _at_rank(x: Tensor, rank: Tensor, interpolation: str) -> Tensor:
    """Elements of sorted rows at ranks that may lie between two."""
    if interpolation == "nearest":
        rank = call1(p.round, rank)
    floor, ceil = call1(p.floor, rank), call1(p.ceil, rank)
    if interpolation in ("lower", "nearest"):
        return pick(x, -1, cast(floor, dtypes.int64))
    high = pick(x, -1, cast(ceil, dtypes.int64))
    if interpolation == "higher":
        return high
    low = pick(x, -1, cast(floor, dtypes.int64))
    return lerp(low, high, 0.5 if interpolation == "midpoint" else rank - floor)
