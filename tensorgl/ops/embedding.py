"""Rows of a table by index: embedding, bags of them, and one-hot vectors."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from tensorgl import primitives as p
from tensorgl.autograd.modes import no_grad
from tensorgl.dispatch import (
    call2,
    calln,
    differentiable,
    from_host,
    op,
    to_host,
)
from tensorgl.dtypes import bool as bool_
from tensorgl.dtypes import int32, int64
from tensorgl.inplace import inplace
from tensorgl.ops.arithmetic import maximum
from tensorgl.ops.comparison import where
from tensorgl.ops.movement import unsqueeze
from tensorgl.ops.norm import norm
from tensorgl.ops.reduction import sum
from tensorgl.ops.support import positions

__all__ = ["embedding", "embedding_bag", "one_hot"]

Tensor = Any


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """x[index]: the dims of the index, then those of x after the first."""
    return call2(p.take, x, index, (0, False))


def _added(size: Any, index: Tensor, rows: Tensor) -> Tensor:
    """Zeros of `size` with the rows added at the indices."""
    return calln(p.put_add, (rows.new_zeros(size), index, rows), (0, False))


def _embedding_backward(
    g: Tensor, input: Tensor, shape: Any, padding_idx: int | None, by_frequency: bool
) -> Tensor:
    if by_frequency:
        count = _added((shape[0],), input, g.new_ones(input.shape))
        g = g / unsqueeze(_rows(count, input), -1)
    if padding_idx is not None:
        g = where(unsqueeze(input == padding_idx, -1), 0, g)
    return _added(shape, input, g)


@differentiable(
    weight=lambda g, input, shape, padding_idx, by_frequency: _embedding_backward(
        g, input, shape, padding_idx, by_frequency
    )
)
def _embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None, by_frequency: bool
) -> Tensor:
    return _rows(weight, input)


def _check_table(input: Tensor, weight: Tensor, padding_idx: int | None) -> int | None:
    """Check the operands; the padding index counted from the front."""
    if input.dtype not in (int64, int32):
        raise RuntimeError(
            f"embedding: expected indices of dtype int64 or int32, given {input.dtype.name}; cast "
            "with .long()"
        )
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, given {weight.ndim}-D")
    n = weight.shape[0]
    if padding_idx is None:
        return None
    if not -n <= padding_idx < n:
        raise AssertionError(
            f"Padding_idx must be within num_embeddings: expected -{n} to {n - 1}, given {padding_idx}"
        )
    return padding_idx % n


def _renormalise(input: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale, in place, those rows that are looked up and whose norm is above `max_norm`."""
    with no_grad():
        used = _added(weight.shape[:1], input, weight.new_ones(input.shape)) > 0
        size = norm(weight, norm_type, 1)
        factor = where(used.logical_and(size > max_norm), max_norm / (size + 1e-7), 1)
        inplace(weight, weight * unsqueeze(factor, 1))


