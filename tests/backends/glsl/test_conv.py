"""Convolution and its adjoints on device "gl": every way to compute them, on both targets, against float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl import primitives as p
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Variant
from tensorgl.backends.glsl.lowering import conv_choice
from tensorgl.backends.glsl.lowering.conv_choice import CONV, CONV_WEIGHT, Problem, apart
from tensorgl.backends.glsl.lowering.conv_shapes import Geometry, geometry
from tensorgl.backends.glsl.memory import bucket
from tensorgl.backends.glsl.tuning import Tuning
from tensorgl.dispatch import call2
from tensorgl.primitives.contraction import conv_size
from tests.backends.glsl.test_validation import DIALECTS
from tests.backends.glsl.validation import TextDevice, complaints
from tests.gl import GL, use

FRAGMENT = Limits("fragment", "", "", True, 8, 16, 1 << 24, 16384, 1 << 14, 256)
COMPUTE = replace(FRAGMENT, target="compute", rows=0)


class Shape(NamedTuple):
    """Shapes of input and weight, and the parameters of a convolution."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def positions(self) -> tuple[int, ...]:
        """The spatial size of the result."""
        return tuple(
            map(conv_size, self.x[2:], self.w[2:], self.stride, self.padding, self.dilation)
        )

    @property
    def geometry(self) -> Geometry:
        """As the lowering sees it."""
        return geometry(self.x, self.w, self.positions, *self[2:])


