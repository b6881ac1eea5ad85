"""How samples are divided, and what contributions weigh."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tensorgl.distributed.shares import Shares, divide
from tensorgl.distributed.weights import mean_metrics


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


def test_metrics_are_weighted_and_finite() -> None:
    said = [(1.0, {"a": 1.0, "b": 1e308}), (3.0, {"a": 2.0, "b": 1e308, "c": 5.0})]
    assert mean_metrics(said) == {"a": 1.75, "b": 1e308, "c": 5.0}
    big = 1.7976931348623157e308
    assert all(abs(v) <= big for v in mean_metrics([(0.1, {"a": big}), (0.2, {"a": big})]).values())
