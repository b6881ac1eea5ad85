"""Sorting and searching on device "gl", on both targets: against cpu, where the order of equals counts too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import primitives as p
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.lowering import sorting
from tensorgl.dispatch import call1
from tests.backends.glsl.both import launches, same
from tests.backends.glsl.validation import ES, TextDevice, complaints, limits
from tests.gl import GL

pytestmark = pytest.mark.usefixtures("gl_target")

SHAPES: list[tuple[tuple[int, ...], int]] = [
    ((1,), 0),
    ((5,), 0),
    ((33,), 0),
    ((1001,), 0),
    ((4097,), 0),
    ((7, 3), 0),
    ((5, 33), 1),
    ((6, 64), 1),
    ((3, 301), 1),
    ((257, 3), 0),
    ((2, 1, 3, 45, 2), 3),
    ((0, 3), 1),
    ((3, 0), 1),
]
"""Shapes and dims that between them take one launch, one run, and merges; rows that begin within texels."""

SOME = [s for s in SHAPES if 4 < s[0][s[1]] < 4000 and 1 not in s[0][1:]]

EDGES = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38], np.float32)
EXTREMES = np.array([-(2**31), 2**31 - 1, -1, 0, 1], np.int64)


def data(kind: str, shape: tuple[int, ...]) -> Any:
    """Values of a kind: with many equal ones, unless they are "normal"."""
    rng = np.random.default_rng(len(shape) + sum(shape))
    if kind == "normal":
        return rng.standard_normal(shape).astype(np.float32)
    if kind == "edges":
        return rng.choice(EDGES, shape)
    if kind == "extremes":
        return rng.choice(EXTREMES, shape)
    return rng.integers(0, 9 if kind != "bool" else 2, shape).astype(kind)


KINDS = ["normal", "edges", "extremes", "float16", "int32", "uint8", "bool"]


@pytest.fixture(params=["", "short runs", "work groups"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Sorting as it is, with runs of few elements, and as hardware sorts them."""
    backend: Any = backend_of(GL)
    if request.param == "short runs":
        monkeypatch.setattr(sorting, "SHORTEST", 12)
        monkeypatch.setattr(sorting, "LONGEST", 12)
    if request.param == "work groups":
        if backend.device.limits.target == "fragment":
            pytest.skip("there are none in the fragment target")
        monkeypatch.setattr(sorting, "GROUP", 64)
        monkeypatch.setattr(
            backend.device, "limits", replace(backend.device.limits, software=False)
        )
    backend._plans.clear()
    yield request.param
    backend._plans.clear()


@pytest.mark.usefixtures("way")
class TestOrder:
    @pytest.mark.parametrize("kind", KINDS)
    def test_argsort(self, kind: str) -> None:
        for shape, dim in SHAPES:
            for descending in (False, True):
                params = dim, descending
                same(lambda x, q=params: call1(p.argsort, x, q), data(kind, shape))

    @pytest.mark.parametrize("largest", [False, True])
    def test_first_of_the_order(self, largest: bool) -> None:
        for shape, dim in SOME:
            for k in (0, 1, 5, shape[dim]):
                params = dim, k, largest
                same(lambda x, q=params: call1(p.argtopk, x, q), data("edges", shape))

    @pytest.mark.parametrize("kind", ["edges", "int32"])
    def test_place_in_the_order(self, kind: str) -> None:
        """Which of equal elements it is, is not said."""
        for shape, dim in SOME:
            for k in (1, shape[dim] - 1):
                params = k, dim
                same(lambda x, q=params: x.kthvalue(*q)[0], data(kind, shape))


def test_many_elements() -> None:
    a = np.random.default_rng(0).integers(-50, 50, 2_000_003).astype(np.float32)
    order = tg.tensor(a, device="gl").argsort()
    np.testing.assert_array_equal(order.cpu().numpy(), np.argsort(a, kind="stable"))
    best = tg.tensor(a, device="gl").topk(7)[1]
    np.testing.assert_array_equal(best.cpu().numpy(), np.argsort(-a, kind="stable")[:7])


