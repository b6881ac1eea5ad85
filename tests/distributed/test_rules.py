"""Rules: what they come to, and that a few bad contributions do not sway those that are robust."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorgl.distributed.rules import COMBINED, ELEMENTWISE, RULES, Norms

ROBUST = [*ELEMENTWISE, *COMBINED]


def reduced(rule: str, vectors: Any, weights: Any = None) -> Any:
    if rule in ELEMENTWISE:
        return ELEMENTWISE[rule](vectors)
    rows = vectors.astype(np.float64)
    weights = np.ones(len(rows)) if weights is None else weights
    return COMBINED[rule](weights, rows @ rows.T) @ rows


def honest(count: int, elements: int = 200, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    return (1 + 0.3 * draw.standard_normal((count, elements))).astype(np.float32)


ATTACKS = {
    "boosted": lambda good: good.mean(0) * 1e6,
    "sign flipped": lambda good: -10 * good.mean(0),
    "inner product": lambda good: -0.5 * good.mean(0),  # IPM, Xie et al. 2020
    "a little": lambda good: good.mean(0) - 1.0 * good.std(0),  # ALIE, Baruch et al. 2019
    "zero": lambda good: 0 * good.mean(0),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rule", ROBUST)
@pytest.mark.parametrize(("count", "bad"), [(6, 1), (12, 2), (17, 4)])
def test_a_few_bad_ones_do_not_sway_it(rule: str, attack: str, count: int, bad: int) -> None:
    good = honest(count - bad)
    vectors = np.concatenate([good, np.tile(ATTACKS[attack](good), (bad, 1))]).astype(np.float32)
    np.random.default_rng(1).shuffle(vectors)
    center = good.mean(0, dtype=np.float64)
    error = np.linalg.norm(reduced(rule, vectors) - center)
    spread = np.median(np.linalg.norm(good - center, axis=1))
    assert error < spread
    assert reduced(rule, vectors) @ center > 0.7 * center @ center


def test_the_mean_is_swayed() -> None:
    good = honest(11)
    vectors = np.concatenate([good, -1e6 * good[:1]])
    assert vectors.mean(0) @ good.mean(0) < 0


@pytest.mark.parametrize("rule", ROBUST)
@given(st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25)
def test_equal_contributions_are_the_result(rule: str, count: int, seed: int) -> None:
    vectors = np.tile(honest(1, 20, seed), (count, 1))
    np.testing.assert_allclose(reduced(rule, vectors), vectors[0], rtol=1e-6)


@pytest.mark.parametrize("rule", ROBUST)
@given(st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25)
def test_the_order_does_not_matter(rule: str, count: int, seed: int) -> None:
    vectors = honest(count, 20, seed)
    order = np.random.default_rng(seed).permutation(count)
    np.testing.assert_allclose(
        reduced(rule, vectors[order]), reduced(rule, vectors), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("rule", ROBUST)
def test_all_zero_is_zero(rule: str) -> None:
    assert not reduced(rule, np.zeros((5, 8), np.float32)).any()


def test_trimmed_mean_and_median_by_hand() -> None:
    vectors = np.array([[1, -9], [2, 0], [4, 1], [90, 2]], np.float32)
    assert list(ELEMENTWISE["trimmed_mean"](vectors)) == [3, 0.5]
    assert list(ELEMENTWISE["median"](vectors)) == [3, 0.5]


def test_krum_keeps_weights() -> None:
    vectors = honest(8)
    vectors[3] = 100
    weights = [1, 2, 3, 99, 5, 6, 7, 8]
    rows = vectors.astype(np.float64)
    factors = COMBINED["multi_krum"](weights, rows @ rows.T)
    kept = np.flatnonzero(factors)
    assert len(kept) == 6 and 3 not in kept
    np.testing.assert_allclose(
        factors[kept], np.array(weights)[kept] / np.array(weights)[kept].sum()
    )


def test_centered_clip_of_what_lies_close_is_the_weighted_mean() -> None:
    vectors = np.stack([np.eye(4, dtype=np.float32)[k] * 0.1 + 1 for k in range(4)])
    weights = [1.0, 2.0, 3.0, 4.0]
    mean = np.average(vectors.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(reduced("centered_clip", vectors, weights), mean, rtol=0.02)


def test_all_rules_are_listed() -> None:
    assert RULES == ("mean", "trimmed_mean", "median", "multi_krum", "centered_clip")


def known(*rounds: list[float]) -> Norms:
    """Norms after these rounds."""
    norms = Norms()
    for row in rounds:
        norms.learn(0, row)
    return norms


def test_norms_are_credible_until_some_rounds_are_known() -> None:
    few = known(*[[1e-9]] * (Norms.FIRST - 1))
    assert few.check(0, 1.0) == ""
    few.learn(0, [1e-9])
    assert few.check(0, 1.0) == "bucket 0: its norm 1 is 1000000000 times the usual one"
    assert few.check(0, 1e-6 * 0.99) == ""
    assert few.check(1, 1.0) == ""  # another bucket


def test_norms_may_grow_from_round_to_round() -> None:
    norms = known(*[[1e-9]] * Norms.FIRST)
    norms.learn(0, [1e-7])
    assert norms.check(0, 1e-5) == ""


def test_norms_that_fall_and_start_again_are_credible() -> None:
    """As those of DiLoCo do where the learning rate is warm restarted."""
    norms = known(*[[0.97**k] for k in range(500)])
    assert norms.check(0, 1.0) == ""
    for _ in range(10_000):
        norms.learn(0, [1e-6])
    assert norms.check(0, 1.0)


@pytest.mark.parametrize("lie", [1e-15, 1e15])
@pytest.mark.parametrize(("bad", "count"), [(1, 3), (2, 5), (4, 9)])
def test_less_than_half_of_the_members_do_not_sway_what_is_credible(
    lie: float, bad: int, count: int
) -> None:
    norms = known(*[[lie] * bad + [1.0 + k / count for k in range(count - bad)]] * Norms.FIRST)
    assert norms.check(0, 500.0) == ""
    assert norms.check(0, 5000.0)


def test_norms_of_a_bucket_that_had_no_gradient() -> None:
    assert known(*[[0.0]] * Norms.FIRST).check(0, 1.0) == ""
