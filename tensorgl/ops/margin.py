"""Losses with a margin, and the soft ones that round it off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgl.dispatch import op
from tensorgl.ops.activation import logsigmoid
from tensorgl.ops.arithmetic import minimum
from tensorgl.ops.comparison import where
from tensorgl.ops.distance import pairwise_distance
from tensorgl.ops.gathering import gather, index_select
from tensorgl.ops.movement import reshape, unsqueeze
from tensorgl.ops.rectifier import relu
from tensorgl.ops.reduction import mean, sum
from tensorgl.ops.rounding import clamp_min
from tensorgl.ops.support import positions, reduced

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

Tensor = Any


@op
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """`log(1 + exp(-target * input))` for targets of 1 and -1, finite for inputs of any size."""
    return reduced(-logsigmoid(input * target), reduction)


@op
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """The binary cross entropy with logits, averaged over classes (the last dim)."""
    loss = (1 - target) * input - logsigmoid(input)
    return reduced(mean(loss if weight is None else loss * weight, -1), reduction)


@op
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """`input` where the target is 1, `max(0, margin - input)` where it is -1."""
    far = where(target != 1, clamp_min(margin - input, 0), 0)
    return reduced(far + where(target != -1, input, 0), reduction)


@op
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, *, reduction: str = "mean"
) -> Tensor:
    """`max(0, margin - target * (input1 - input2))`: input1 above input2 where the target is 1.

    Raises:
        RuntimeError: the operands differ in their number of dims.
    """
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss: All input tensors should have same dimension but got sizes: input1: "
            f"{input1.shape}, input2: {input2.shape}, target: {target.shape}"
        )
    return reduced(clamp_min(margin - target * (input1 - input2), 0), reduction)


@op
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, *, reduction: str = "mean"
) -> Tensor:
    """`1 - cos` where the target is 1, `max(0, cos - margin)` where it is -1.

    Args:
        input1: (N, D) or (D,).
        input2: of the same shape.
        target: (N,) or ().
        margin: the cosine up to which unlike vectors cost nothing.
        reduction: "mean", "sum" or "none".
    """
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: a {target.ndim}D target tensor expects {target.ndim + 1}D input "
            f"tensors, but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}"
        )
    tiny = 1e-12
    power = (sum(input1 * input1, -1) + tiny) * (sum(input2 * input2, -1) + tiny)
    cosine = sum(input1 * input2, -1) / power.sqrt()
    loss = where(target == 1, 1 - cosine, 0) + where(target == -1, clamp_min(cosine - margin, 0), 0)
    return reduced(loss, reduction)


@op
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, margin + d(anchor, positive) - d(anchor, negative))` with d the p-norm distance.

    Args:
        anchor: (N, D) or (D,).
        positive: what should be near, of the same shape.
        negative: what should be far.
        margin: how much farther, at least.
        p: of which p-norm.
        eps: added to each difference.
        swap: take d(positive, negative) where it is smaller than d(anchor, negative).
        reduction: "mean", "sum" or "none".
    """
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda a, b: pairwise_distance(a, b, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


@op
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance; default: `pairwise_distance`."""
    if margin <= 0:
        raise ValueError(f"triplet margin loss: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(clamp_min(margin + near - far, 0), reduction)


@op
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """The mean over other classes of `max(0, margin - input[target] + input[class]) ** p`.

    Args:
        input: (C,) or (N, C).
        target: class indices, () or (N,).
        p: 1 or 2.
        margin: how far the target should be above the others.
        weight: (C,), the factor of each target class.
        reduction: "mean", "sum" or "none".
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, given {p}")
    n, c = (1, *input.shape)[-2:]
    if input.ndim not in (1, 2) or target.ndim > 1 or target.numel() != n:
        raise RuntimeError(
            "multi_margin_loss: expected an input of (C,) or (N, C) and a target index for each row, "
            f"given {list(input.shape)} and {list(target.shape)}"
        )
    if weight is not None and tuple(weight.shape) != (c,):
        raise RuntimeError(
            f"multi_margin_loss: inconsistent weight size, expected {c} but got {list(weight.shape)}"
        )
    x, y = reshape(input, (n, c)), reshape(target, (n, 1))
    excess = relu(margin - gather(x, 1, y) + x)
    if p == 2:
        excess = excess * excess
    if weight is not None:
        excess = excess * unsqueeze(index_select(weight, 0, reshape(y, (n,))), 1)
    loss = sum(where(positions(c, x.device) == y, 0, excess), 1) / c
    return reduced(reshape(loss, tuple(target.shape)), reduction)


@op
def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """The sum over target classes j and others i of `max(0, 1 - input[j] + input[i]) / C`.

    Args:
        input: (C,) or (N, C).
        target: of the same shape: the indices of the target classes, ended by -1.
        reduction: "mean", "sum" or "none".
    """
    if input.ndim not in (1, 2) or target.shape != input.shape:
        raise RuntimeError(
            "multilabel_margin_loss: expected an input of (C,) or (N, C) and a target of its shape, "
            f"given {list(input.shape)} and {list(target.shape)}"
        )
    n, c = (1, *input.shape)[-2:]
    x, y = reshape(input, (n, c)), reshape(target, (n, c))
    listed = (y < 0).cumsum(1) == 0
    index = where(listed, y, 0)
    hits = (unsqueeze(index, 2) == positions(c, x.device)).logical_and(unsqueeze(listed, 2))
    other = unsqueeze(sum(hits, 1) == 0, 1)
    wanted = unsqueeze(gather(x, 1, index), 2)
    excess = relu(1 - wanted + unsqueeze(x, 1))
    loss = sum(where(other.logical_and(unsqueeze(listed, 2)), excess, 0), (1, 2)) / c
    return reduced(reshape(loss, tuple(input.shape[:-1])), reduction)
