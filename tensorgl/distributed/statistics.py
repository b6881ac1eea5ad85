"""The running statistics of batch norms: how they lie in a bucket, and how members' become one.

They are the last bucket of a model that has batch norms, so all members have the same. Of each norm of
C features it holds 2 C + 1 numbers:

    kept         running mean (C), running variance (C), batches that were tracked (1)
    contributed  mean (C) and biased variance (C) of the member's part of the batch, and how many values
                 a sample has in each feature (1); 0, if the norm has seen none
    merged       mean (C) and variance (C) of the whole batch, and 1; or 0, if no member has seen any

The first parts differ with the data, so their mean is no variance: by the law of total variance, that
of the whole is the mean variance plus the variance of the means. All is computed in float64, and in the
same order each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.wire import Codec

__all__ = [
    "BUFFERS",
    "Statistics",
    "bucket_codecs",
    "columns",
    "cut",
    "merge",
    "move",
    "total_variance",
    "unsound",
]

Array: TypeAlias = np.ndarray[Any, Any]
Statistics: TypeAlias = Sequence[Sequence[Any]]
"""Name, features and momentum (None: the plain mean of all batches) of each, as in messages.py."""

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Of a norm, in their order."""
_LARGEST = 1e18  # of a mean or variance, as of a parameter
_MOST_VALUES = 2.0**40  # of a sample


def bucket_codecs(norms: Statistics, buckets: int, codec: Codec) -> list[Codec]:
    """The codec of each bucket of a model: statistics, which are the last, always travel as they are."""
    own = 1 if norms else 0
    return [codec] * (buckets - own) + [Codec.RAW] * own


def columns(norms: Statistics) -> int:
    """How many numbers the bucket has; 0 without norms."""
    return sum(2 * features + 1 for _, features, _ in norms)


def cut(norms: Statistics, values: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Mean, variance and the last number of each norm: parts of the last dim of `values`."""
    at = 0
    for _, features, _ in norms:
        mean, var = values[..., at : at + features], values[..., at + features : at + 2 * features]
        at += 2 * features + 1
        yield mean, var, values[..., at - 1 : at]


def unsound(norms: Statistics, values: Array) -> str:
    """Why numbers are no statistics, kept or contributed; or ""."""
    for (name, *_), (mean, var, count) in zip(norms, cut(norms, values), strict=True):
        # Written so that a NaN is not sound.
        if not (np.abs(mean) <= _LARGEST).all():
            return f"{name}: the means are not all finite, or beyond {_LARGEST:g}"
        if not ((var >= 0) & (var <= _LARGEST)).all():
            return f"{name}: the variances are not all from 0 to {_LARGEST:g}"
        if not 0 <= count[0] <= _MOST_VALUES:
            return f"{name}: {count[0]:g} is no count"
    return ""


def total_variance(weights: Array, means: Array, variances: Array) -> tuple[Array, Array]:
    """The mean and biased variance of what has these parts.

    Args:
        weights: how many values each part has, (n,); not all 0.
        means: (n, C).
        variances: biased, (n, C).
    """
    shares = (np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64))[:, None]
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0)


def merge(
    norms: Statistics, weights: Sequence[float], rows: Array, apart: bool, robust: bool
) -> Array:
    """What the contributions of a round come to.

    Args:
        norms: whose they are.
        weights: samples of each contribution, (n,); fewer if it is late.
        rows: the contributions, (n, columns).
        apart: they are running statistics after local steps, and not of batches. The variance then is
            the biased one, as theirs was made unbiased before.
        robust: take the median of each number, whatever the weights; a few bad rows cannot sway it.

    Returns:
        float32 (columns,), as the log keeps it.
    """
    rows = np.asarray(rows, np.float64)
    merged = np.zeros(rows.shape[1])
    for (means, variances, counts), (mean, var, seen) in zip(
        cut(norms, rows), cut(norms, merged), strict=True
    ):
        counts = counts[:, 0]
        some = counts > 0
        if not (np.median(counts) > 0 if robust else some.any()):
            continue
        values = np.asarray(weights)[some] * (np.median(counts) if robust else counts[some])
        if robust:
            mean[:], var[:] = np.median(means[some], axis=0), np.median(variances[some], axis=0)
        else:
            mean[:], var[:] = total_variance(values, means[some], variances[some])
        n = values.sum()
        if not apart and n > 1:
            var *= n / (n - 1)
        seen[:] = 1
    return merged.astype(np.float32)


def move(norms: Statistics, kept: Array, merged: Array, local_steps: int) -> Array:
    """The running statistics after a round.

    Args:
        norms: whose they are.
        kept: those before, float32 (columns,).
        merged: of `merge`.
        local_steps: after which members contributed theirs, which then replace those before; 0: `merged`
            is of a batch, towards which each norm moves by its momentum.
    """
    after = kept.astype(np.float64)
    for (_, _, momentum), (mean, var, count), (batch_mean, batch_var, seen) in zip(
        norms, cut(norms, after), cut(norms, merged), strict=True
    ):
        if not seen[0]:
            continue
        count += local_steps or 1
        part = 1.0 if local_steps else 1.0 / count[0] if momentum is None else momentum
        mean[:] = mean * (1 - part) + part * batch_mean
        var[:] = var * (1 - part) + part * batch_var
    return after.astype(np.float32)
