"""Losses of classes: cross entropy of logits, and the negative log-likelihood of log-probabilities."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call2, calln, differentiable, op
from tensorgl.dtypes import int64, uint8
from tensorgl.ops.comparison import where
from tensorgl.ops.linear import linear
from tensorgl.ops.movement import reshape, unsqueeze
from tensorgl.ops.reduction import sum
from tensorgl.ops.softmax import log_softmax
from tensorgl.ops.support import computes_in_single, reduced

__all__ = ["cross_entropy", "linear_cross_entropy", "nll_loss"]

Tensor = Any


def _classes_second(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Input as (N, C, *) and target as (N, *), checked."""
    if target.dtype not in (int64, uint8):
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype.title}"
        )
    if input.ndim == 1:
        input, target = unsqueeze(input, 0), reshape(target, (target.numel(),))
    n, expected = input.shape[0], (*input.shape[:1], *input.shape[2:])
    if input.ndim < 2 or target.ndim != input.ndim - 1:
        raise RuntimeError(
            "expected a target of one dim less than the input, multi-target not supported; given "
            f"{list(input.shape)} and {list(target.shape)}"
        )
    if target.shape[0] != n:
        raise ValueError(
            f"Expected input batch_size ({n}) to match target batch_size ({target.shape[0]})."
        )
    if tuple(target.shape) != expected:
        raise RuntimeError(f"Expected target size {list(expected)}, got {list(target.shape)}")
    return input, target if target.dtype is int64 else target.to(int64)


def _check_weight(weight: Tensor | None, classes: int) -> None:
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got "
            f"weight tensor of shape: {list(weight.shape)}"
        )


