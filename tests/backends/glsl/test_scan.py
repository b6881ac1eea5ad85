"""Scans along a dim on device "gl", on both targets: values, precision, special values, gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend
from tests.backends.glsl.test_reduction import INF, SPECIAL, both, check, launches, normal
from tests.backends.glsl.test_reduction import SHAPES as REDUCED
from tests.backends.glsl.validation import ES, TextDevice, complaints, limits
from tests.gl import GL

pytestmark = pytest.mark.usefixtures("gl_target")

SHAPES: list[tuple[tuple[int, ...], int]] = [
    ((1,), 0),
    ((5,), 0),
    ((1003,), 0),
    ((7, 9), 1),
    ((7, 9), 0),
    ((7, 8), 1),
    ((7, 8), 0),
    ((3, 1, 5), 1),
    ((2, 3, 2, 5, 4), 3),
    ((100, 301), 0),
    ((20, 301), 1),
    ((300, 64), 0),
    ((20, 1024), 1),
    ((3, 2100, 8), 1),
    ((2, 1101, 3), 1),
    ((70001,), 0),
]
"""Shapes and dims that between them take every form of kernel, one launch and blocks of blocks."""


DIALECTS = {
    "compute": limits("compute", software=False),
    "fragment": limits("fragment"),
    "browser": limits("fragment", ES, software=False),
}


@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
class TestValues:
    def test_cumsum(self, shape: Any, dim: int) -> None:
        a = normal(*shape)
        scale = float(np.abs(a).sum(dim).max())
        for x, y in both(a):
            check(x.cumsum(dim), y.cumsum(dim), atol=scale * 1e-6)

    def test_cumprod(self, shape: Any, dim: int) -> None:
        for x, y in both(1 + normal(*shape) / 100):
            check(x.cumprod(dim), y.cumprod(dim), rtol=1e-4)

    def test_logcumsumexp(self, shape: Any, dim: int) -> None:
        a = normal(*shape) * 3
        expected = np.logaddexp.accumulate(a.astype(np.float64), dim)
        for _, y in both(a):
            found = y.logcumsumexp(dim).cpu().numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

    def test_running_extremes(self, shape: Any, dim: int) -> None:
        for x, y in both(np.round(normal(*shape) * 3)):
            check(tuple(x.cummax(dim)), tuple(y.cummax(dim)), 0, 0)
            check(tuple(x.cummin(dim)), tuple(y.cummin(dim)), 0, 0)


@pytest.mark.parametrize("shape", [(1 << 20,), (1000003,)])
def test_long_sums_are_as_precise_as_pairwise_ones(shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).random(shape).astype(np.float32)
    exact = a.astype(np.float64).cumsum()
    found = tg.tensor(a).to("gl").cumsum(0).cpu().numpy()
    assert (np.abs(found - exact) <= 8 * 2.0**-24 * exact).all()


def test_a_long_scan_takes_few_launches() -> None:
    y = tg.tensor(normal(1 << 20)).to("gl")
    y.cumsum(0)
    assert launches(lambda: y.cumsum(0)) <= 5
    rows = tg.tensor(normal(30, 4000)).to("gl")
    assert launches(lambda: rows.cumsum(1)) <= 3


@pytest.mark.parametrize("dtype", ["float16", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("columns", [40, 401])
def test_dtypes(dtype: str, dim: int, columns: int) -> None:
    values = np.random.default_rng(0).integers(0, 9, (67, columns))
    x, y = both((values > 4 if dtype == "bool" else values).astype(dtype))[0]
    check(x.cumsum(dim), y.cumsum(dim), 0, 0)
    if dtype != "bool":
        check(tuple(x.cummax(dim)), tuple(y.cummax(dim)), 0, 0)
        check(tuple(x.cummin(dim)), tuple(y.cummin(dim)), 0, 0)
    check((x > 3).cumprod(dim), (y > 3).cumprod(dim), 0, 0)


FUNCTIONS: dict[str, Callable[[tg.Tensor], Any]] = {
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cummax": lambda x: tuple(x.cummax(1)),
    "cummin": lambda x: tuple(x.cummin(1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("long", [False, True])
def test_special_values(name: str, long: bool) -> None:
    a = SPECIAL
    if long:  # far apart, in several blocks
        a = np.tile(1 + normal(1, 900) / 100, (len(a), 1))
        a[:, [5, 300, 301, 899]] = SPECIAL
        a[2] = -INF
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y in both(a):
            check(FUNCTIONS[name](x), FUNCTIONS[name](y))


def test_nothing_to_scan() -> None:
    for shape in ((0,), (3, 0), (0, 3)):
        x, y = tg.zeros(*shape), tg.zeros(*shape, device="gl")
        check(x.cumsum(-1), y.cumsum(-1))
        check(tuple(x.cummax(-1)), tuple(y.cummax(-1)))
    x, y = tg.tensor(2.5), tg.tensor(2.5, device="gl")
    check(x.cumsum(0), y.cumsum(0))
    check(tuple(x.cummin(0)), tuple(y.cummin(0)))


def test_views_and_what_is_before_and_after() -> None:
    x, y = both(normal(35, 390))[0]
    for f in (
        lambda v: v[1:, ::2].cumsum(0),
        lambda v: v[1:, 3:].cumsum(1),
        lambda v: v[0].expand(50, 390).cumsum(0),
        lambda v: (v * v + 1).cumsum(1).sqrt() - v,
        lambda v: (v * 2).cummax(1)[1] + 1,
    ):
        check(f(x), f(y), atol=2e-4)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax"])
def test_gradients(name: str) -> None:
    weight = normal(6, 40, seed=1)
    for x, y in both(normal(6, 40)):
        for v in (x, y):
            v.requires_grad_()
            out = FUNCTIONS[name](v)
            out = out[0] if isinstance(out, tuple) else out
            (out * tg.tensor(weight).to(v.device)).sum().backward()
        assert x.grad is not None
        assert y.grad is not None
        check(x.grad, y.grad, 1e-4, 1e-4)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_shaders_are_valid(dialect: str, tmp_path: Path) -> None:
    """Those of reductions too, as Khronos's compiler sees it."""
    made = TextDevice(DIALECTS[dialect])
    before = install(GL, GlslBackend(made))
    try:
        for dtype in (tg.float32, tg.int64):
            for shape, dim in REDUCED:
                x = tg.zeros(shape, dtype=dtype, device="gl")
                kept: list[Any] = [x.sum(dim), x.amax(dim), x.argmin(dim[-1])]
                kept += [tg.var_mean(x, dim), x.softmax(dim[-1])] if dtype is tg.float32 else []
                backend_of(GL).flush()
            for shape, dim in SHAPES:
                x = tg.zeros(shape, dtype=dtype, device="gl")
                kept = [x.cumsum(dim), x.cummin(dim)[1]]
                kept += [x.logcumsumexp(dim)] if dtype is tg.float32 else []
                backend_of(GL).flush()
        assert complaints(set(made.sources), made.limits.target, tmp_path) == ""
    finally:
        install(GL, before)