FUNCTIONS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "sort": lambda x: x.sort(1)[0],
    "strided": lambda x: x[1:, ::3].argsort(0),
    "expanded": lambda x: x[0].expand(4, -1).argsort(1, True),
    "expression": lambda x: (x * -2 + 1).argsort(-1) + 1,
    "ends it": lambda x: x.argsort(0).float().sqrt() * 2,
    "sorted again": lambda x: x.argsort(1).argsort(1),
    "msort": lambda x: x.msort(),
    "topk": lambda x: x.topk(3, 0)[0],
    "median": lambda x: x.median(1)[0],
    "nanmedian": lambda x: x.nanmedian(0)[0],
    "median of all": lambda x: x.median(),
    "mode": lambda x: x.mode(0)[1],
    "quantile": lambda x: x.quantile(0.25, 1, interpolation="nearest"),
    "unique": lambda x: x.unique(),
    "isin": lambda x: tg.isin(x, x[0]),
    "of one": lambda x: x[0, 0].sort()[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ops_built_on_it(name: str) -> None:
    for kind in ("normal", "int32", "uint8"):
        if kind == "normal" or name != "quantile":
            same(FUNCTIONS[name], data(kind, (9, 70)))


class TestSearch:
    @pytest.mark.parametrize("right", [False, True])
    @pytest.mark.parametrize("kind", ["normal", "edges", "extremes", "uint8", "float16"])
    def test_in_one_sequence(self, kind: str, right: bool) -> None:
        for n in (0, 1, 4, 7, 64, 1000):
            sequence = np.sort(data(kind, (n,)))
            for shape in ((), (3,), (5, 7), (2, 0)):
                same(
                    lambda s, v: tg.searchsorted(s, v, right=right),
                    sequence,
                    np.asarray(data(kind, shape)),
                )

    @pytest.mark.parametrize("right", [False, True])
    def test_in_rows(self, right: bool) -> None:
        for shape, m in (((3, 5), 7), ((2, 3, 8), 1), ((4, 1), 3), ((3, 0), 2)):
            sequence = np.sort(data("int32", shape), -1)
            values = data("int32", (*shape[:-1], m))
            same(lambda s, v: tg.searchsorted(s, v, right=right), sequence, values)

    def test_of_an_expression_in_a_view(self) -> None:
        same(
            lambda s, v: tg.searchsorted(s.sort()[0][::2], v * 2 + 1).float() / 2,
            data("normal", (90,)),
            data("normal", (3, 11)),
        )

    def test_bucketize(self) -> None:
        edges = np.sort(data("normal", (20,)))
        same(lambda x, e: tg.bucketize(x, e), data("normal", (6, 5)), edges)


def test_launches() -> None:
    few, some = (tg.randn(n, device="gl") for n in (24, 2000))
    many = tg.randn(1 << 17, device="gl")
    rows = tg.randn(40, 60, device="gl")
    assert launches(lambda: few.argsort()) == 1
    assert launches(lambda: some.argsort()) <= 2
    assert launches(lambda: some.sort()[0]) <= 3
    assert launches(lambda: rows.argsort(0)) <= 2
    assert launches(lambda: many.argsort()) <= 11  # one more for each doubling
    assert launches(lambda: many.topk(5)[1]) <= 6
    assert launches(lambda: tg.searchsorted(some, many)) == 1


DIALECTS = {
    "compute": limits("compute"),
    "work groups": limits("compute", software=False),
    "fragment": limits("fragment"),
    "browser": limits("fragment", ES),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_shaders_are_valid(dialect: str, tmp_path: Path) -> None:
    made = TextDevice(DIALECTS[dialect])
    before = install(GL, GlslBackend(made))
    try:
        for kind in ("normal", "int32", "float16", "bool"):
            for shape, dim in (*SHAPES, ((100_000,), 0), ((3, 10_000), 1)):
                x = tg.tensor(data(kind, shape), device="gl")
                kept = [x.argsort(dim, True)]
                if shape[dim] > 1:
                    kept.append(call1(p.argtopk, x, (dim, 2, False)))
                    kept.append(call1(p.argkth, x, (dim, 1)))
                    kept.append(tg.searchsorted(x.reshape(-1), x + x))
                backend_of(GL).flush()
        assert complaints(set(made.sources), made.limits.target, tmp_path) == ""
    finally:
        install(GL, before)