def _chosen(
    target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """For each target, (N, 1, *): whether it counts, its index (0 if not), and its weight."""
    target = unsqueeze(target, 1)
    kept = target != ignore_index
    index = where(kept, target, 0)
    if weight is None:
        return kept, index, None
    return kept, index, where(kept, call2(p.take, weight.detach(), index, (0, False)), 0)


def _picked(logp: Tensor, index: Tensor) -> Tensor:
    """The log-probability of each target's class."""
    try:
        return call2(p.gather, logp, index, (1,))
    except RuntimeError as error:
        raise IndexError(f"cross_entropy: a target is no class: {error}") from None


def _loss(
    logp: Tensor, kept: Tensor, index: Tensor, factor: Tensor | None, reduction: str
) -> Tensor:
    """The loss, given the log-probabilities of all classes."""
    picked = _picked(logp, index)
    if factor is not None:
        picked = picked * factor
    picked = where(kept, picked, 0)  # what is ignored may be infinite
    if reduction == "mean":
        return -(sum(picked) / sum(kept if factor is None else factor))
    return reduced(reshape(-picked, _without_classes(picked)), reduction)


def _without_classes(x: Tensor) -> tuple[int, ...]:
    return (*x.shape[:1], *x.shape[2:])


def _rows(g: Tensor, kept: Tensor, factor: Tensor | None, reduction: str) -> Tensor:
    """The gradient of each target's part in the loss, (N, 1, *)."""
    if reduction == "mean":
        g = g / sum(kept if factor is None else factor)
    elif reduction == "none":
        g = unsqueeze(g, 1)
    # Nothing comes of what is ignored, even if that is everything and the mean is NaN.
    return where(kept, g if factor is None else g * factor, 0)


def _nll_backward(
    g: Tensor, kept: Tensor, index: Tensor, factor: Tensor | None, reduction: str, shape: Any
) -> Tensor:
    rows = _rows(g, kept, factor, reduction)
    return calln(p.scatter, (g.new_zeros(shape), index, -rows), (1,))


@differentiable(input=_nll_backward)
def _nll(
    input: Tensor, kept: Tensor, index: Tensor, factor: Tensor | None, reduction: str
) -> Tensor:
    return _loss(input, kept, index, factor, reduction)


@op
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of each target.

    Args:
        input: log-probabilities, (C,) or (N, C, *).
        target: class indices, () or (N, *).
        weight: (C,), the factor of each class; the mean is the weighted one.
        ignore_index: targets of this value do not count.
        reduction: "mean", "sum" or "none".

    Raises:
        IndexError: a target is not in [0, C).
        ValueError: the batch sizes differ.
        RuntimeError: other sizes differ, or the target is not of int64 or uint8.
    """
    shape = tuple(target.shape)
    x, classes = _classes_second(input, target)
    _check_weight(weight, x.shape[1])
    loss = _nll(x, *_chosen(classes, weight, ignore_index), reduction)
    return reshape(loss, shape) if input.ndim == 1 and reduction == "none" else loss


def _cross_entropy_backward(
    g: Any, out: Any, kept: Tensor, index: Tensor, factor: Tensor | None, reduction: str
) -> Tensor:
    """(softmax - onehot) times the gradient of each row."""
    g_loss, g_logp = g
    probability = out[1].exp()
    total: Any = 0
    if g_loss is not None:
        rows = _rows(g_loss, kept, factor, reduction)
        total = calln(p.scatter_add, (probability * rows, index, -rows), (1,))
    if g_logp is not None:
        total = total + g_logp - probability * sum(g_logp, 1, True)
    return total


@differentiable(input=_cross_entropy_backward)
def _cross_entropy(
    input: Tensor, kept: Tensor, index: Tensor, factor: Tensor | None, reduction: str
) -> tuple[Tensor, Tensor]:
    """The loss, and the log-probabilities for its gradient."""
    logp = log_softmax(input, 1)
    return _loss(logp, kept, index, factor, reduction), logp


@op
@computes_in_single
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`nll_loss(log_softmax(input, 1), target)`, or the cross entropy with target probabilities.

    Args:
        input: logits, (C,) or (N, C, *).
        target: class indices, () or (N, *); or probabilities, of input's shape.
        weight: (C,), the factor of each class; for indices the mean is the weighted one.
        ignore_index: targets of this value do not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: the part of the target that is spread over all classes evenly.

    Raises:
        IndexError: a target is not in [0, C).
        ValueError: the batch sizes differ.
        RuntimeError: other sizes differ, or the target's dtype does not fit.
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target.shape == input.shape:
        return _soft(input, target, weight, ignore_index, reduction, label_smoothing)
    shape = tuple(target.shape)
    x, classes = _classes_second(input, target)
    _check_weight(weight, x.shape[1])
    kept, index, factor = _chosen(classes, weight, ignore_index)
    if label_smoothing == 0:
        loss = _cross_entropy(x, kept, index, factor, reduction)[0]
    else:
        logp = log_softmax(x, 1)
        spread = sum(logp if weight is None else logp * _by_class(weight, x.ndim), 1, True)
        spread = reshape(where(kept, spread, 0), tuple(classes.shape))
        loss = _nll(logp, kept, index, factor, "none") * (1 - label_smoothing)
        loss = loss - spread * (label_smoothing / x.shape[1])
        if reduction == "mean":
            loss = sum(loss) / sum(kept if factor is None else factor)
        else:
            loss = reduced(loss, reduction)
    return reshape(loss, shape) if input.ndim == 1 and reduction == "none" else loss


def _by_class(weight: Tensor, ndim: int) -> Tensor:
    return reshape(weight, (-1, *(1,) * (ndim - 2))) if ndim > 1 else weight


def _soft(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    """Cross entropy with target probabilities."""
    if not target.dtype.is_floating_point:
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{target.dtype.title}"
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    dim = min(input.ndim - 1, 1)
    classes = input.shape[dim]
    _check_weight(weight, classes)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / classes
    terms = log_softmax(input, dim) * target
    if weight is not None:
        terms = terms * _by_class(weight, input.ndim)
    return reduced(-sum(terms, dim), reduction)


@op
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`.

    Args:
        input: (in_features,) or (N, in_features).
        linear_weight: (C, in_features).
        target: see `cross_entropy`.
        linear_bias: (C,).
        weight: see `cross_entropy`.
        reduction: "mean", "sum" or "none".
        ignore_index: targets of this value do not count.
        label_smoothing: the part of the target that is spread over all classes.
    """
    return cross_entropy(
        linear(input, linear_weight, linear_bias),
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
