"""Random numbers on gl are those on cpu, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgl as tg
import tensorgl.nn.functional as F
from tensorgl import primitives as p
from tensorgl.avals import device
from tensorgl.dispatch import source
from tests.backends.glsl.both import launches, same
from tests.gl import use

pytestmark = pytest.mark.usefixtures("gl_target")

SHAPES = [(), (1,), (5,), (8,), (0, 3), (3, 7), (130, 33), (2, 3, 4, 5)]
LARGE = 1_000_003
STATES = [
    (0, 0, 0, 0),
    (-1, -1, -1, 5),  # the low half of the counter overflows within the call
    (123456789, -987654321, -3, -1),  # all of it does
]
"""Seeds and offsets in halves."""


def drawn(function: Any) -> Any:
    """What a function of the device draws on both, from the middle of a stream."""

    def draw(x: Any) -> Any:
        tg.manual_seed(-(2**62) - 12345)
        tg.rand(9)
        return function(x.device)

    return same(draw, np.zeros(1, np.float32))


@pytest.mark.parametrize("dtype", [tg.float32, tg.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
class TestFloats:
    def test_uniform(self, shape: tuple[int, ...], dtype: Any) -> None:
        drawn(lambda place: tg.rand(shape, dtype=dtype, device=place))

    def test_normal(self, shape: tuple[int, ...], dtype: Any) -> None:
        drawn(lambda place: tg.randn(shape, dtype=dtype, device=place))

    def test_read_in_another_order(self, shape: tuple[int, ...], dtype: Any) -> None:
        def turned(draw: Any) -> Any:
            dims = tuple(reversed(range(len(shape))))
            return drawn(lambda place: draw(shape, dtype=dtype, device=place).permute(dims) + 1)

        turned(tg.rand)
        turned(tg.randn)


@pytest.mark.parametrize("draw", [tg.rand, tg.randn])
def test_many_floats(draw: Any) -> None:
    drawn(lambda place: draw(LARGE, device=place))


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("primitive", [p.uniform, p.normal], ids=lambda x: x.name)
def test_counters_of_64_bits(primitive: Any, state: tuple[int, ...]) -> None:
    def draw(x: Any) -> Any:
        return source(primitive, state, ((6, 7), tg.float32), x.device)

    same(draw, np.zeros(1, np.float32))


def test_every_segment_of_the_normal_table() -> None:
    values = drawn(lambda place: tg.randn(1 << 21, device=place))
    assert abs(values.mean()) < 0.003
    assert abs(values.std() - 1) < 0.003
    assert values.max() > 4.5
    assert values.min() < -4.5


class TestIntegers:
    @pytest.mark.parametrize("dtype", [tg.int64, tg.int32], ids=str)
    @pytest.mark.parametrize(
        ("low", "high"),
        [(0, 10), (-5, 5), (0, 2**31), (-(2**31), 2**31), (-(2**31), -7), (2**31 - 1, 2**31)],
    )
    def test_of_a_range(self, low: int, high: int, dtype: Any) -> None:
        values = drawn(lambda place: tg.randint(low, high, (3, 7), dtype=dtype, device=place))
        assert values.min() >= low
        assert values.max() < high

    @pytest.mark.parametrize("dtype", [tg.uint8, tg.float32, tg.float16], ids=str)
    def test_of_other_dtypes(self, dtype: Any) -> None:
        drawn(lambda place: tg.randint(0, 200, (50,), dtype=dtype, device=place))

    @pytest.mark.parametrize(
        ("low", "high"), [(0, 2**32), (0, 2**40), (-(2**31) - 1, 5), (-(2**63), 2**63 - 1)]
    )
    def test_that_do_not_fit_are_refused(self, low: int, high: int) -> None:
        with pytest.raises(RuntimeError, match=r"do not fit 32 bits.*on 'cpu'"):
            tg.randint(low, high, (3,), device="gl")

    def test_permutation(self) -> None:
        drawn(lambda place: tg.randperm(1000, device=place))


class TestDropout:
    @pytest.mark.parametrize("shape", [(5,), (33, 70), (2, 3, 4, 8)], ids=str)
    @pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
    def test_values_and_gradient(self, shape: tuple[int, ...], p: float) -> None:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

        def gradient(t: Any) -> Any:
            tg.manual_seed(7)
            t = t.clone().requires_grad_()
            (F.dropout(t, p) * t.detach()).backward(tg.ones(shape, device=t.device))
            return t.grad

        def forward(t: Any) -> Any:
            tg.manual_seed(7)
            return F.dropout(t, p)

        same(forward, x)
        same(gradient, x)

    def test_of_channels(self) -> None:
        def forward(t: Any) -> Any:
            tg.manual_seed(7)
            return F.dropout2d(t, 0.5)

        same(forward, np.ones((4, 6, 5, 5), np.float32))

    def test_is_part_of_what_is_around_it(self) -> None:
        x = tg.ones(33, 70, device="gl")
        assert launches(lambda: F.dropout(x, 0.3)) == 1
        assert launches(lambda: F.dropout((x * 2).relu(), 0.3) + x) == 1


def test_seeds_are_no_part_of_a_kernel(gl_target: str) -> None:
    tg.randn(10, device="gl").cpu()
    compiles = use(gl_target).counters()["compiles"]
    tg.manual_seed(99)
    tg.randn(10, device="gl").cpu()
    assert use(gl_target).counters()["compiles"] == compiles


def test_the_table_of_normals_is_uploaded_once(gl_target: str) -> None:
    place = device("gl")
    tg.randn(3, device=place).cpu()
    uploads = use(gl_target).counters()["uploads"]
    tg.randn(4, 5, device=place).cpu()
    tg.randn(6, device=place).cpu()
    assert use(gl_target).counters()["uploads"] == uploads
