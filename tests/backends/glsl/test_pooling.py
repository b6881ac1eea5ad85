"""Pooling on gl: every primitive against numpy, in both memory orders, and in how many launches."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import dispatch
from tensorgl import primitives as p
from tensorgl.avals import aval
from tensorgl.backends import backend_of
from tensorgl.backends.glsl.memory import Buffer
from tests.gl import GL

pytestmark = pytest.mark.usefixtures("gl_target")

PLAIN = ((0, 0), (0, 0))
# shape, kernel, stride, padding, dilation
GEOMETRIES = {
    "1d": ((2, 3, 11), (3,), (2,), ((1, 1),), (1,)),
    "no batch": ((3, 10), (2,), (2,), ((0, 0),), (1,)),
    "disjoint": ((2, 4, 6, 8), (2, 2), (2, 2), PLAIN, (1, 1)),
    "disjoint, odd": ((2, 3, 7, 9), (2, 2), (2, 2), PLAIN, (1, 1)),
    "pairs": ((3, 2, 6, 12), (2, 2), (2, 2), PLAIN, (1, 1)),
    "pairs, padded": ((1, 3, 5, 12), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "pairs, half a texel": ((1, 1, 2, 12), (2, 2), (2, 2), PLAIN, (1, 1)),
    "pairs of elements": ((1, 3, 6, 14), (3, 2), (1, 2), ((1, 1), (0, 0)), (1, 1)),
    "row, dilated": ((2, 3, 8, 16), (2, 3), (1, 1), ((1, 1), (2, 2)), (2, 2)),
    "row, far apart": ((1, 3, 5, 16), (2, 2), (2, 4), ((1, 1), (1, 3)), (1, 2)),
    "gaps": ((2, 4, 9, 11), (2, 1), (3, 4), PLAIN, (1, 1)),
    "overlapping": ((1, 8, 9, 9), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "same size": ((2, 4, 5, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "dilated": ((2, 5, 11, 12), (3, 2), (2, 1), ((1, 1), (0, 0)), (2, 3)),
    "dilated, by strides": ((1, 4, 12, 12), (2, 3), (3, 2), ((1, 2), (1, 1)), (3, 2)),
    "ceil": ((2, 4, 8, 7), (3, 3), (3, 3), ((0, 1), (0, 2)), (1, 1)),
    "short": ((2, 4, 9, 10), (2, 2), (2, 2), ((0, -1), (0, -2)), (1, 1)),
    "uneven": ((2, 4, 6, 9), (3, 2), (1, 3), ((1, 0), (0, 1)), (1, 1)),
    "loops": ((2, 4, 9, 12), (5, 4), (2, 3), ((2, 2), (1, 1)), (1, 1)),
    "loops, disjoint": ((1, 3, 12, 10), (6, 5), (6, 5), PLAIN, (1, 1)),
    "wide": ((1, 2, 4, 40), (1, 17), (1, 1), ((0, 0), (8, 8)), (1, 1)),
    "many taps": ((1, 2, 18, 20), (17, 16), (1, 1), PLAIN, (1, 1)),
    "whole": ((2, 3, 5, 7), (5, 7), (5, 7), PLAIN, (1, 1)),
    "3d": ((2, 4, 4, 5, 6), (2, 2, 2), (2, 2, 2), ((0, 0),) * 3, (1, 1, 1)),
    "3d, loops": ((1, 3, 5, 6, 7), (3, 3, 3), (1, 2, 1), ((1, 1),) * 3, (1, 1, 1)),
    "no images": ((0, 4, 6, 6), (2, 2), (2, 2), PLAIN, (1, 1)),
}


CASES = [(name, "float32") for name in GEOMETRIES]
CASES += product(["overlapping", "disjoint, odd", "loops"], ["int64", "uint8", "float16"])
every_case = pytest.mark.parametrize(
    ("geometry", "dtype"),
    [(GEOMETRIES[n], d) for n, d in CASES],
    ids=[f"{n}-{d}" for n, d in CASES],
)


def random(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """Values with ties, and some that are special where there are such."""
    rng = np.random.default_rng(3)
    x = rng.integers(-8, 9, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(shape) < 0.05] = np.nan
        x[rng.random(shape) < 0.1] = -np.inf
        x[rng.random(shape) < 0.05] = np.inf
    return x


def on_gl(x: Any, channels: str) -> tg.Tensor:
    """A tensor whose memory holds dim 1 first, last or where it is."""
    if channels == "second" or x.ndim < 3 or not x.size:
        return tg.from_numpy(x).to("gl")
    order = (1, 0, *range(2, x.ndim)) if channels == "first" else (0, *range(2, x.ndim), 1)
    flat = tg.from_numpy(np.ascontiguousarray(x.transpose(order))).to("gl")
    buffer = Buffer(flat._data.buffer.block, 0, order)
    a = aval(x.shape, flat.dtype, GL)
    return dispatch.Tensor(backend_of(GL).graph.leaf(a, buffer), a)


def order_of(x: tg.Tensor) -> Any:
    x.cpu()
    return x._data.buffer.order


def check(primitive: Any, arrays: list[Any], params: Any, tolerance: float = 0.0) -> None:
    """The same values as on cpu, whatever the order of memory."""
    expected = dispatch.calln(primitive, [tg.from_numpy(x) for x in arrays], params)
    for channels in ("second", "first", "last"):
        tensors = [on_gl(x, channels) for x in arrays]
        actual = dispatch.calln(primitive, tensors, params)
        assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
        found = actual.cpu().numpy()
        scale = tolerance * float(np.abs(arrays[0]).max(initial=1)) if tolerance else 0
        np.testing.assert_allclose(found, expected.numpy(), rtol=tolerance, atol=scale)


def numbered(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """Different finite values that float16 holds too."""
    return (
        (np.random.default_rng(4).permutation(int(np.prod(shape))) % 509 - 200)
        .reshape(shape)
        .astype(dtype)
    )


def small(shape: tuple[int, ...], dtype: str) -> Any:
    """Values whose sums every dtype holds."""
    return (numbered(shape) % 7).astype(dtype)


def taps_of(x: Any, params: Any) -> Any:
    return dispatch.call1(p.pool_argmax, tg.from_numpy(x), params).numpy()


@every_case
def test_max_and_its_tap(geometry: Any, dtype: str) -> None:
    shape, *params = geometry
    x = random(shape, dtype)
    check(p.pool_max, [x], tuple(params))
    check(p.pool_argmax, [x], tuple(params))


def test_least_values_are_found() -> None:
    """A window's tap lies inside even where all that it sees is the least value there is."""
    params = ((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1))
    for x in (np.full((1, 4, 5, 5), -np.inf, np.float32), np.full((1, 4, 5, 5), -(2**31))):
        check(p.pool_argmax, [x], params)
        check(p.pool_max, [x], params)


