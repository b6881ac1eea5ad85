"""Reductions of what an index sends to one place: `scatter_reduce`, `index_reduce`."""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import calln, defvjp, op, source
from tensorgl.ops.gathering import as_vector, gather, masked_fill, scatter, scatter_add, scattered
from tensorgl.ops.movement import expand, reshape
from tensorgl.ops.shapes import wrap_dim
from tensorgl.ops.slicing import zeros

__all__ = ["index_reduce", "scatter_reduce"]

Tensor = Any


@op
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """A copy in which what `src` sends to a place is reduced there.

    `reduce` is "sum", "prod", "mean", "amax" or "amin"; `include_self` says whether the elements of
    `input` that something is sent to take part. Equal extremes share the gradient evenly.
    """
    if reduce not in _NEUTRAL:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    x = input if include_self else scatter(input, dim, index, _neutral(reduce, input))
    if reduce == "sum":
        return scatter_add(x, dim, index, src)
    if reduce != "mean":
        return scattered(p.scatter_reduce, x, dim, index, src, reduce)
    ones = expand(source(p.full, (1,), ((), dtypes.int64), src._aval.device), src._aval.shape)
    start = zeros(ones, tuple(input._aval.shape)) + int(include_self)
    count = scatter_add(start, dim, index, ones).clamp(min=1)
    total = scatter_add(x, dim, index, src)
    if total.is_floating_point():
        return total / count
    return (total // count).to(input._aval.dtype)


_NEUTRAL = {"sum": 0, "mean": 0, "prod": 1, "amax": -1, "amin": 1}


def _neutral(reduce: str, like: Tensor) -> Any:
    """What changes nothing in a reduction: for extremes the other end of the dtype."""
    kind = like._aval.dtype
    sign = _NEUTRAL[reduce]
    if reduce not in ("amax", "amin"):
        return sign
    if kind.is_floating_point:
        return sign * float("inf")
    if kind is dtypes.bool:
        return sign > 0
    return dtypes.iinfo(kind).max if sign > 0 else dtypes.iinfo(kind).min


def _reduce_input(
    g: Tensor, input: Tensor, index: Tensor, source: Tensor, out: Tensor, dim: int, reduce: str
) -> Tensor:
    if reduce == "prod":
        others = masked_fill(input, input == 0, 1)
        return g * scatter_reduce(others, dim, index, source, "prod") / others
    share = _share(g, input, index, source, out, dim)
    return share * (input == out)


def _share(
    g: Tensor, input: Tensor, index: Tensor, source: Tensor, out: Tensor, dim: int
) -> Tensor:
    """The gradient of an extreme over the number of elements that are equal to it."""
    hits = (source == gather(out, dim, index)).to(g._aval.dtype)
    return g / scatter_add((input == out).to(g._aval.dtype), dim, index, hits)


def _reduce_source(
    g: Tensor, input: Tensor, index: Tensor, source: Tensor, out: Tensor, dim: int, reduce: str
) -> Tensor:
    if reduce != "prod":
        share = _share(g, input, index, source, out, dim)
        return gather(share, dim, index) * (source == gather(out, dim, index))
    zero = source == 0
    number = scatter_add(zeros(g, tuple(input._aval.shape)), dim, index, zero.to(g._aval.dtype))
    alone = zero & (gather(number, dim, index) == 1)  # the only zero sent to its place
    others = scatter_reduce(input, dim, index, masked_fill(source, alone, 1), "prod")
    return calln(
        p.where,
        (
            alone,
            gather(g * others, dim, index),
            gather(g * out, dim, index) / masked_fill(source, zero, 1),
        ),
    )


defvjp(p.scatter_reduce, input=_reduce_input, source=_reduce_source)


@op
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """`scatter_reduce` of whole slices along `dim`: "prod", "mean", "amax" or "amin"."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    k, places = wrap_dim(dim, input.ndim), as_vector("index_reduce", index)
    along = tuple(-1 if d == k else 1 for d in range(source.ndim))
    return scatter_reduce(
        input,
        k,
        expand(reshape(places, along), source._aval.shape),
        source,
        reduce,
        include_self=include_self,
    )
