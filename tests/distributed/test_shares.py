"""How samples are divided, and what contributions weigh."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tensorgl.distributed.shares import Shares, divide
from tensorgl.distributed.weights import mean_metrics, median_lr


@given(
    start=st.integers(0, 1000),
    size=st.integers(1, 2**40),
    speeds=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50),
    unit=st.integers(1, 100),
)
def test_divided_shares_add_up(start: int, size: int, speeds: list[float], unit: int) -> None:
    shares = divide((start, start + size), speeds, unit)
    if size < unit * len(speeds):
        unit = 1
    assert len(shares) == len(speeds)
    at = start
    for share, speed in zip(shares, speeds, strict=True):
        length = 0
        if share:
            assert share[0] == at < share[1]
            length, at = share[1] - share[0], share[1]
        assert length or size < len(speeds)
        assert at == start + size or length % unit == 0
        assert abs(length - size * speed / sum(speeds)) <= unit * (len(speeds) + 1) + 1e-9 * size
    assert at == start + size


@given(
    size=st.integers(1, 50),
    steps=st.lists(st.tuples(st.integers(1, 80), st.booleans()), max_size=60),
)
def test_shares_cover_the_stream(size: int, steps: list[tuple[int, bool]]) -> None:
    shares, taken = Shares(0, ()), []
    for samples, returned in steps:
        start, stop = shares.take(samples, size)
        assert start < stop <= start + samples
        assert start // size == (stop - 1) // size  # of one epoch
        if returned:
            shares.give_back((start, stop))
        else:
            taken.append((start, stop))
    at = 0
    for start, stop in sorted([*taken, *shares.leftover]):
        assert start == at
        at = stop
    assert at == shares.cursor
    for (_, stop), (start, _) in pairwise(shares.leftover):
        assert stop < start


def test_what_comes_back_in_parts_makes_whole_batches() -> None:
    """All but one of 16 members are lost: what they had is one step, not fifteen."""
    shares = Shares(0, ())
    parts = divide(shares.take(64, 1000), [1.0] * 16)
    shares.take(64, 1000)  # of others, who still work on it
    for share in parts[:8] + parts[:8:-1]:
        assert share
        shares.give_back(share)
    assert shares.leftover == [(0, 32), (36, 64)]
    assert Shares(shares.cursor, [(4, 8), (40, 64), (0, 4), (36, 40)]).leftover == [
        (0, 8),
        (36, 64),
    ]
    shares.give_back((32, 36))
    assert shares.take(64, 1000) == (0, 64)


def test_what_came_back_is_taken_an_epoch_at_a_time() -> None:
    shares = Shares(30, [(6, 14)])
    assert [shares.take(8, 10) for _ in range(3)] == [(6, 10), (10, 14), (30, 38)]


def test_metrics_are_weighted_and_finite() -> None:
    said = [(1.0, {"a": 1.0, "b": 1e308}), (3.0, {"a": 2.0, "b": 1e308, "c": 5.0})]
    assert mean_metrics(said) == {"a": 1.75, "b": 1e308, "c": 5.0}
    big = 1.7976931348623157e308
    assert all(abs(v) <= big for v in mean_metrics([(0.1, {"a": big}), (0.2, {"a": big})]).values())


def test_learning_rates_are_of_those_who_are_there_longest() -> None:
    assert median_lr([]) == median_lr([(0, ())]) == ()
    assert median_lr([(5, (0.1, 1.0)), (5, (0.3, 3.0)), (9, (8.0, 8.0))]) == (0.2, 2.0)
    assert median_lr([(0, ()), (9, (8.0,))]) == (8.0,)
