"""Rows of a table by index: embedding, bags of them, and one-hot vectors."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.engine import no_grad
from tensorgl.dispatch import call1, call2, calln, differentiable, inplace, op
from tensorgl.dtypes import int32, int64
from tensorgl.ops.arithmetic import maximum, minimum
from tensorgl.ops.comparison import where
from tensorgl.ops.movement import reshape, unsqueeze
from tensorgl.ops.reduction import sum
from tensorgl.ops.support import positions

__all__ = ["embedding", "embedding_bag", "one_hot"]

Tensor = Any


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return like.detach().new_zeros(shape)


def _embedding_backward(
    g: Tensor, input: Tensor, shape: Any, padding_idx: int | None, by_frequency: bool
) -> Tensor:
    """The gradient rows added up, each to the row of the table that it came from."""
    index = reshape(input, (input.numel(),))
    rows = reshape(g, (index.numel(), shape[1]))
    if by_frequency:
        ones = _zeros(rows, index.numel()) + 1
        count = calln(p.put_add, (_zeros(rows, shape[0]), index, ones), (0,))
        rows = rows / unsqueeze(call2(p.take, count, index, (0,)), 1)
    if padding_idx is not None:
        rows = where(unsqueeze(index == padding_idx, 1), 0, rows)
    return calln(p.put_add, (_zeros(rows, *shape), index, rows), (0,))


@differentiable(
    weight=lambda g, input, shape, padding_idx, by_frequency: _embedding_backward(
        g, input, shape, padding_idx, by_frequency
    )
)
def _embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None, by_frequency: bool
) -> Tensor:
    rows = call2(p.take, weight, reshape(input, (input.numel(),)), (0,))
    return call1(p.reshape, rows, ((*input.shape, weight.shape[1]),))


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
        index = reshape(input, (input.numel(),))
        one = _zeros(weight, index.numel()) + 1
        used = calln(p.put, (_zeros(weight, weight.shape[0]), index, one), (0,)) > 0
        norm = weight.norm(norm_type, 1)
        factor = where(used.logical_and(norm > max_norm), max_norm / (norm + 1e-7), 1)
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
