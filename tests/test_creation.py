"""Filled tensors and ranges: dtypes, keywords and errors; values are in ops/cases_creation.py."""

from __future__ import annotations

import pytest

import tensorgl as tg


def test_sizes_in_three_forms() -> None:
    for make in (tg.zeros, tg.ones, tg.empty, tg.rand, tg.randn):
        assert make(2, 3).shape == make((2, 3)).shape == make(size=(2, 3)).shape == (2, 3)
        assert make(()).shape == ()
        assert make(tg.tensor(2)).shape == (2,)


def test_default_dtypes() -> None:
    assert tg.zeros(1).dtype is tg.float32
    assert tg.full((1,), 1).dtype is tg.int64
    assert tg.full((1,), True).dtype is tg.bool
    assert tg.full((1,), 1.0).dtype is tg.float32
    assert tg.arange(3).dtype is tg.int64
    assert tg.arange(3.0).dtype is tg.float32
    assert tg.arange(0, 1, 0.5).dtype is tg.float32
    assert tg.linspace(0, 1, 3).dtype is tg.float32
    assert tg.eye(2, dtype=tg.bool).dtype is tg.bool
    assert tg.zeros(1, dtype=float).dtype is tg.float64


def test_the_default_dtype_changes() -> None:
    """Also in promotions that were memoised before."""
    x = tg.arange(2)
    assert (x / 2).dtype is tg.float32
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.get_default_dtype() is tg.float64
        assert tg.zeros(1).dtype is tg.tensor(1.5).dtype is (x / 2).dtype is tg.float64
        assert tg.full((1,), 0.5).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)
    assert (x / 2).dtype is tg.float32
    with pytest.raises(TypeError, match="floating-point"):
        tg.set_default_dtype(tg.int64)


def test_like_and_new_take_after_the_tensor() -> None:
    x = tg.ones(2, 3, dtype=tg.float64)
    for make in (tg.zeros_like, tg.ones_like, tg.empty_like, tg.rand_like, tg.randn_like):
        assert (make(x).shape, make(x).dtype) == ((2, 3), tg.float64)
        assert make(x, dtype=tg.float32).dtype is tg.float32
    assert tg.full_like(x, 2.5).tolist() == [[2.5] * 3] * 2
    assert tg.full_like(tg.ones(2, dtype=tg.int64), 2.5).tolist() == [2, 2]
    assert tg.randint_like(x, 5).dtype is tg.float64
    for made in (x.new_zeros(2), x.new_ones(2), x.new_empty((2,)), x.new_full((2,), 3)):
        assert (made.shape, made.dtype) == ((2,), tg.float64)
    assert x.new_tensor([1, 2]).dtype is tg.float64
    assert x.new_zeros(2, dtype=None, device=None).dtype is tg.float64
    assert x.new_zeros(2, dtype=tg.int32).dtype is tg.int32
    assert tg.zeros_like(x.to("meta")).device == tg.device("meta")


def test_requires_grad() -> None:
    assert tg.zeros(2, requires_grad=True).requires_grad
    assert tg.ones_like(tg.ones(2), requires_grad=True).is_leaf
    assert tg.linspace(0, 1, 3, requires_grad=True).requires_grad
    with pytest.raises(RuntimeError, match="floating point"):
        tg.zeros(2, dtype=tg.int64, requires_grad=True)


def test_signed_zero_and_extremes() -> None:
    assert str(tg.full((1,), -0.0).item()) == "-0.0"
    assert tg.full((1,), -1, dtype=tg.uint8).item() == 255
    assert tg.full((1,), float("inf"), dtype=tg.float16).item() == float("inf")
    assert tg.full((1,), 5, dtype=tg.bool).item() is True


def test_large_integers_are_exact() -> None:
    big = 1 << 62
    assert tg.arange(big, big + 3).tolist() == [big, big + 1, big + 2]
    assert tg.full((1,), big + 1).item() == big + 1


def test_arange_counts_like_pytorch() -> None:
    assert tg.arange(end=3).tolist() == [0, 1, 2]
    assert tg.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert tg.arange(0, 1, 0.1).shape == (10,)
    assert tg.arange(0, 2.5, dtype=tg.int64).tolist() == [0, 1]
    assert tg.arange(0.5, 2.9, dtype=tg.int32).tolist() == [0, 1, 2]
    assert tg.arange(0, 0).tolist() == []
    assert tg.arange(tg.tensor(3)).tolist() == [0, 1, 2]


def test_linspace_of_integers_goes_by_whole_bounds() -> None:
    assert tg.linspace(-2, -9, 6, dtype=tg.int64).tolist() == [-2, -3, -4, -6, -7, -9]
    assert tg.linspace(0.9, 2.9, 3, dtype=tg.int64).tolist() == [0, 1, 2]
    assert tg.linspace(1, 5, 1).tolist() == [1]
    assert tg.linspace(1, 5, 0).shape == (0,)


def test_the_legacy_constructor() -> None:
    assert tg.Tensor(2, 3).shape == (2, 3)
    assert tg.Tensor().shape == (0,)
    assert tg.Tensor([1, 2]).dtype is tg.float32
    assert tg.Tensor(tg.tensor([1, 2])).dtype is tg.int64
    with pytest.raises(TypeError, match="sequence"):
        tg.Tensor(2.5)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: tg.zeros(), TypeError),
        (lambda: tg.zeros(2.0), TypeError),
        (lambda: tg.zeros(-1), RuntimeError),
        (lambda: tg.full(3, 1.0), TypeError),
        (lambda: tg.full((2,), "a"), TypeError),
        (lambda: tg.full((2,), 300, dtype=tg.uint8), RuntimeError),
        (lambda: tg.full((2,), -300, dtype=tg.uint8), RuntimeError),
        (lambda: tg.full((2,), 1e50), RuntimeError),
        (lambda: tg.full((2,), float("nan"), dtype=tg.int64), RuntimeError),
        (lambda: tg.zeros(2, dtype="float32"), TypeError),
        (lambda: tg.zeros_like([1]), TypeError),
        (lambda: tg.arange(0, 5, 0), RuntimeError),
        (lambda: tg.arange(5, 0), RuntimeError),
        (lambda: tg.arange(float("nan")), RuntimeError),
        (lambda: tg.linspace(0, 1, -1), RuntimeError),
        (lambda: tg.eye(-1), RuntimeError),
        (lambda: tg.zeros(2, device="nowhere"), RuntimeError),
    ],
)
def test_refusals(call: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()  # type: ignore[operator]
