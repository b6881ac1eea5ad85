"""Writing at indices on device "gl": every way of doing it on both targets, against cpu."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
import tensorgl.nn.functional as F
from tensorgl import primitives as p
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.lowering import scattering, sorting
from tensorgl.dispatch import calln
from tests.backends.glsl.both import launches, same
from tests.backends.glsl.validation import ES, TextDevice, complaints, limits
from tests.gl import GL, TARGETS, use

pytestmark = pytest.mark.usefixtures("gl_target")

WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "all look at all": {"FEW": 1},
    "in parts": {"FEW": 1, "PART": 4, "BLOCK": 4},
    "sorted": {"FEW": 1, "SOME": (-(10**9),) * 2},
    "sorted in blocks": {"FEW": 1, "SOME": (-(10**9),) * 2, "PART": 4, "BLOCK": 4},
    "with a table": {"FEW": 1, "SOME": (-(10**9),) * 2, "SEARCHES": (0, 0)},
}


def choose(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this way be taken, whatever the sizes."""
    for name, value in WAYS[way].items():
        monkeypatch.setattr(scattering, name, value)
    if way == "with a table":
        monkeypatch.setattr(sorting, "SHORTEST", 8)
        monkeypatch.setattr(sorting, "LONGEST", 8)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    backend: Any = backend_of(GL)
    choose(request.param, monkeypatch)
    backend._plans.clear()
    yield
    backend._plans.clear()


PUTS: list[tuple[tuple[int, ...], int, tuple[int, ...]]] = [
    ((5,), 0, (11,)),
    ((4, 5), 1, (2, 3)),
    ((3, 4, 8), 1, (9,)),
    ((3, 5, 2, 3, 2), 2, (13,)),
    ((300, 12), 0, (40,)),
    ((4, 3), 0, ()),
    ((4, 3), 0, (0,)),
    ((0, 3), 1, (5,)),
]
"""Shape, dim, shape of the index."""

SCATTERS: list[tuple[tuple[int, ...], int, tuple[int, ...]]] = [
    ((5,), 0, (9,)),
    ((4, 5), 1, (3, 2)),
    ((4, 5), 1, (4, 17)),
    ((4, 8), 1, (4, 8)),
    ((4, 8), 1, (4, 12)),
    ((3, 8), 0, (20, 8)),
    ((2, 3, 4, 5), 2, (2, 3, 9, 5)),
    ((2, 3, 4, 5), 2, (1, 3, 9, 4)),
    ((4, 5), 1, (4, 0)),
]
"""Shape, dim, shape of the index; sources are larger than that."""


def data(shape: Any, dtype: str) -> Any:
    """Small whole numbers, whose sums and products are exact."""
    low = 0 if dtype in ("uint8", "bool") else -2
    high = 2 if dtype == "bool" else 3
    return np.random.default_rng(sum(shape)).integers(low, high, shape).astype(dtype)


def index(n: int, shape: Any, wrap: bool = False) -> Any:
    return np.random.default_rng(n).integers(-n if wrap else 0, n, shape)


def check_put(name: str, dtype: str, wrap: bool, shape: Any, dim: int, chosen: Any) -> None:
    same(
        lambda *x: calln(getattr(p, name), x, (dim, wrap)),
        data(shape, dtype),
        np.asarray(index(max(shape[dim], 1), chosen, wrap)),
        data((*shape[:dim], *chosen, *shape[dim + 1 :]), dtype),
    )


def check_scatter(name: str, dtype: str, shape: Any, dim: int, chosen: Any) -> None:
    params: tuple[Any, ...] = (dim,)
    primitive: Any = getattr(p, name, None)
    if not name.startswith("scatter"):
        primitive, params = p.scatter_reduce, (dim, name)
    source = data([n + d % 2 for d, n in enumerate(chosen)], dtype)
    if name == "prod":
        source %= 2  # small enough for float16 and for 32 bits
    same(
        lambda *x: calln(primitive, x, params),
        data(shape, dtype),
        index(shape[dim], chosen),
        source,
    )