@every_case
def test_sum_and_spread(geometry: Any, dtype: str) -> None:
    shape, *params = geometry
    x = small(shape, dtype)
    check(p.pool_sum, [x], tuple(params), 1e-6)
    n = len(params[0])
    y = dispatch.call1(p.pool_sum, tg.from_numpy(x), tuple(params)).numpy()
    g = small(y.shape, dtype)
    check(p.pool_spread, [g], (shape[-n:], *params), 1e-6)


@every_case
def test_take_and_put(geometry: Any, dtype: str) -> None:
    shape, *params = geometry
    x = numbered(shape, dtype)
    taps = taps_of(x, tuple(params))
    check(p.pool_take, [x, taps], tuple(params))
    g = (
        numbered(taps.shape, dtype)
        if dtype != "float16"
        else (numbered(taps.shape) % 7).astype(dtype)
    )
    n = len(params[0])
    check(p.pool_put, [g, taps], (shape[-n:], *params), 1e-6)


def test_taps_in_the_padding_give_nothing() -> None:
    params = ((2, 2), (2, 2), ((1, 1), (1, 1)), (1, 1))
    x = numbered((1, 4, 4, 4))
    check(p.pool_take, [x, np.zeros((1, 4, 3, 3), np.uint8)], params)
    check(p.pool_put, [numbered((1, 4, 3, 3)), np.zeros((1, 4, 3, 3), np.uint8)], ((4, 4), *params))


