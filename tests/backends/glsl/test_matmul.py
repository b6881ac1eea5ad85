"""Matmul on device "gl": against float64 on both targets, every kernel, and what is chosen when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl.backends import backend_of
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Variant
from tensorgl.backends.glsl.lowering.matmul_choice import (
    MATMUL,
    PLAIN,
    ROWS,
    TILED,
    Problem,
    Side,
    shape_class,
)
from tensorgl.backends.glsl.memory import Buffer
from tensorgl.backends.glsl.tuning import Tuning
from tests.gl import GL, use

SIZES = st.integers(1, 40)


def numbers(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def check(actual: tg.Tensor, a: Any, b: Any) -> None:
    """That a result is a @ b up to rounding: an eighth of the bound on a sum in float32."""
    a, b = a.astype("f8"), b.astype("f8")
    result = actual.cpu().numpy()
    assert result.shape == (a @ b).shape
    bound = max(a.shape[-1], 8) * 2.0**-24 * (abs(a) @ abs(b))
    assert (abs(result - a @ b) <= bound + 1e-30).all()


@st.composite
def views(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A recipe for a tensor of this shape that is a view, and its name: (tensor, array) -> same."""
    rows, columns = shape[-2:]
    lead = shape[:-2]
    kind = draw(st.sampled_from(["dense", "transposed", "window", "every second", "permuted"]))
    if kind == "dense":
        return shape, lambda x: x
    if kind == "transposed":
        return (*lead, columns, rows), lambda x: x.swapaxes(-1, -2)
    if kind == "permuted":
        order = (*range(1, len(shape) - 1), 0, len(shape) - 1)
        inverse = [order.index(d) for d in range(len(shape))]
        return tuple(
            shape[d] for d in order
        ), lambda x: x.permute(inverse) if isinstance(x, tg.Tensor) else x.transpose(inverse)
    if kind == "window":
        top, left = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        right = draw(st.sampled_from([0, 1, 4]))
        return (*lead, rows + top, columns + left + right), lambda x: x[
            ..., top:, left : left + columns
        ]
    return (*lead, rows, 2 * columns), lambda x: x[..., ::2]


@st.composite
def products(draw: st.DrawFn) -> tuple[Any, Any]:
    """Shapes of two memories and what makes operands of them."""
    m, n, k = draw(SIZES), draw(SIZES), draw(SIZES)
    batch = draw(st.sampled_from([(), (), (3,), (2, 3), (2, 1, 3)]))
    dropped = [draw(st.integers(0, len(batch))) for _ in range(2)]
    leads = [tuple(1 if draw(st.booleans()) else s for s in batch[d:]) for d in dropped]
    return draw(views((*leads[0], m, k))), draw(views((*leads[1], k, n)))


@given(products())
@settings(max_examples=30)
def agrees(product: tuple[Any, Any]) -> None:
    arrays, tensors = [], []
    for seed, (shape, view) in enumerate(product):
        memory = numbers(shape, seed)
        arrays.append(view(memory))
        tensors.append(view(tg.tensor(memory, device="gl")))
    check(tensors[0] @ tensors[1], *arrays)


def test_any_shape_and_strides(gl_target: str) -> None:
    agrees()


STRIDES = {"row-major": (0, 0), "a transposed": (1, 0), "b transposed": (0, 1), "both": (1, 1)}
RAGGED = 3, 37, 6, 50
WHOLE = 1, 36, 20, 68


def tiled(bm: int, bn: int, bk: int, tm: int, tn: int, parts: int = 1, pad: int = 0) -> Variant:
    return Variant.of(TILED, BM=bm, BN=bn, BK=bk, TM=tm, TN=tn, PARTS=parts, PAD=pad)


CHOICES = [
    Variant.of(PLAIN),
    *(
        Variant.of(ROWS, R=r, PARTS=parts, PAD=0, LOCAL=64)
        for r in (8, 6, 4, 1)
        for parts in (1, 3)
    ),
    Variant.of(ROWS, R=8, PARTS=1, PAD=3, LOCAL=64),
    Variant.of(ROWS, R=6, PARTS=2, PAD=3, LOCAL=64),
    tiled(128, 128, 16, 8, 8),
    tiled(32, 32, 16, 4, 4, 3),
    tiled(128, 64, 16, 8, 4, 2, 2),
    tiled(32, 64, 8, 4, 8),
]


