"""Losses of regression and of probabilities. Those of classes are in `cross_entropy`, of margins in `margin`.

Every one takes `reduction`: "mean" over its elements, their "sum", or "none". PyTorch's deprecated
`size_average` and `reduce` are left out; what follows them there is given by keyword.
"""

from __future__ import annotations

import warnings
from math import log, pi
from typing import Any

from tensorgl.dispatch import differentiable, op, to_host
from tensorgl.ops.activation import logsigmoid
from tensorgl.ops.arithmetic import abs, maximum, minimum
from tensorgl.ops.comparison import where
from tensorgl.ops.movement import unsqueeze
from tensorgl.ops.reduction import mean, sum
from tensorgl.ops.rounding import clamp
from tensorgl.ops.support import reduced

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]

Tensor = Any


def _warn_of_sizes(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def _weighted(loss: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    if weight.shape != input.shape:
        raise ValueError(
            f"Weights and input must have the same size, given {weight.shape} and {input.shape}"
        )
    return loss * weight


@differentiable(
    input=lambda g, input, target: (input - target) * (g * 2),
    target=lambda g, input, target: (target - input) * (g * 2),
)
def _squared_error(input: Tensor, target: Tensor) -> Tensor:
    d = input - target
    return d * d


def _mean_square_slope(g: Tensor, input: Tensor, target: Tensor) -> Tensor:
    d = input - target
    return d * (g * (2 / max(d.numel(), 1)))


@differentiable(
    input=_mean_square_slope,
    target=lambda g, input, target: _mean_square_slope(g, target, input),
)
def _mean_square(input: Tensor, target: Tensor) -> Tensor:
    """Reduced at once, so that its gradient starts from one number, not from one an element."""
    d = input - target
    return mean(d * d)


@op
def mse_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """`(input - target) ** 2`; with `weight`, the mean is the weighted one."""
    _warn_of_sizes(input, target)
    if weight is not None:
        return _weighted_mean(_squared_error(input, target), input, weight, reduction)
    if reduction == "mean":
        return _mean_square(input, target)
    return reduced(_squared_error(input, target), reduction)


@op
def l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """`|input - target|`; with `weight`, the mean is the weighted one."""
    _warn_of_sizes(input, target)
    loss = abs(input - target)
    if weight is not None:
        return _weighted_mean(loss, input, weight, reduction)
    return reduced(loss, reduction)


def _weighted_mean(loss: Tensor, input: Tensor, weight: Tensor, reduction: str) -> Tensor:
    loss = _weighted(loss, input, weight)
    return sum(loss) / sum(weight) if reduction == "mean" else reduced(loss, reduction)


@differentiable(
    input=lambda g, input, target, delta: clamp(input - target, -delta, delta) * g,
    target=lambda g, input, target, delta: clamp(target - input, -delta, delta) * g,
)
def _huber(input: Tensor, target: Tensor, delta: float) -> Tensor:
    """With m = min(|d|, delta): m * (|d| - m / 2), which is d²/2 near 0 and straight beyond."""
    d = abs(input - target)
    m = minimum(d, delta)
    return m * (d - m * 0.5)


@op
def smooth_l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """`d**2 / (2 beta)` where `d = |input - target|` is below `beta`, else `d - beta / 2`."""
    _warn_of_sizes(input, target)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta must not be negative, given {beta}")
    if beta == 0:
        return reduced(abs(input - target), reduction)
    return reduced(_huber(input, target, beta) / beta, reduction)


@op
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """`d**2 / 2` where `d = |input - target|` is below `delta`, else `delta * (d - delta / 2)`."""
    _warn_of_sizes(input, target)
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta must be positive, given {delta}")
    loss = _huber(input, target, delta)
    return reduced(loss if weight is None else _weighted(loss, input, weight), reduction)


def _cross_entropy_slope(g: Tensor, input: Tensor, target: Tensor) -> Tensor:
    return g * (input - target) / maximum((1 - input) * input, 1e-12)


def _logarithms(input: Tensor) -> tuple[Tensor, Tensor]:
    """log(input) and log(1 - input), at least -100, so that a certain error costs a finite loss."""
    return maximum(input.log(), -100), maximum((-input).log1p(), -100)


def _target_slope(g: Tensor, input: Tensor) -> Tensor:
    yes, no = _logarithms(input)
    return g * (no - yes)


@differentiable(input=_cross_entropy_slope, target=_target_slope)
def _binary_cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    yes, no = _logarithms(input)
    return (target - 1) * no - target * yes


@op
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """`-(target * log(input) + (1 - target) * log(1 - input))`, with logarithms of at least -100.

    Args:
        input: probabilities; on cpu they are checked, elsewhere NaN comes of values outside [0, 1].
        target: probabilities, of the same shape.
        weight: factors that broadcast to it.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: the shapes differ.
        RuntimeError: a value on cpu is outside [0, 1].
    """
    _check_same("Using a target size", input, target)
    if input.is_cpu:
        for name, x in (("input", input), ("target", target)):
            values = to_host(x)
            if not ((values >= 0) & (values <= 1)).all():
                raise RuntimeError(f"all elements of {name} should be between 0 and 1")
    loss = _binary_cross_entropy(input, target)
    return reduced(loss if weight is None else loss * weight, reduction)


def _check_same(what: str, input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        raise ValueError(
            f"{what} ({target.shape}) must be the same as the input size ({input.shape})"
        )


@op
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy(sigmoid(input), target)`, finite for logits of any size.

    Args:
        input: logits.
        target: probabilities, of the same shape.
        weight: factors that broadcast to it.
        reduction: "mean", "sum" or "none".
        pos_weight: factors of the positive part, which broadcast to the target.
    """
    _check_same("Target size", input, target)
    positive = logsigmoid(input)
    if pos_weight is not None:
        positive = positive * ((pos_weight - 1) * target + 1)
    loss = (1 - target) * input - positive
    return reduced(loss if weight is None else loss * weight, reduction)


@op
def kl_div(
    input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """`target * (log(target) - input)`: the Kullback-Leibler divergence, given log-probabilities.

    Args:
        input: log-probabilities.
        target: probabilities.
        reduction: also "batchmean", the sum divided by the size of dim 0, which is the divergence.
        log_target: `target` is of log-probabilities too.
    """
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    loss = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    if reduction == "batchmean":
        return sum(loss) / input.shape[0] if input.ndim else sum(loss)
    return reduced(loss, reduction)


@op
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts: `exp(input) - target * input`.

    Args:
        input: the rate or its logarithm.
        target: counts.
        log_input: `input` is the logarithm of the rate; else `input - target * log(input + eps)`.
        full: add Stirling's approximation of `log(target!)` where the target is above 1.
        eps: keeps the logarithm of a rate of 0 finite.
        reduction: "mean", "sum" or "none".
    """
    rate, log_rate = (input.exp(), input) if log_input else (input, (input + eps).log())
    loss = rate - target * log_rate
    if full:
        stirling = target * target.log() - target + (target * (2 * pi)).log() * 0.5
        loss = loss + where(target > 1, stirling, 0)
    return reduced(loss, reduction)


@op
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of normal variables of mean `input` and variance `var`.

    Args:
        input: means.
        target: what was observed.
        var: of input's shape; or with size 1 in one dim, or without the last dim, or a float, to be
            shared.
        full: add the constant `log(2 pi) / 2`.
        eps: the least variance; where it acts, the gradient is that of the clamped value.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: a variance is negative, or the shapes do not fit.
    """
    if isinstance(var, float):
        var = input.new_full(input.shape, var)
    if (var < 0).any():
        raise ValueError("gaussian_nll_loss: var has negative entry/entries")
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = unsqueeze(var, -1)
        elif var.ndim != input.ndim or [
            m for n, m in zip(input.shape, var.shape, strict=True) if n != m
        ] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: var is of incorrect size {var.shape} for input {input.shape}"
            )
    # The clamp has no gradient of its own, so that a variance below eps still learns.
    var = var + (maximum(var, eps) - var).detach()
    error = input - target
    loss = (var.log() + error * error / var) * 0.5
    if full:
        loss = loss + 0.5 * log(2 * pi)
    return reduced(loss, reduction)
