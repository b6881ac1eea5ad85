"""How contributions become one: the mean, or a rule that a few bad ones among them cannot sway.

`mean`, `trimmed_mean` and `median` go element by element. `multi_krum` and `centered_clip` compare
whole contributions with each other. Both come to a combination of them that the products of each with
each decide, so that they never need all at once: Model sums up the products, bucket by bucket, and
takes the combination of each bucket.

A rule assumes that at most a quarter of the contributions are bad. With fewer than four there is none
that could be outvoted, with multi_krum fewer than five. Elementwise rules count each alike, whatever its
weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median as middle
from typing import Any, TypeAlias

import numpy as np

__all__ = ["BAD", "COMBINED", "ELEMENTWISE", "RULES", "Norms"]

Array: TypeAlias = np.ndarray[Any, Any]

BAD = 0.25
"""The part of the contributions that may be bad."""
_ROUNDS = 3  # of centered_clip; its source finds one enough in most cases


def trimmed_mean(vectors: Array) -> Array:
    """The mean of each element's values but for the quarter of largest and of smallest ones.

    Source: Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates".
    """
    count = int(len(vectors) * BAD)
    return np.sort(vectors, axis=0)[count : len(vectors) - count].mean(axis=0, dtype=np.float64)


def median(vectors: Array) -> Array:
    """The median of each element's values.

    Source: as of trimmed_mean.
    """
    return np.median(vectors, axis=0)


def multi_krum(weights: Sequence[float], products: Array) -> Array:
    """The weighted mean of those whose nearest neighbours are nearest.

    Source: Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient
    Descent".
    """
    n = len(weights)
    bad = max(0, min(int(n * BAD), (n - 3) // 2))  # it needs that many neighbours
    near = np.sort(_distances(products), axis=1)[:, 1 : max(2, n - bad - 1)]  # the first: itself
    kept = np.argsort(near.sum(axis=1), kind="stable")[: n - bad]
    factors = np.zeros(n)
    factors[kept] = np.asarray(weights)[kept]
    return factors / factors.sum()


def centered_clip(weights: Sequence[float], products: Array) -> Array:
    """A weighted mean of how they differ from a centre, those that differ much shortened.

    It begins with the mean of that half which is nearest to all, and differences are as long as the
    median of them at most.

    Source: Karimireddy et al. 2021, "Learning from History for Byzantine Robust Optimization".
    """
    shares = np.asarray(weights) / sum(weights)
    far = np.sqrt(_distances(products)).sum(axis=1)
    centre = np.where(far <= np.median(far) * (1 + 1e-9), shares, 0)  # equal ones are all in
    centre /= centre.sum()
    for _ in range(_ROUNDS):
        inner = products @ centre
        squares = np.diag(products) - 2 * inner + centre @ inner
        lengths = np.sqrt(np.maximum(squares, 0))
        longest = np.median(lengths)
        factors = shares * np.minimum(1, longest / np.maximum(lengths, 1e-300))
        centre = centre * (1 - factors.sum()) + factors
    return centre


def _distances(products: Array) -> Array:
    """The squared distances of all pairs."""
    squares = np.diag(products)
    return np.maximum(squares[:, None] + squares - 2 * products, 0)


ELEMENTWISE: dict[str, Callable[[Array], Array]] = {"trimmed_mean": trimmed_mean, "median": median}
COMBINED: dict[str, Callable[[Sequence[float], Array], Array]] = {
    "multi_krum": multi_krum,
    "centered_clip": centered_clip,
}
RULES = ("mean", *ELEMENTWISE, *COMBINED)


class Norms:
    """How long contributions usually are, bucket by bucket, and so what is credible.

    It learns from rounds that are over only, of each the median of the members' norms, which less than
    half of them do not sway. What is usual is the largest of these lately, as contributions of DiLoCo
    follow a learning rate that falls to nearly 0 and starts again.
    """

    FIRST = 16
    """Rounds before anything is checked."""
    KEPT = 0.999
    """Of what is usual, from one round to the next."""
    MOST = 1000.0
    """Times what is usual. Far more than training varies by; it is for what would destroy a model at once.
    A rule keeps away what is less than that."""

    def __init__(self) -> None:
        self._usual: dict[int, float] = {}
        self._rounds: dict[int, int] = {}

    def check(self, bucket: int, norm: float) -> str:
        """Why a contribution of this length is not credible, or ""."""
        usual = self._usual.get(bucket, 0.0)
        if not usual or self._rounds[bucket] < self.FIRST or norm <= self.MOST * usual:
            return ""
        return f"bucket {bucket}: its norm {norm:.3g} is {norm / usual:.0f} times the usual one"

    def learn(self, bucket: int, norms: Sequence[float]) -> None:
        """A round is over that counted contributions of these lengths, one a member."""
        self._usual[bucket] = max(middle(norms), self.KEPT * self._usual.get(bucket, 0.0))
        self._rounds[bucket] = self._rounds.get(bucket, 0) + 1
