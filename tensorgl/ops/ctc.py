"""Connectionist temporal classification (Graves et al. 2006), for a whole batch a time step at once.

A target of S labels has 2 S + 1 states: a blank before, between and after its labels. `alpha` is the
log-probability of all ways to a state at a time, `beta` of all ways on from it. Impossible is a large
negative number, not -inf, so that no difference is NaN.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from tensorgl import primitives as p
from tensorgl.dispatch import call2, calln, differentiable, from_host, op, to_host
from tensorgl.dtypes import bool as bool_
from tensorgl.dtypes import int64
from tensorgl.ops.arithmetic import maximum
from tensorgl.ops.comparison import where
from tensorgl.ops.gathering import gather
from tensorgl.ops.math import logaddexp
from tensorgl.ops.movement import expand, reshape, sliced, unsqueeze
from tensorgl.ops.reduction import mean
from tensorgl.ops.support import positions, reduced

__all__ = ["ctc_loss"]

Tensor = Any
IMPOSSIBLE = -1e30


def _shifted(x: Tensor, by: int) -> Tensor:
    """(N, L) moved along the states, up for a positive `by`."""
    n, length = x.shape
    padded = call2(p.pad, x, IMPOSSIBLE, (((0, 0), (max(by, 0), max(-by, 0))),))
    start = max(-by, 0)
    return sliced(padded, (0, start), (n, start + length), (1, 1))


def _arrive(x: Tensor, skip: Tensor) -> Tensor:
    """From the state itself, the one before, and, where `skip` allows, the one before that."""
    near = logaddexp(x, _shifted(x, 1))
    return logaddexp(near, where(skip, _shifted(x, 2), IMPOSSIBLE))


def _depart(x: Tensor, skip: Tensor) -> Tensor:
    """The reverse: to the state itself and those after it."""
    near = logaddexp(x, _shifted(x, -1))
    return logaddexp(near, _shifted(where(skip, x, IMPOSSIBLE), -2))


def _at(x: Tensor, t: int) -> Tensor:
    """x[t] of three dims."""
    part = sliced(x, (t, 0, 0), (t + 1, *x.shape[1:]), (1, 1, 1))
    return reshape(part, tuple(x.shape[1:]))


def _alphas(logp: Tensor, skip: Tensor, active: Tensor) -> list[Tensor]:
    """`alpha` before the first step, where only state 0 is possible, and after every step."""
    n, length = skip.shape
    alpha = (positions(length, logp.device) == 0).to(logp.dtype)
    alpha = expand((1 - alpha) * IMPOSSIBLE, (n, length))
    alphas = [alpha]
    for t in range(logp.shape[0]):
        alphas.append(where(_at(active, t), _arrive(alphas[-1], skip) + _at(logp, t), alphas[-1]))
    return alphas


def _log_likelihood(alpha: Tensor, ends: Tensor) -> Tensor:
    return where(ends, alpha, IMPOSSIBLE).logsumexp(1)


def _posterior(g: Tensor, logp: Tensor, skip: Tensor, active: Tensor, ends: Tensor) -> Tensor:
    """The gradient: minus the probability of being in each state at each time, (T, N, L)."""
    alphas = _alphas(logp, skip, active)
    total = _log_likelihood(alphas[-1], ends)
    possible = unsqueeze(total > IMPOSSIBLE / 2, 1)
    g, total = unsqueeze(g, 1), unsqueeze(total, 1)
    beta = where(ends, logp.new_zeros(()), IMPOSSIBLE)
    parts = []
    for t in reversed(range(logp.shape[0])):
        here = _at(active, t)
        density = (alphas[t + 1] + beta - total).exp()
        parts.append(unsqueeze(where(here.logical_and(possible), -g * density, 0), 0))
        beta = where(here, _depart(beta + _at(logp, t), skip), beta)
    return calln(p.cat, parts[::-1], (0, (1,) * len(parts)))


@differentiable(logp=_posterior)
def _ctc(logp: Tensor, skip: Tensor, active: Tensor, ends: Tensor) -> Tensor:
    """Minus the log-likelihood, (N,), of log-probabilities of states, (T, N, L).

    Args:
        logp: log-probabilities of the states, (T, N, L).
        skip: (N, L), whether a state may be reached from two before it.
        active: (T, N, 1), whether a sequence has this step.
        ends: (N, L), whether a sequence may end in this state.
    """
    return -_log_likelihood(_alphas(logp, skip, active)[-1], ends)


def _lengths(name: str, lengths: Any, batch: int, limit: int) -> Any:
    """Lengths on the host, checked."""
    values = to_host(lengths) if hasattr(lengths, "_aval") else np.asarray(lengths)
    if values.dtype.kind not in "iu":
        raise RuntimeError(f"ctc_loss: {name} must be integral, given {values.dtype}")
    values = values.reshape(-1).astype(np.int64)
    if values.size != batch:
        raise RuntimeError(
            f"ctc_loss: {name} must be of size batch_size {batch}, given {values.size}"
        )
    if values.min(initial=0) < 0 or values.max(initial=0) > limit:
        raise RuntimeError(
            f"ctc_loss: Expected {name} to have values from 0 to {limit}, given {values.tolist()}"
        )
    return values


def _labels(targets: Tensor, lengths: Any, blank: int) -> Any:
    """Targets as a (N, S) array on the host, filled up with blanks."""
    values = to_host(targets)
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
    labels = np.full(inside.shape, blank)
    labels[inside] = (
        values[:, : inside.shape[1]][inside] if values.ndim == 2 else values[: lengths.sum()]
    )
    return labels


@op
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability of all ways to align a sequence of labels with a longer input.

    The gradient is that of `log_probs` themselves. PyTorch's has `exp(log_probs)` added, which makes
    no difference before a `log_softmax`.

    Args:
        log_probs: (T, N, C) or (T, C), logarithms of probabilities.
        targets: (N, S); or the labels of all sequences in one dim; no label is `blank`.
        input_lengths: (N,), a tensor or a sequence.
        target_lengths: (N,), likewise.
        blank: the class that stands for no label.
        reduction: "mean" first divides each loss by its target's length.
        zero_infinity: give 0, not infinity, where the input is too short for its target.

    Raises:
        RuntimeError: lengths or labels do not fit.
    """
    if log_probs.ndim == 2:
        loss = ctc_loss(
            unsqueeze(log_probs, 1),
            reshape(targets, (targets.numel(),)),
            input_lengths,
            target_lengths,
            blank,
            reduction,
            zero_infinity,
        )
        return reshape(loss, ())
    steps, batch, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank must be in label range [0, {classes}), given {blank}")
    most = targets.shape[1] if targets.ndim == 2 else targets.numel()
    times = _lengths("input_lengths", input_lengths, batch, steps)
    sizes = _lengths("target_lengths", target_lengths, batch, most)
    if targets.ndim == 1 and sizes.sum() > most:
        raise RuntimeError(f"ctc_loss: target_lengths add up to more than the {most} targets")
    states = np.full((batch, 2 * int(sizes.max(initial=0)) + 1), blank)
    states[:, 1::2] = _labels(targets, sizes, blank)
    place = np.arange(states.shape[1])
    skip = np.zeros(states.shape, np.bool_)
    skip[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    ends = np.abs(2 * sizes[:, None] - 0.5 - place) < 1  # states 2 S and 2 S - 1
    active = (np.arange(steps)[:, None] < times)[..., None]

    def there(mask: Any) -> Tensor:
        return from_host(mask, bool_, log_probs.device)

    index = from_host(states.astype(np.int64), int64, log_probs.device)
    index = expand(unsqueeze(index, 0), (steps, *states.shape))
    logp = maximum(gather(log_probs, 2, index), IMPOSSIBLE)
    loss = _ctc(logp, there(skip), there(active), there(ends))
    loss = where(loss > -IMPOSSIBLE / 2, 0 if zero_infinity else inf, loss)
    if reduction == "mean":
        return mean(loss / from_host(np.maximum(sizes, 1), int64, log_probs.device))
    return reduced(loss, reduction)