@pytest.mark.usefixtures("way")
class TestValues:
    @pytest.mark.parametrize("name", ["put", "put_add"])
    def test_put(self, name: str) -> None:
        for case in PUTS:
            for wrap in (False, True):
                check_put(name, "float32", wrap, *case)

    @pytest.mark.parametrize("name", ["scatter", "scatter_add", "prod", "amax"])
    def test_scatter(self, name: str) -> None:
        for case in SCATTERS:
            check_scatter(name, "float32", *case)

    @pytest.mark.parametrize("dtype", ["float16", "int64", "uint8", "bool"])
    def test_dtypes(self, dtype: str) -> None:
        for case in PUTS[:3]:
            check_put("put", dtype, True, *case)
            check_put("put_add", dtype, False, *case)
        for case in SCATTERS[2:4]:
            for name in ("scatter", "scatter_add", "prod", "amax", "amin"):
                if dtype != "bool" or name.startswith("scatter"):
                    check_scatter(name, dtype, *case)

    def test_special_values(self) -> None:
        x = np.array([[1, np.nan, 2, -np.inf, -0.0]], np.float32)
        source = np.array([np.nan, 5, np.inf, -1, 3, np.nan, 0, -np.inf, 7, 1, 2], np.float32)[None]
        chosen = index(5, source.shape)
        for reduce in ("sum", "prod", "amax", "amin"):
            with np.errstate(invalid="ignore"):
                same(lambda *a, r=reduce: a[0].scatter_reduce(1, a[1], a[2], r), x, chosen, source)
        same(lambda *a: a[0].scatter(1, *a[1:]), x, chosen, source)

    def test_the_last_of_several_counts(self) -> None:
        chosen = np.array([2, 0, 2, 2, 0, 1, 2, 0, 0])
        out = tg.zeros(4, device="gl").index_put(
            (tg.tensor(chosen, device="gl"),), tg.arange(9.0, device="gl")
        )
        assert out.tolist() == [8, 5, 6, 0]

    def test_indices_out_of_range_are_sent_nowhere(self) -> None:
        x = tg.zeros(6, 4, device="gl")
        far = tg.tensor([9, -7, 6, 2**31 - 1, -(2**31), 3, -20, 100, 7, 8], device="gl")
        rows = tg.ones(10, 4, device="gl")
        for primitive in (p.put, p.put_add):
            for wrap in (False, True):
                out = calln(primitive, (x, far, rows), (0, wrap))
                assert out.sum(1).tolist() == [0, 0, 0, 4, 0, 0]
        for primitive in (p.scatter, p.scatter_add):
            for out in (
                calln(primitive, (x, far[:, None].expand(10, 4), rows), (0,)),
                calln(primitive, (x, (far[:, None] + tg.zeros(10, 4).long().to("gl")), rows), (0,)),
            ):
                assert out.sum(1).tolist() == [0, 0, 0, 4, 0, 0]

    def test_views_and_what_is_before_and_after(self) -> None:
        x, source = data((9, 40), "float32"), data((30, 40), "float32")
        chosen = index(8, (60,))
        for f in (
            lambda x, i, s: x[1:].index_add(0, i[::2], s),
            lambda x, i, s: x.T.index_copy(1, i[:9], s.T[:, :9]) + 1,
            lambda x, i, s: (x * 2).index_add(0, i[:30] + 1, s * s - 1).relu(),
            lambda x, i, s: x.scatter_add(0, i[:30, None].expand(30, 40), s),
            lambda x, i, s: x.scatter(1, i.view(2, 30), s.T[:2]),
        ):
            same(f, x, chosen, source)


def sent(way: str, monkeypatch: pytest.MonkeyPatch, target: str) -> Any:
    """A sum on a target in a way, of numbers whose sum depends on the order."""
    backend: Any = use(target)
    rng = np.random.default_rng(3)
    with monkeypatch.context() as patch:
        choose(way, patch)
        backend._plans.clear()
        chosen = tg.tensor(rng.integers(0, 7, 5000) ** 2 % 7, device="gl")
        rows = tg.tensor(rng.standard_normal((5000, 6)).astype(np.float32), device="gl")
        out = calln(p.put_add, (tg.zeros(7, 6, device="gl"), chosen, rows), (0, False))
        found = out.cpu().numpy()
        backend._plans.clear()
    return found


