"""Sorting, the top k, places in what is sorted, and whether a value is there."""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes, return_types
from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call2, op, source
from tensorgl.ops.bitwise import logical_not
from tensorgl.ops.casting import cast
from tensorgl.ops.comparison import eq
from tensorgl.ops.dims import along, numpy_names, pick
from tensorgl.ops.movement import reshape, wrap_dim
from tensorgl.ops.reduction import any
from tensorgl.ops.rounding import clamp_max
from tensorgl.primitives.core import promote

__all__ = [
    "argsort",
    "bucketize",
    "isin",
    "msort",
    "searchsorted",
    "sort",
    "topk",
]

Tensor = Any


@op
@numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> return_types.sort:
    """`(values, indices)` in order along `dim`; NaN counts as the greatest. Always stable."""
    index = along(p.argsort, input, dim, descending)
    return return_types.sort(pick(input, dim, index), index)


@op
@numpy_names
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """The indices that sort along `dim`; NaN counts as the greatest. Always stable."""
    return along(p.argsort, input, dim, descending)


@op
def msort(input: Tensor) -> Tensor:
    """The values in ascending order along the first dim."""
    return sort(input, 0)[0]


@op
@numpy_names
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> return_types.topk:
    """`(values, indices)` of the k greatest (or least) elements along `dim`, in order.

    Raises:
        RuntimeError: k is not in [0, size], or the tensor is bool.
    """
    reject_bool("topk", input, RuntimeError)
    n = input.shape[wrap_dim(dim, input.ndim)] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(
            f"topk(): selected index k out of range: expected 0 <= k <= {n}, given {k}"
        )
    index = along(p.argtopk, input, dim, k, largest)
    return return_types.topk(pick(input, dim, index), index)


def reject_bool(name: str, input: Tensor, error: type[Exception]) -> None:
    if input.dtype is dtypes.bool:
        raise error(f"{name}(): not implemented for 'Bool'; cast it with .int()")


@op
def searchsorted(
    sorted_sequence: Tensor,
    input: float | Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where to insert values so that the last dim stays sorted.

    Args:
        sorted_sequence: 1-D, or of input's shape but for the last dim.
        input: a number or a tensor of the same dtype.
        out_int32: give int32 instead of int64.
        right: behind equal elements instead of before them.
        side: "right" or "left", another way to say the same.
        sorter: indices that sort `sorted_sequence` along its last dim.

    Raises:
        RuntimeError: shapes, dtypes or `side` and `right` do not agree.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(
            f"torch.searchsorted(): side can only be 'left' or 'right' and must agree with right, got "
            f"side={side!r}, right={right}"
        )
    values: Any = input
    if isinstance(input, int | float):
        if isinstance(input, float) and not sorted_sequence.dtype.is_floating_point:
            sorted_sequence = cast(sorted_sequence, dtypes.get_default_dtype())
        place, kind = sorted_sequence.device, sorted_sequence.dtype
        values = source(p.full, (input,), ((), kind), place)
    if values.dtype is not sorted_sequence.dtype:
        raise RuntimeError(
            "torch.searchsorted(): input value tensor and boundary tensor should have same dtype, but "
            f"got {values.dtype.title} and {sorted_sequence.dtype.title}"
        )
    sequence_shape, shape = tuple(sorted_sequence.shape), tuple(values.shape)
    if len(sequence_shape) != 1 and (
        not sequence_shape or len(shape) != len(sequence_shape) or sequence_shape[:-1] != shape[:-1]
    ):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
            f"of boundaries tensor and input value tensor must match, but we got {sequence_shape} and "
            f"{shape}"
        )
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape or sorter.dtype is not dtypes.int64:
            raise RuntimeError(
                "torch.searchsorted(): sorter must be an int64 tensor of the boundary's shape, got "
                f"{sorter.dtype.name}{list(sorter.shape)}"
            )
        sorted_sequence = pick(sorted_sequence, -1, sorter)
    out = call2(p.searchsorted, sorted_sequence, values, (right or side == "right",))
    return cast(out, dtypes.int32) if out_int32 else out


@op
def bucketize(
    input: float | Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """In which bucket each value lies, between sorted 1-D boundaries: `searchsorted` the other way.

    Raises:
        RuntimeError: boundaries are not 1-D, or dtypes differ.
    """
    if boundaries.ndim != 1:
        raise RuntimeError(
            f"torch.bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@op
def isin(
    elements: float | Tensor,
    test_elements: float | Tensor,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Whether each element is one of `test_elements`; NaN never is.

    Args:
        elements: a tensor or a number.
        test_elements: a tensor or a number; one of the two must be a tensor.
        assume_unique: accepted for PyTorch's sake; it changes no result.
        invert: whether it is none of them instead.

    Raises:
        TypeError: both are numbers.
        RuntimeError: a tensor is bool.
    """
    for x in (elements, test_elements):
        if isinstance(x, TensorBase) and x._aval.dtype is dtypes.bool:
            raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    if isinstance(elements, TensorBase) and isinstance(test_elements, TensorBase):
        found = _found(elements, test_elements)
    elif isinstance(elements, TensorBase):
        found = eq(elements, test_elements)
    elif isinstance(test_elements, TensorBase):
        found = any(eq(test_elements, elements))
    else:
        raise TypeError(
            "isin(): expected a Tensor as elements or as test_elements, given "
            f"{type(elements).__name__} and {type(test_elements).__name__}"
        )
    return logical_not(found) if invert else found


def _found(values: Tensor, among: Tensor) -> Tensor:
    """Whether the value that a binary search ends at is the one that was searched for."""
    if not among.numel():
        return source(p.full, (False,), (tuple(values.shape), dtypes.bool), values.device)
    kind = promote((values._aval, among._aval))
    values, known = cast(values, kind), sort(reshape(cast(among, kind), (-1,)))[0]
    place = clamp_max(call2(p.searchsorted, known, values, (False,)), known.numel() - 1)
    return eq(call2(p.take, known, place, (0, True)), values)
