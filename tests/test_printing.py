"""How tensors print: PyTorch's text, character for character."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan

import pytest

import tensorgl as tg
from tensorgl import printing


@pytest.fixture(autouse=True)
def _default_options() -> Iterator[None]:
    yield
    tg.set_printoptions(profile="default")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (1.5, "tensor(1.5000)"),
        (3, "tensor(3)"),
        (True, "tensor(True)"),
        (nan, "tensor(nan)"),
        ([], "tensor([])"),
        ([[], []], "tensor([], size=(2, 0))"),
        ([1.0, 2.0], "tensor([1., 2.])"),
        ([1.0, 2.5], "tensor([1.0000, 2.5000])"),
        ([True, False], "tensor([ True, False])"),
        ([-1, 10], "tensor([-1, 10])"),
        ([nan, inf, -inf, 1.0], "tensor([nan, inf, -inf, 1.])"),
        ([0.0, -0.0], "tensor([0., -0.])"),
        ([1e-5, 1.0], "tensor([1.0000e-05, 1.0000e+00])"),
        ([1e9], "tensor([1.0000e+09])"),
        ([1.0, 2000.0], "tensor([1.0000e+00, 2.0000e+03])"),
        ([123456.0], "tensor([123456.])"),
        ([[1.0, 2.0], [3.0, 4.0]], "tensor([[1., 2.],\n        [3., 4.]])"),
        (
            [[[1], [2]], [[3], [4]]],
            "tensor([[[1],\n         [2]],\n\n        [[3],\n         [4]]])",
        ),
    ],
)
def test_values(values: object, text: str) -> None:
    assert repr(tg.tensor(values)) == text


def test_dtype_device_and_history() -> None:
    assert repr(tg.ones(1, dtype=tg.float64)) == "tensor([1.], dtype=tensorgl.float64)"
    assert repr(tg.ones(0, dtype=tg.int64)) == "tensor([], dtype=tensorgl.int64)"
    assert repr(tg.ones(2, device="meta")) == "tensor(..., device='meta', size=(2,))"
    x = tg.ones(1, requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(x * x) == "tensor([1.], grad_fn=<MulBackward0>)"
    assert repr(x.detach()) == "tensor([1.])"


def test_long_lines_break() -> None:
    assert repr(tg.arange(30)) == (
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    )
    x = tg.full((9,), 0.5, requires_grad=True)
    assert repr(x).endswith("0.5000],\n       requires_grad=True)")


def test_summaries() -> None:
    assert repr(tg.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    rows = repr(tg.zeros(1001, 2)).split("\n")
    assert rows[0] == "tensor([[0., 0.],"
    assert rows[3] == "        ...,"
    assert len(rows) == 7
    assert "..." not in repr(tg.zeros(1000))


def test_options() -> None:
    x = tg.tensor([1.23456, 1000.0])
    with printing.printoptions(precision=2):
        assert repr(x) == "tensor([   1.23, 1000.00])"
    tg.set_printoptions(sci_mode=True)
    assert repr(x) == "tensor([1.2346e+00, 1.0000e+03])"
    tg.set_printoptions(sci_mode=False, threshold=1, edgeitems=1)
    assert repr(tg.arange(4)) == "tensor([0,  ..., 3])"
    tg.set_printoptions(profile="full")
    assert "..." not in repr(tg.arange(2000))
    assert printing.get_printoptions()["threshold"] == inf


def test_format() -> None:
    assert f"{tg.tensor(1.5):.3f}" == "1.500"
    assert f"{tg.tensor(1.5)}" == "1.5"
    assert f"{tg.tensor(7):03d}" == "007"
    assert f"{tg.tensor([1.5])}" == "tensor([1.5000])"
    with pytest.raises(TypeError, match="format"):
        f"{tg.tensor([1.5]):.3f}"