@pytest.mark.parametrize("way", WAYS)
def test_sums_have_the_same_bits_on_both_targets(
    way: str, monkeypatch: pytest.MonkeyPatch, gl_target: str
) -> None:
    first, *others = [sent(way, monkeypatch, target) for target in (*TARGETS, gl_target)]
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("way", ["as it is", "in parts", "sorted"])
def test_long_sums_are_precise(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of many numbers go to one element: a plain loop of additions would be off by 2e-5."""
    backend: Any = backend_of(GL)
    values = {k: v for k, v in WAYS[way].items() if k in ("FEW", "SOME")}
    for name, value in values.items():
        monkeypatch.setattr(scattering, name, value)
    backend._plans.clear()
    rng = np.random.default_rng(0)
    source = rng.random(100_000).astype(np.float32)
    chosen = rng.integers(0, 50, 100_000) * (rng.random(100_000) < 0.1)
    expected = np.zeros(50)
    np.add.at(expected, chosen, source.astype(np.float64))
    found = tg.zeros(50, device="gl").index_add(
        0, tg.tensor(chosen, device="gl"), tg.tensor(source, device="gl")
    )
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-6)
    backend._plans.clear()


@pytest.mark.parametrize(
    ("vocabulary", "width", "count"), [(50, 64, 500), (700, 63, 3000), (30_000, 64, 2000)]
)
def test_gradient_of_an_embedding(vocabulary: int, width: int, count: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 9, (count, width)).astype(np.float32)
    chosen = rng.integers(0, vocabulary, count) // 2

    def gradient(weight: tg.Tensor, i: tg.Tensor, g: tg.Tensor) -> tg.Tensor:
        weight.requires_grad_()
        F.embedding(i, weight, padding_idx=3).backward(g)
        assert weight.grad is not None
        return weight.grad

    same(gradient, np.zeros((vocabulary, width), np.float32), chosen, rows)


FUNCTIONS: dict[str, Callable[..., tg.Tensor]] = {
    "cross_entropy": lambda x, i: F.cross_entropy(x, i),
    "gather": lambda x, i: (x.gather(1, i[:, None]) ** 2).sum(),
    "max": lambda x, i: x.max(1)[0].sum(),
    "sort": lambda x, i: (x.sort(0)[0] * x.shape[0]).square().sum(),
    "topk": lambda x, i: x.topk(5, 1)[0].exp().sum(),
    "median": lambda x, i: x.median(0)[0].sum(),
    "index": lambda x, i: x[i, i].square().sum(),
    "take": lambda x, i: x.take(i * 3).sin().sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name: str) -> None:
    x = np.random.default_rng(0).standard_normal((40, 10)).astype(np.float32)
    found: list[Any] = []
    for device in ("cpu", "gl"):
        a = tg.tensor(x, device=device, requires_grad=True)
        FUNCTIONS[name](a, tg.tensor(index(10, (40,)), device=device)).backward()
        assert a.grad is not None
        found.append(a.grad.cpu().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=2e-5, atol=1e-6)


def test_writing_in_place() -> None:
    def write(x: tg.Tensor, i: tg.Tensor) -> tg.Tensor:
        x = x.clone()
        x[i] = 1
        x[:, i] += 2
        x[i, i - 10] = x[i - 10, i] * 3
        x.index_fill_(0, i[:1], 7)
        x[x > 2] = -1
        x.scatter_(1, i[:, None], 5.0)
        return x

    same(write, data((12, 10), "float32"), index(10, (12,)))


def test_launches() -> None:
    table = tg.zeros(65, 64, device="gl", requires_grad=True)
    large = tg.zeros(50_000, 64, device="gl", requires_grad=True)
    scores = tg.zeros(64, 10, device="gl", requires_grad=True)
    chosen = tg.tensor(index(65, (2000,)), device="gl")
    labels = tg.tensor(index(10, (64,)), device="gl")
    rows = tg.ones(2000, 64, device="gl")

    def gradient(x: tg.Tensor, y: tg.Tensor, g: tg.Tensor) -> Any:
        return tg.autograd.grad(y, x, g)

    for weight, most in ((table, 3), (large, 4)):
        y = F.embedding(chosen, weight)
        backend_of(GL).flush()
        assert launches(lambda w=weight, y=y: gradient(w, y, rows)) <= most
    y = scores.gather(1, labels[:, None])
    assert launches(lambda: gradient(scores, y, tg.ones_like(y))) == 1
    loss = F.cross_entropy(scores, labels)
    backend_of(GL).flush()
    assert launches(lambda: gradient(scores, loss, tg.ones_like(loss))) <= 2
    assert launches(lambda: scores.detach().index_copy(0, labels[:2], rows[:2, :10])) == 1


def test_indices_are_sorted_once() -> None:
    chosen = tg.tensor(index(1000, (2000,)), device="gl")
    x, rows = tg.zeros(1000, 64, device="gl"), tg.ones(2000, 64, device="gl")
    one = launches(lambda: x.index_add(0, chosen, rows))
    two = launches(lambda: (x.index_add(0, chosen, rows), x.index_add(0, chosen, rows * 2 - 7)))
    assert two <= one + 1


DIALECTS = {
    "compute": limits("compute"),
    "fragment": limits("fragment"),
    "browser": limits("fragment", ES),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_shaders_are_valid(dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = TextDevice(DIALECTS[dialect])
    before = install(GL, GlslBackend(made))
    kept: list[Any] = []
    try:
        for way in WAYS:
            with monkeypatch.context() as patch:
                choose(way, patch)
                backend: Any = backend_of(GL)
                backend._plans.clear()
                for dtype in ("float32", "int64"):
                    for shape, dim, chosen in PUTS:
                        x = tg.tensor(data(shape, dtype), device="gl")
                        i = tg.tensor(index(1, chosen), device="gl")
                        rows = data((*shape[:dim], *chosen, *shape[dim + 1 :]), dtype)
                        source = tg.tensor(rows, device="gl")
                        kept = [calln(f, (x, i, source), (dim, True)) for f in (p.put, p.put_add)]
                        backend.flush()
                    for shape, dim, chosen in SCATTERS:
                        x = tg.tensor(data(shape, dtype), device="gl")
                        i = tg.tensor(index(1, chosen), device="gl")
                        source = tg.tensor(data(chosen, dtype), device="gl")
                        kept = [
                            calln(f, (x, i, source), (dim,)) for f in (p.scatter, p.scatter_add)
                        ]
                        kept += [
                            calln(p.scatter_reduce, (x, i, source), (dim, r))
                            for r in ("prod", "amax")
                        ]
                        backend.flush()
                kept.clear()
        assert complaints(set(made.sources), made.limits.target, tmp_path) == ""
    finally:
        install(GL, before)