@pytest.mark.parametrize("buffers", [4, 6])
@pytest.mark.parametrize("shape", [(1, 97, 130, 63), (3, 50, 36, 40), (1, 512, 200, 64)], ids=str)
def test_few_render_targets(
    shape: Any, buffers: int, gl_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = use(gl_target)
    limits = replace(backend.device.limits, draw_buffers=buffers)
    monkeypatch.setattr(backend, "tuning", Tuning(limits))
    backend._plans.clear()  # those of more targets
    g, m, n, k = shape
    a, b = numbers((g, m, k)), numbers((g, k, n), 1)
    x, y = tg.tensor(a, device="gl"), tg.tensor(b, device="gl")
    check(x @ y, a, b)
    c = numbers((g, k, m), 2)
    check(tg.tensor(c, device="gl").swapaxes(-1, -2) @ y, c.swapaxes(-1, -2), b)
    backend._plans.clear()


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize(
    ("shape", "strides"), [*((WHOLE, s) for s in STRIDES), (RAGGED, "row-major"), (RAGGED, "both")]
)
def test_every_kernel(
    choice: Variant, shape: Any, strides: str, gl_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if choice.kernel == TILED and gl_target == "fragment":
        pytest.skip("a kernel of the compute target")
    if choice.get("R", 1) == 6 and gl_target == "compute":
        pytest.skip("a number of render targets")
    g, m, n, k = shape
    backend_of(GL)._plans.clear()  # those of other choices
    monkeypatch.setattr(use(gl_target).tuning, "choose", lambda family, p: choice)
    operands, arrays = [], []
    for seed, (flip, size) in enumerate(zip(STRIDES[strides], ((m, k), (k, n)), strict=True)):
        memory = numbers((g, *(size[::-1] if flip else size)), seed)
        x = tg.tensor(memory, device="gl")
        operands.append(x.swapaxes(-1, -2) if flip else x)
        arrays.append(memory.swapaxes(-1, -2) if flip else memory)
    check(operands[0] @ operands[1], *arrays)
    backend_of(GL)._plans.clear()


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(64, 784, 256), (64, 1568, 10), (1, 3000, 64), (300, 500, 1), (1, 9000, 1), (1000, 9, 6)],
)
def test_shapes_of_networks(m: int, k: int, n: int, gl_target: str) -> None:
    a, b = numbers((m, k)), numbers((k, n), 1)
    x, y = tg.tensor(a, device="gl"), tg.tensor(b, device="gl")
    check(x @ y, a, b)
    transposed = tg.tensor(np.ascontiguousarray(b.T), device="gl")
    check(x @ transposed.T, a, b)
    check(tg.tensor(np.ascontiguousarray(a.T), device="gl").T @ y, a, b)


def test_nothing_to_sum_is_zero(gl_target: str) -> None:
    x = tg.zeros(3, 0, device="gl") @ tg.zeros(0, 5, device="gl")
    assert x.cpu().numpy().tolist() == np.zeros((3, 5)).tolist()
    for a, b in (((0, 4), (4, 5)), ((0, 3, 4), (4, 5)), ((2, 0, 0), (2, 0, 5))):
        x = tg.zeros(*a, device="gl") @ tg.zeros(*b, device="gl")
        assert x.cpu().numpy().shape == (np.zeros(a) @ np.zeros(b)).shape


@pytest.mark.parametrize("name", ["int32", "int64", "uint8", "int8", "int16"])
def test_integers_wrap_as_their_dtype_does(name: str, gl_target: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 120, s).astype(name) for s in ((3, 5, 17), (17, 6)))
    result = tg.tensor(a, device="gl") @ tg.tensor(b, device="gl")
    positive = (result > 0).cpu().numpy()
    assert np.array_equal(result.cpu().numpy(), a @ b)
    assert np.array_equal(positive, a @ b > 0)


def test_half_precision_sums_in_single(gl_target: str) -> None:
    a, b = (numbers(s, k).astype("f2") for k, s in enumerate(((20, 2000), (2000, 20))))
    result = (tg.tensor(a, device="gl") @ tg.tensor(b, device="gl")).cpu().numpy()
    expected = a.astype("f8") @ b.astype("f8")
    assert result.dtype == np.float16
    assert (abs(result - expected) <= 2.0**-11 * abs(expected) + 1e-4).all()


def test_what_follows_is_part_of_the_last_launch(gl_target: str) -> None:
    a, b, c = numbers((64, 96)), numbers((96, 128), 1), numbers((128,), 2)
    x, w, bias = (tg.tensor(t, device="gl") for t in (a, b, c))
    tg.relu(x @ w)
    backend_of(GL).flush()
    counts = []
    for f in (lambda: x @ w, lambda: tg.relu(x @ w + bias)):
        result = f()
        before = backend_of(GL).counters()["launches"]
        backend_of(GL).flush()
        counts.append(backend_of(GL).counters()["launches"] - before)
    assert counts[0] == counts[1]
    expected = np.maximum(a.astype("f8") @ b + c, 0)
    assert np.allclose(result.cpu().numpy(), expected, atol=1e-4)


ORDERS = [(1, 2, 0), (2, 0, 1), (1, 0, 2)]