@op
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` at the indices in `input`.

    Args:
        input: int64 or int32, of any shape (*).
        weight: (num_embeddings, embedding_dim).
        padding_idx: the row that gets no gradient.
        max_norm: first scale rows that are looked up, in place, to at most this norm.
        norm_type: of which p-norm.
        scale_grad_by_freq: divide gradients by how often their index occurs in `input`.
        sparse: must be false; gradients are dense.

    Returns:
        (*, embedding_dim).

    Raises:
        IndexError: an index is out of range.
    """
    _check_dense(sparse)
    padding_idx = _check_table(input, weight, padding_idx)
    if max_norm is not None:
        _renormalise(input, weight, max_norm, norm_type)
    return _embedding(input, weight, padding_idx, scale_grad_by_freq)


def _check_dense(sparse: bool) -> None:
    if sparse:
        raise NotImplementedError("embedding: sparse gradients are not supported; use sparse=False")


@op
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of `weight` at each bag of indices; 0 for an empty bag.

    Args:
        input: (B, L), a bag a row; or (N,), cut into bags at `offsets`.
        weight: (num_embeddings, embedding_dim).
        offsets: (B,), where each bag starts; the first is 0.
        max_norm: see `embedding`.
        norm_type: see `embedding`.
        scale_grad_by_freq: see `embedding`.
        mode: "sum", "mean" or "max".
        sparse: must be false.
        per_sample_weights: of input's shape, factors of the rows in a sum.
        include_last_offset: `offsets` has one more element, where the last bag ends.
        padding_idx: indices that are left out of every bag.

    Returns:
        (B, embedding_dim).

    Raises:
        ValueError: the shapes of `input`, `offsets` and `per_sample_weights` or the mode do not fit.
        NotImplementedError: weighted samples in another mode than "sum".
    """
    _check_bags(input, offsets, mode, per_sample_weights)
    if mode == "max" and scale_grad_by_freq:
        raise ValueError(
            "embedding_bag: max mode does not support scaling the gradient by the frequency"
        )
    padding_idx = _check_table(input, weight, padding_idx)
    rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    keep = None if padding_idx is None else input != padding_idx
    if per_sample_weights is not None:
        rows = rows * unsqueeze(per_sample_weights, -1)
    if offsets is not None:
        place, inside = _bags(offsets, input, include_last_offset)
        rows = _rows(rows, place)
        keep = inside if keep is None else inside.logical_and(_rows(keep, place))
    return _combined(rows, keep if keep is None else unsqueeze(keep, -1), mode)


def _check_bags(
    input: Tensor, offsets: Tensor | None, mode: str, per_sample_weights: Tensor | None
) -> None:
    if input.ndim not in (1, 2):
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if (offsets is None) != (input.ndim == 2):
        raise ValueError(
            "embedding_bag: a 2D input has a bag in each row and takes no offsets; a 1D input needs "
            f"them. Given a {input.ndim}D input and offsets={'None' if offsets is None else 'Tensor'}"
        )
    if offsets is not None and offsets.ndim != 1:
        raise ValueError(f"offsets has to be a 1D Tensor, given {offsets.ndim}D")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, given {mode!r}")
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights is only supported for mode='sum' "
                f"(got mode={mode!r})"
            )
        if per_sample_weights.shape != input.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not "
                f"None, then it must have the same shape as the input ({list(input.shape)})"
            )


def _bags(offsets: Tensor, input: Tensor, include_last: bool) -> tuple[Tensor, Tensor]:
    """Where in `input` each element of each bag is, (B, longest), and which of them exist."""
    size = input.numel()
    bounds = np.append(to_host(offsets), [] if include_last else [size]).astype(np.int64)
    starts, ends = bounds[:-1], bounds[1:]
    if bounds[0] != 0 or (starts > size).any():
        raise RuntimeError(
            "embedding_bag: offsets must start from 0 and not be greater than input's length "
            f"{size}, given {starts.tolist()}"
        )
    steps = np.arange(max((ends - starts).max(initial=0), 0))
    places = starts[:, None] + steps
    inside = places < ends[:, None]
    places = np.where(inside, places, 0)
    return from_host(places, int64, input.device), from_host(inside, bool_, input.device)


def _combined(rows: Tensor, keep: Tensor | None, mode: str) -> Tensor:
    """Reduce (B, L, D) over L, leaving out what `keep`, (B, L, 1), does not name."""
    length = rows.shape[1]
    if mode == "max" and length:
        if keep is None:
            return rows.amax(1)
        return where(sum(keep, 1) > 0, where(keep, rows, -inf).amax(1), 0)
    total = sum(rows if keep is None else where(keep, rows, 0), 1)
    if mode != "mean":
        return total
    return total / maximum(sum(keep, 1), 1) if keep is not None else total / max(length, 1)


@op
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(*) of int64 to (*, num_classes) of int64, 1 at each class and 0 elsewhere.

    Args:
        tensor: class indices.
        num_classes: default: the largest class plus one.

    Raises:
        RuntimeError: a value is negative or not below `num_classes`, or the dtype is not int64.
    """
    if tensor.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    values = to_host(tensor)
    if values.size == 0 and num_classes < 1:
        raise RuntimeError("one_hot: Can not infer total number of classes from empty tensor.")
    if values.min(initial=0) < 0:
        raise RuntimeError("one_hot: Class values must be non-negative.")
    top = int(values.max(initial=0))
    if num_classes == -1:
        num_classes = top + 1
    elif top >= num_classes:
        raise RuntimeError(
            f"one_hot: Class values must be smaller than num_classes, given {top} and {num_classes}"
        )
    return (unsqueeze(tensor, -1) == positions(num_classes, tensor.device)).to(int64)