@pytest.mark.parametrize("shape", [(4, 16, 130, 131), (1, 3, 700, 1000)])
def test_large(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    params = ((2, 2), (2, 2), PLAIN, (1, 1))
    check(p.pool_max, [x], params)
    taps = taps_of(x, params)
    check(
        p.pool_put, [x[..., : taps.shape[-2], : taps.shape[-1]].copy(), taps], (shape[2:], *params)
    )
    check(p.pool_sum, [x], ((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)), 1e-6)


def launches(run: Any) -> tuple[int, Any]:
    """How many launches a flush takes."""
    backend = backend_of(GL)
    backend.flush()
    before = backend.counters()["launches"]
    result = run()
    backend.flush()
    return backend.counters()["launches"] - before, result


@pytest.mark.parametrize("channels", ["first", "second", "last"])
def test_maximum_and_tap_are_one_launch_and_so_is_the_masked_gradient(channels: str) -> None:
    geometry = ((2, 2), (2, 2), PLAIN, (1, 1))
    x = on_gl(numbered((2, 8, 12, 12)), channels)
    order = x._data.buffer.order
    count, (top, taps) = launches(
        lambda: [dispatch.call1(q, x, geometry) for q in (p.pool_max, p.pool_argmax)]
    )
    assert count == 1
    assert order_of(top) == order_of(taps) == order
    count, g = launches(
        lambda: dispatch.call2(p.pool_put, top, taps, ((12, 12), *geometry)) * (x > 0)
    )
    assert count == 1
    assert order_of(g) == order


def test_what_comes_before_is_computed_in_the_same_kernel_if_once() -> None:
    x = on_gl(numbered((2, 8, 12, 12)) / 64, "last")

    def pooled(kernel: int, stride: int, padding: int) -> Any:
        y = (x * 2 + 1).relu().exp().tanh()
        return tg.nn.functional.max_pool2d(y, kernel, stride, padding)

    count, y = launches(lambda: pooled(2, 2, 0))
    assert count == 1
    count, z = launches(lambda: pooled(3, 1, 1))
    assert count == 2
    z0 = tg.nn.functional.max_pool2d((x.cpu() * 2 + 1).relu().exp().tanh(), 3, 1, 1)
    y0 = tg.nn.functional.max_pool2d((x.cpu() * 2 + 1).relu().exp().tanh(), 2, 2, 0)
    np.testing.assert_allclose(y.cpu().numpy(), y0.numpy(), rtol=1e-5)
    np.testing.assert_allclose(z.cpu().numpy(), z0.numpy(), rtol=1e-5)


def test_strided_operands() -> None:
    """A view of channels-last images, a slice and a flip are read through their strides."""
    images = numbered((2, 9, 10, 4))
    params = ((3, 2), (2, 2), ((1, 1), (0, 0)), (1, 1))
    on_cpu, there = tg.from_numpy(images), tg.from_numpy(images).to("gl")
    for view in (
        lambda t: t.permute(0, 3, 1, 2),
        lambda t: t[:, 1:, ::2],
        lambda t: t.transpose(1, 3),
        lambda t: t.permute(0, 3, 1, 2)[:1].expand(3, -1, -1, -1),
    ):
        for q in (p.pool_max, p.pool_argmax, p.pool_sum):
            expected = dispatch.call1(q, view(on_cpu), params).numpy()
            actual = dispatch.call1(q, view(there), params).cpu().numpy()
            np.testing.assert_array_equal(actual, expected)


def test_training_step_of_two_pooled_layers() -> None:
    """Gradients through max and mean pooling, relu and each other are those on cpu."""
    rng = np.random.default_rng(6)
    start = rng.standard_normal((2, 4, 16, 12)).astype(np.float32)
    found = []
    for device in ("cpu", "gl"):
        x = tg.tensor(start, device=device, requires_grad=True)
        y = tg.nn.functional.max_pool2d((x * 1.5).relu(), 2)
        y = tg.nn.functional.avg_pool2d(y.tanh(), 3, 2, 1)
        (y * y).sum().backward()
        found.append(x.grad.cpu().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)