def permuted(array: Any, order: tuple[int, ...]) -> tg.Tensor:
    """A tensor whose memory has its dims in another order."""
    moved = tg.tensor(np.ascontiguousarray(array.transpose(order)), device="gl")
    x = tg.empty(array.shape, device="gl")
    x._data = backend_of(GL).graph.leaf(x._aval, Buffer(moved._data.buffer.block, 0, order))
    return x


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_operands_in_another_physical_order(order: tuple[int, ...], gl_target: str) -> None:
    a, b = numbers((4, 12, 20)), numbers((20, 16), 1)
    x, y = permuted(a, order), tg.tensor(b, device="gl")
    check(x @ y, a, b)
    check(x[1:] @ y, a[1:], b)
    check(x.reshape(48, 20) @ y, a.reshape(48, 20), b)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_added_to_what_lies_in_another_order(
    order: tuple[int, ...], gl_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = Variant.of(ROWS, R=4, PARTS=1, PAD=0, LOCAL=64)
    monkeypatch.setattr(use(gl_target).tuning, "choose", lambda family, p: choice)
    a, b, c = numbers((4, 12, 20)), numbers((20, 7), 1), numbers((4, 12, 7), 2)
    x, y = tg.tensor(a, device="gl"), tg.tensor(b, device="gl")
    result = permuted(c, order) + x @ y
    assert np.allclose(result.cpu().numpy(), c + a @ b, atol=1e-4)


def limits(**changes: Any) -> Limits:
    usual = Limits(
        target="compute",
        header="#version 430",
        renderer="some device",
        software=False,
        draw_buffers=8,
        inputs=16,
        texels=1 << 28,
        rows=0,
        number_bytes=1 << 14,
        number_alignment=256,
    )
    return replace(usual, **changes)


FRAGMENT = {"target": "fragment", "rows": 16384}


def dense(m: int, n: int, k: int, floats: bool = True) -> Problem:
    """Row-major operands."""
    return Problem(
        (1, 1, 1), m, n, k, Side((0, 0, 0), k, 1, True), Side((0, 0, 0), 1, n, True), floats
    )


def choose(p: Problem, on: Limits) -> Variant:
    return MATMUL.cheapest(p, on)


def test_choice_by_size() -> None:
    assert choose(dense(4096, 4096, 4096), limits()) == tiled(128, 128, 16, 8, 8)
    for software in (False, True):
        fragment = limits(software=software, **FRAGMENT)
        assert choose(dense(2048, 2048, 2048), fragment) == Variant.of(
            ROWS, R=8, PARTS=1, PAD=0, LOCAL=64
        )
        for buffers, rows in ((7, 6), (6, 6), (4, 4)):
            few = replace(fragment, draw_buffers=buffers)
            assert choose(dense(2048, 2048, 2048), few)["R"] == rows
        assert choose(dense(16, 16, 1 << 16), fragment)["PARTS"] > 1
        assert choose(dense(512, 512, 511), fragment)["PAD"] == 1
        assert choose(dense(2, 3, 2), fragment).get("PARTS", 1) == 1
    found = choose(dense(512, 512, 512), limits(software=True))
    assert found == Variant.of(ROWS, R=8, PARTS=1, PAD=0, LOCAL=64)
    assert choose(dense(512, 512, 512, floats=False), limits()).kernel == PLAIN


def test_measured_choices_come_first() -> None:
    p, best = dense(100, 100, 100), Variant.of(ROWS, R=4, PARTS=2, PAD=0, LOCAL=64)
    tuning = Tuning(limits())
    tuning.use({("matmul", shape_class(p)): best})
    assert tuning.choose(MATMUL, p) == best
    like = dense(120, 70, 66)  # 66 and 100 are alike, 120 and 70 too
    assert tuning.choose(MATMUL, like) == MATMUL.cheapest(like, limits()) != best
    other = dense(1000, 100, 100)
    assert tuning.choose(MATMUL, other) == MATMUL.cheapest(other, limits()) != best


def test_a_reshaped_product_read_in_another_order(
    gl_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = use(gl_target)
    known = backend.tuning.choose

    def choose(family: Any, p: Any) -> Variant:
        return (
            Variant.of(ROWS, R=4, PARTS=1, PAD=0, LOCAL=64)
            if family is MATMUL
            else known(family, p)
        )

    monkeypatch.setattr(backend.tuning, "choose", choose)
    backend._plans.clear()

    def grads(device: str) -> Any:
        x = tg.tensor(numbers((4, 8, 6, 6)), device=device, requires_grad=True)
        f, w = (tg.tensor(numbers(s, 1), device=device) for s in ((8, 8, 3, 3), (72, 10)))
        pooled = tg.nn.functional.max_pool2d(tg.nn.functional.conv2d(x, f, padding=1), 2)
        (g,) = tg.autograd.grad((pooled.flatten(1) @ w).square().sum(), x)
        return g.cpu().numpy()

    assert np.allclose(grads("gl"), grads("cpu"), atol=1e-3)
    backend._plans.clear()