def plane(
    x: str, w: str, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Shape:
    """A convolution of two spatial dims: `plane("8 16 14 14", "32 16 3 3", padding=1)`."""
    a, b = (tuple(map(int, s.split())) for s in (x, w))
    return Shape(a, b, (stride,) * 2, ((padding, padding),) * 2, (dilation,) * 2, groups)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Convolutions of all kinds, small."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 1, 2, 4, 8]))
    inner = 1 if groups == 8 else draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    outer = draw(st.sampled_from([1, 1, 2, 3, 4, 6, 8]))
    taps, stride, dilation, padding, size = [], [], [], [], []
    for k in range(rank):
        taps.append(draw(st.integers(1, 8 if rank == 1 else 4)))
        stride.append(draw(st.integers(1, 3)))
        dilation.append(draw(st.sampled_from([1, 1, 1, 2, 3])))
        before = draw(st.integers(0, 3))
        after = draw(st.integers(-1, 3))
        reach = dilation[-1] * (taps[-1] - 1) + 1
        least = max(1, reach - before - after)
        most = 12 if k == rank - 1 else 6
        size.append(draw(st.integers(least, max(least, most))))
        padding.append((before, after))
    images = draw(st.sampled_from([1, 2, 3, 5, 8, 9, 16]))
    return Shape(
        (images, inner * groups, *size),
        (outer * groups, inner, *taps),
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
    )


def numbers(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def results(case: Shape, device: str, dtype: Any) -> list[Any]:
    """The convolution and both adjoints, by the primitives."""
    x, w = (tg.tensor(numbers(s, k), dtype=dtype, device=device) for k, s in enumerate(case[:2]))
    params = case[2:]
    g = tg.tensor(numbers((case.x[0], case.w[0], *case.positions), 2), dtype=dtype, device=device)
    found = (
        call2(p.conv, x, w, params),
        call2(p.conv_input, g, w, (case.x[2:], *params)),
        call2(p.conv_weight, g, x, (case.w[2:], *params)),
    )
    return [r.cpu().numpy() for r in found]


def check(case: Shape, dtype: Any = tg.float32, tolerance: float = 2e-6) -> None:
    """That gl computes what the numpy backend computes in float64."""
    expected = results(case, "cpu", tg.float64)
    for name, a, b in zip(
        ("conv", "conv_input", "conv_weight"), results(case, "gl", dtype), expected, strict=True
    ):
        assert a.shape == b.shape
        error = abs(a - b).max() / max(abs(b).max(), 1e-3)
        assert error < tolerance, f"{name} of {case}: {error}"


WAYS = {
    "rows": [
        plane("8 16 14 14", "32 16 3 3", padding=1),
        plane("3 8 9 7", "4 8 3 3", padding=1),
        plane("9 6 14 14", "16 6 5 5"),
        plane("8 8 12 12", "8 8 3 3", stride=2, padding=1),
        plane("5 4 7 7", "8 4 3 3", stride=2, padding=1),
        plane("5 8 9 9", "8 4 3 3", stride=2, padding=1, groups=2),
        plane("2 12 8 8", "24 4 3 3", padding=2, dilation=2, groups=3),
        plane("8 8 8 8", "1 8 3 3", padding=1),
        plane("1 4 5 5", "4 4 1 1", stride=3),
        Shape((4, 8, 20), (4, 8, 5), (2,), ((2, 1),), (1,)),
        Shape((9, 4, 5, 6, 8), (8, 4, 3, 2, 3), (1, 2, 2), ((1, 1), (1, -1), (0, 1)), (2, 1, 1)),
    ],
    "planes": [
        plane("8 1 28 28", "6 1 5 5", padding=2),
        plane("4 1 12 12", "16 1 3 3", padding=1),
        plane("8 3 16 16", "8 3 7 7", stride=2, padding=3),
        Shape((8, 2, 4, 4, 8), (9, 2, 3, 3, 2), (1, 2, 1), ((1, 1), (1, 1), (1, 0)), (2, 1, 1)),
    ],
    "depthwise": [
        plane("9 8 9 9", "8 1 3 3", padding=1, groups=8),
        plane("4 12 8 9", "12 1 3 2", stride=2, padding=1, dilation=2, groups=12),
        Shape((2, 4, 3, 4, 5), (4, 1, 2, 2, 3), (1, 2, 1), ((1, 0), (0, 1), (1, 1)), (1, 1, 1), 4),
        # in planes
        plane("9 8 9 8", "8 1 3 3", padding=1, groups=8),
        plane("3 4 7 12", "4 1 7 7", padding=3, groups=4),
        plane("5 4 16 16", "4 1 5 5", stride=2, padding=2, groups=4),
        Shape((2, 4, 3, 4, 8), (4, 1, 2, 2, 3), (1, 1, 1), ((1, 0), (2, 1), (1, 1)), (2, 2, 1), 4),
    ],
    "plain": [
        plane("3 5 7 7", "4 5 3 3", padding=1),
        plane("3 6 7 7", "4 3 3 3", stride=2, padding=1, dilation=2, groups=2),
        Shape((2, 3, 9), (5, 3, 4), (3,), ((2, -1),), (2,)),
    ],
}
FEW = [
    plane("13 16 14 14", "32 16 3 3", padding=1),
    plane("12 16 9 7", "8 16 3 3", stride=2, padding=1),
    plane("7 1 28 28", "16 1 3 3", padding=1),
    plane("16 1 28 28", "10 1 5 5", padding=2),
    plane("9 1 13 11", "4 1 3 3", padding=1),
    plane("14 8 9 9", "8 1 3 3", padding=1, groups=8),
    plane("14 8 12 12", "8 1 3 3", padding=1, groups=8),
]
"""For numbers of render targets that do not divide the batch."""
WINDOWS = [
    plane("13 16 14 14", "32 16 3 3", padding=1),
    plane("1 8 9 7", "4 8 3 3", padding=1),
    plane("4 4 5 6", "8 4 3 3"),
    plane("3 4 4 4", "4 4 3 3", padding=3),
    Shape((2, 4, 6, 7), (4, 4, 3, 3), (1, 1), ((2, -1), (0, 2)), (1, 1)),
]
NAMES = {"plain": "conv"}
CASES = [
    pytest.param(way, case, id=f"{way}-{k}")
    for way, group in WAYS.items()
    for k, case in enumerate(group)
]


def choice(case: Shape, kind: str, limits: Limits) -> Variant:
    family = CONV_WEIGHT if kind == "conv_weight" else CONV
    return family.cheapest(Problem(case.geometry, kind), limits)


def kernel(case: Shape, kind: str, limits: Limits) -> str:
    return choice(case, kind, limits).kernel


@pytest.mark.parametrize(("way", "case"), CASES)
def test_each_way(gl_target: str, way: str, case: Shape) -> None:
    assert kernel(case, "conv", use(gl_target).device.limits) == NAMES.get(way, f"conv.{way}")
    check(case)


@pytest.mark.parametrize("least", [0, conv_choice.WINDOWS_WORTH], ids=["windows", "rows"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_texts_are_valid(
    dialect: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv_choice, "WINDOWS_WORTH", least)
    device = TextDevice(DIALECTS[dialect])
    before = install(GL, GlslBackend(device))
    try:
        for group in WAYS.values():
            for case in group:
                results(case, "gl", tg.float32)
    finally:
        install(GL, before)
    assert complaints(set(device.sources), device.limits.target, tmp_path) == ""


@pytest.mark.usefixtures("gl_target")
class TestPrimitives:
    @settings(max_examples=25)
    @given(case=shapes())
    def test_any_shape(self, case: Shape) -> None:
        check(case)

    @pytest.mark.parametrize("buffers", [2, 4, 6])
    @pytest.mark.parametrize("case", FEW, ids=str)
    def test_few_render_targets(
        self, case: Shape, buffers: int, gl_target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = use(gl_target)
        limits = replace(backend.device.limits, draw_buffers=buffers)
        monkeypatch.setattr(backend, "tuning", Tuning(limits))
        backend._plans.clear()  # those of more targets
        check(case)
        backend._plans.clear()

    @pytest.mark.parametrize("buffers", [4, 6, 8])
    @pytest.mark.parametrize("case", WINDOWS, ids=str)
    def test_windows(
        self, case: Shape, buffers: int, gl_target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = use(gl_target)
        limits = replace(backend.device.limits, draw_buffers=buffers, software=True)
        monkeypatch.setattr(backend, "tuning", Tuning(limits))
        monkeypatch.setattr(conv_choice, "WINDOWS_WORTH", 0)
        way = "conv.rows" if gl_target == "compute" else "conv.window"
        assert kernel(case, "conv", limits) == way
        backend._plans.clear()
        check(case)
        check(case, tg.float16, 4e-3)
        backend._plans.clear()

    def test_half_precision(self) -> None:
        check(plane("8 8 6 6", "8 8 3 3", padding=1), tg.float16, 4e-3)
        check(plane("4 1 8 8", "8 1 3 3", padding=1), tg.float16, 4e-3)

    def test_nothing_to_add(self) -> None:
        empty = tg.ones(0, 4, 5, 5, device="gl")
        w = tg.ones(8, 4, 3, 3, device="gl", requires_grad=True)
        out = tg.nn.functional.conv2d(empty, w)
        assert out.shape == (0, 8, 3, 3)
        out.sum().backward()
        assert w.grad is not None
        assert not w.grad.any()


@pytest.mark.usefixtures("gl_target")
class TestOperands:
    """Operands that lie in memory in other ways."""

    x, w = numbers((8, 8, 6, 6), 0), numbers((12, 8, 3, 3), 1)

    def same(self, x: tg.Tensor, w: tg.Tensor) -> None:
        """That a convolution of these operands is that of copies of them on the cpu."""
        actual = tg.nn.functional.conv2d(x, w, padding=1).cpu().numpy()
        expected = tg.nn.functional.conv2d(x.cpu(), w.cpu(), padding=1).numpy()
        assert abs(actual - expected).max() < 2e-6 * abs(expected).max()

    def test_channels_last(self) -> None:
        x = tg.tensor(self.x.transpose(0, 2, 3, 1), device="gl").permute(0, 3, 1, 2)
        self.same(x, tg.tensor(self.w, device="gl"))

    def test_part_of_a_batch(self) -> None:
        x = tg.tensor(numbers((9, 1, 8, 8), 0), device="gl")
        w = tg.tensor(numbers((8, 1, 3, 3), 1), device="gl")
        self.same(x[1:], w)
        self.same(x[3:7], w)

    def test_every_second_weight_and_pixel(self) -> None:
        x, w = tg.tensor(self.x, device="gl"), tg.tensor(self.w, device="gl")
        self.same(x[:, :, ::2], w[::2])
        self.same(x, w.flip(2).transpose(2, 3))

    def test_result_of_a_convolution(self) -> None:
        x, w = tg.tensor(self.x, device="gl"), tg.tensor(self.w, device="gl")
        first = tg.nn.functional.conv2d(x, w, padding=1).relu()
        self.same(first, tg.tensor(numbers((5, 12, 3, 3), 2), device="gl"))
        self.same(first[:, 4:], w)

    def test_bias_and_relu_are_computed_with_it(self) -> None:
        backend = backend_of(GL)
        x, w, bias = (tg.tensor(a, device="gl") for a in (self.x, self.w, numbers((12,), 2)))
        backend.synchronize()
        before = backend.counters()["launches"]
        out = tg.nn.functional.conv2d(x, w, bias, padding=1).relu()
        backend.synchronize()
        assert (
            backend.counters()["launches"] - before <= 3
        )  # weights packed, input channels last, and it
        expected = tg.nn.functional.conv2d(*(v.cpu() for v in (x, w, bias)), padding=1).relu()
        np.testing.assert_allclose(out.cpu().numpy(), expected.numpy(), rtol=0, atol=2e-5)

    def test_depthwise_takes_images_as_they_lie(self) -> None:
        backend = backend_of(GL)
        values, taps = numbers((4, 8, 8, 8), 0), numbers((8, 1, 3, 3), 1)
        expected = tg.nn.functional.conv2d(tg.tensor(values), tg.tensor(taps), padding=1, groups=8)
        planes, w = tg.tensor(values, device="gl"), tg.tensor(taps, device="gl")
        last = tg.nn.functional.conv2d(planes, tg.eye(8, device="gl").reshape(8, 8, 1, 1))
        for x, order in ((planes, None), (last, (0, 2, 3, 1))):
            backend.synchronize()
            before = backend.counters()["launches"]
            out = tg.nn.functional.conv2d(x, w, padding=1, groups=8)
            backend.synchronize()
            assert backend.counters()["launches"] - before == 2  # weights packed, and it
            assert out._data.buffer.order == order
            np.testing.assert_allclose(out.cpu().numpy(), expected.numpy(), rtol=0, atol=2e-5)

    def test_packed_weights_of_a_layer_are_one_launch(self) -> None:
        backend = backend_of(GL)
        x, w = (tg.tensor(a, device="gl", requires_grad=True) for a in (self.x, self.w))
        g = tg.tensor(numbers((8, 12, 6, 6), 2), device="gl")
        backend.synchronize()
        before = backend.counters()["launches"]
        out = tg.nn.functional.conv2d(x, w, padding=1)
        (grad,) = tg.autograd.grad(out, x, g)
        backend.synchronize()
        assert (
            backend.counters()["launches"] - before <= 5
        )  # x and g are arranged, then two kernels
        assert out.shape == (8, 12, 6, 6)
        assert grad.shape == x.shape

    def test_a_nan_spoils_its_windows_only(self) -> None:
        x = self.x.copy()
        x[3, 2, 1, 4] = np.nan
        out = tg.nn.functional.conv2d(
            tg.tensor(x, device="gl"), tg.tensor(self.w, device="gl"), padding=1
        )
        spoilt = np.zeros(out.shape, bool)
        spoilt[3, :, 0:3, 3:6] = True
        assert (np.isnan(out.cpu().numpy()) == spoilt).all()

    def test_second_gradient(self) -> None:
        def grads(device: str, dtype: Any) -> list[Any]:
            x, w = (
                tg.tensor(a, dtype=dtype, device=device, requires_grad=True)
                for a in (self.x, self.w)
            )
            out = tg.nn.functional.conv2d(x, w, stride=2, padding=1)
            (g,) = tg.autograd.grad(out.square().sum(), x, create_graph=True)
            return [v.cpu().numpy() for v in tg.autograd.grad(g.square().sum(), (x, w))]

        for a, b in zip(grads("gl", tg.float32), grads("cpu", tg.float64), strict=True):
            assert abs(a - b).max() < 1e-5 * abs(b).max()


class TestChoice:
    """What is decided without a device."""

    def test_few_channels_go_in_planes_where_targets_suffice(self) -> None:
        first = plane("64 1 28 28", "16 1 3 3", padding=1)
        assert kernel(first, "conv_input", FRAGMENT) == "conv.rows"
        for kind, least in (("conv", 4), ("conv_weight", 3)):
            for buffers in range(1, 9):
                way = kernel(first, kind, replace(FRAGMENT, draw_buffers=buffers))
                assert way == f"{kind}.{'planes' if buffers >= least else 'rows'}"

    def test_planes_need_whole_rows_in_each_target(self) -> None:
        odd = plane("5 1 28 28", "6 1 5 5", padding=2)
        assert kernel(odd, "conv", COMPUTE) == "conv.planes"
        assert kernel(odd, "conv", FRAGMENT) == "conv.rows"

    @pytest.mark.parametrize("limits", [replace(FRAGMENT, draw_buffers=n) for n in (8, 7, 6, 4)])
    @given(images=st.integers(1, 100), texels=st.integers(1, 2000))
    def test_blocks_are_whole_rows(self, limits: Limits, images: int, texels: int) -> None:
        case = Shape((images, 16, texels, 1), (4, 16, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
        found, p = choice(case, "conv", limits), Problem(case.geometry, "conv")
        assert found.kernel == "conv.rows"
        high = found["R"]
        assert high <= limits.draw_buffers
        assert high * apart(high, p, limits) >= images
        width = bucket(images * texels, limits.rows)[1]
        assert high == 1 or apart(high, p, limits) * texels % width == 0

    def test_compute_shares_more_between_neighbours(self) -> None:
        case = plane("64 16 14 14", "32 16 3 3", padding=1)
        even, odd = case, plane("64 16 14 14", "4 16 3 3", padding=1)
        assert choice(even, "conv", COMPUTE) == Variant.of("conv.rows", R=8, WIDE=2, LOCAL=64)
        assert choice(odd, "conv", COMPUTE) == Variant.of("conv.rows", R=8, WIDE=1, LOCAL=64)
        strided = plane("256 16 14 14", "32 16 3 3", padding=1, stride=2)
        assert choice(strided, "conv", FRAGMENT) == Variant.of("conv.rows", R=8, WIDE=1, LOCAL=64)
        more = strided._replace(x=(384, 16, 14, 14))
        few = replace(FRAGMENT, draw_buffers=6)
        assert choice(more, "conv", few) == Variant.of("conv.rows", R=6, WIDE=1, LOCAL=64)

    def test_hardware_gets_more_invocations(self) -> None:
        case = plane("64 16 14 14", "32 16 3 3", padding=1)
        assert choice(case, "conv", replace(COMPUTE, software=False))["R"] < 8
