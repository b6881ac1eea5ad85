"""Reductions on device "gl", on both targets: values, precision, special values, launches, gradients.

Fusion changes no bit of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
import tensorgl.nn.functional as F
from tensorgl.avals import device
from tensorgl.backends import backend_of

pytestmark = pytest.mark.usefixtures("gl_target")

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1,), (0,)),
    ((5,), (0,)),
    ((1003,), (0,)),
    ((7, 9), (1,)),
    ((7, 8), (0,)),
    ((3, 1, 5), (1,)),
    ((3, 4, 5, 3, 2), (0, 2, 4)),
    ((300, 301), (0,)),
    ((256, 512), (1,)),
    ((16, 12, 144), (0, 2)),
    ((3, 5000, 7), (1,)),
    ((70000, 3), (0,)),
    ((2, 100001), (1,)),
    ((2, 10001, 3), (1,)),
    ((5000, 4, 6), (0,)),
]
"""Shapes and dims that between them take every form of kernel, one stage and several."""

LARGE: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1 << 21,), (0,)),
    ((2000003,), (0,)),
    ((1024, 1024), (1,)),
    ((1024, 1024), (0,)),
    ((1000, 1001), (1,)),
    ((64, 16, 784), (0, 2)),
]


def launches(function: Callable[[], Any]) -> int:
    """How many launches a function takes, on operands that are realised."""
    backend = backend_of(device("gl"))
    backend.flush()
    before = backend.counters()["launches"]
    kept = function()
    backend.flush()
    del kept
    return backend.counters()["launches"] - before


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def transposed(a: np.ndarray[Any, Any]) -> tuple[tg.Tensor, tg.Tensor]:
    """The array on the cpu and on gl, with its dims reversed in memory."""
    b = np.ascontiguousarray(a.T)
    return tg.tensor(b).permute(*range(a.ndim)[::-1]), (
        tg.tensor(b).to("gl").permute(*range(a.ndim)[::-1])
    )


def both(a: np.ndarray[Any, Any]) -> list[tuple[tg.Tensor, tg.Tensor]]:
    return [(tg.tensor(a), tg.tensor(a).to("gl")), transposed(a)]


def check(expected: Any, found: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Results of the cpu and of gl are the same, NaN and infinities included."""
    if isinstance(expected, tuple):
        for e, f in zip(expected, found, strict=True):
            check(e, f, rtol, atol)
        return
    assert expected.shape == found.shape
    assert expected.dtype is found.dtype
    np.testing.assert_allclose(found.cpu().numpy(), expected.numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
class TestValues:
    def test_sum_and_mean(self, shape: Any, dim: Any) -> None:
        a = normal(*shape)
        scale = float(np.abs(a).sum(dim).max())
        for x, y in both(a):
            check(x.sum(dim), y.sum(dim), atol=scale * 1e-6)
        check(x.mean(dim, keepdim=True), y.mean(dim, keepdim=True), atol=1e-5)

    def test_prod(self, shape: Any, dim: Any) -> None:
        x, y = both(1 + normal(*shape) / 100)[0]
        for d in dim[::-1]:
            x, y = x.prod(d), y.prod(d)
        check(x, y, rtol=2e-4)

    def test_extremes(self, shape: Any, dim: Any) -> None:
        for x, y in both(np.round(normal(*shape) * 3)):
            check((x.amax(dim), x.amin(dim)), (y.amax(dim), y.amin(dim)), 0, 0)
            d = dim[-1]
            check((x.argmax(d), x.argmin(d)), (y.argmax(d), y.argmin(d)), 0, 0)

    def test_var_mean(self, shape: Any, dim: Any) -> None:
        for x, y in both(normal(*shape) + 3):
            expected, found = (tg.var_mean(v, dim, correction=0, keepdim=True) for v in (x, y))
            check(expected, found, 1e-5)
        if np.prod([shape[d] for d in dim]) > 1:
            check(x.var(dim), y.var(dim), 1e-5)

    def test_softmax(self, shape: Any, dim: Any) -> None:
        for x, y in both(normal(*shape) * 4):
            check(F.softmax(x, dim[-1]), F.softmax(y, dim[-1]))
        check(x.logsumexp(dim), y.logsumexp(dim))


@pytest.mark.parametrize(("shape", "dim"), LARGE, ids=str)
def test_large_sums_are_as_precise_as_pairwise_ones(shape: Any, dim: Any) -> None:
    a = np.random.default_rng(0).random(shape).astype(np.float32)
    exact = a.astype(np.float64).sum(dim)
    found = tg.tensor(a).to("gl").sum(dim).cpu().numpy()
    # numpy's bound is 2^-24 for each of 16 additions in a row and each level of its tree
    assert (np.abs(found - exact) <= 8 * 2.0**-24 * exact).all()


@pytest.mark.parametrize(("shape", "dim"), LARGE, ids=str)
def test_large_variances_do_not_cancel(shape: Any, dim: Any) -> None:
    a = normal(*shape) + 1000
    var, mean = tg.var_mean(tg.tensor(a).to("gl"), dim)
    # what parts know of their mean is rounded: a standard deviation of 1 is 2^14 units of 1000's last bit
    np.testing.assert_allclose(var.cpu().numpy(), a.astype(np.float64).var(dim, ddof=1), rtol=5e-5)
    np.testing.assert_allclose(mean.cpu().numpy(), a.astype(np.float64).mean(dim), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("columns", [40, 1201])
def test_dtypes(dtype: str, dim: int, columns: int) -> None:
    values = np.random.default_rng(0).integers(0, 9, (67, columns))
    x, y = both((values > 4 if dtype == "bool" else values).astype(dtype))[0]
    check((x.sum(dim), x.amax(dim), x.amin(dim)), (y.sum(dim), y.amax(dim), y.amin(dim)), 0, 0)
    ones = (x.clamp(0, 1), y.clamp(0, 1))  # larger ones may overflow before they meet a 0
    check(ones[0].prod(dim), ones[1].prod(dim), 0, 0)
    if dtype != "bool":
        check((x.argmax(dim), x.argmin(dim)), (y.argmax(dim), y.argmin(dim)), 0, 0)
    if dtype == "float16":
        check(tg.var_mean(x, dim), tg.var_mean(y, dim), 1e-3)
        check(F.softmax(x, dim), F.softmax(y, dim), 1e-3)


def test_half_sums_are_rounded_once() -> None:
    a = np.full((3, 4097), 1, np.float16)
    y = tg.tensor(a).to("gl").sum(1) + 0.5
    assert y.cpu().tolist() == [4096.0] * 3  # 4097 is no half, and 4096.5 isn't either


def test_integer_limits() -> None:
    a = np.array([5, -(2**31), 2**31 - 1, 2**31 - 1, -(2**31)])
    x, y = tg.tensor(a), tg.tensor(a).to("gl")
    check((x.amax(), x.amin()), (y.amax(), y.amin()), 0, 0)
    check((x.argmax(), x.argmin()), (y.argmax(), y.argmin()), 0, 0)


NAN, INF = float("nan"), float("inf")
SPECIAL = np.array(
    [
        [NAN, 1, 2, NAN],
        [INF, -INF, 0, 1],
        [-INF, -INF, -INF, -INF],
        [INF, INF, INF, INF],
        [1, NAN, INF, -INF],
        [-0.0, 0.0, -0.0, 0.0],
        [1, INF, -INF, 2],
        [-NAN, 2, 1, 1],
        [1, 1, 2, 2],
    ],
    np.float32,
)
FUNCTIONS: dict[str, Callable[[tg.Tensor], Any]] = {
    "sum": lambda x: x.sum(1),
    "prod": lambda x: x.prod(1),
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin(1),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(1),
    "var_mean": lambda x: tg.var_mean(x, 1),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("long", [False, True])
def test_special_values(name: str, long: bool) -> None:
    a = SPECIAL
    if long:  # far apart, in rows that take two stages
        a = np.tile(normal(1, 9000) / 10, (len(a), 1))
        a[:, [5, 3000, 3001, 8999]] = SPECIAL
        a[2] = -INF
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y in both(a):
            check(FUNCTIONS[name](x), FUNCTIONS[name](y))


def test_nothing_to_reduce() -> None:
    x, y = tg.zeros(3, 0), tg.zeros(3, 0, device="gl")
    for f in (FUNCTIONS["sum"], FUNCTIONS["prod"], lambda v: v.sum(0), lambda v: v.mean(1)):
        check(f(x), f(y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(tg.var_mean(x, 1), tg.var_mean(y, 1))
        check(tg.var_mean(x, 0), tg.var_mean(y, 0))
    check(x.t().argmax(1), y.t().argmax(1))
    with pytest.raises(IndexError, match="non-zero size"):
        y.amax(1)


def test_scalars() -> None:
    x, y = tg.tensor(3.5), tg.tensor(3.5, device="gl")
    for f in (tg.sum, tg.prod, tg.amax, tg.amin, tg.argmax, tg.argmin):
        check(f(x), f(y))


def test_views() -> None:
    x, y = both(normal(35, 39))[0]
    for f in (
        lambda v: v[1:, ::2].sum(0),
        lambda v: v[1:, 3:].sum(1),
        lambda v: v[::3, 1:9:2].var(1),
        lambda v: v[2:].softmax(1),
        lambda v: v[0].expand(50, 39).sum(0),
        lambda v: v[0].expand(5, 7, 39).amax((0, 2)),
        lambda v: v[:, 0:1].expand(35, 39).sum(1),
    ):
        check(f(x), f(y))


@pytest.mark.parametrize("shape", [(64, 10), (33, 3001)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(1),
        lambda x: x.sum(0),
        lambda x: x.sum(),
        lambda x: x.var(1),
        FUNCTIONS["softmax"],
    ],
)
def test_fusion_changes_no_bit(shape: tuple[int, ...], function: Any) -> None:
    y = tg.tensor(normal(*shape)).to("gl")
    fused = function(y.abs() + y)
    apart = y.abs() + y
    backend_of(device("gl")).flush()
    apart = function(apart)
    assert fused.cpu().numpy().tobytes() == apart.cpu().numpy().tobytes()


def test_the_same_sum_is_the_same_again() -> None:
    y = tg.tensor(normal(1 << 20)).to("gl")
    assert len({y.sum().item() for _ in range(5)}) == 1


COUNTS: dict[str, tuple[int, Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "sum of rows": (1, lambda x: x.sum(1), ((64, 256),)),
    "large sum of rows": (2, lambda x: x.sum(1), ((1024, 1024),)),
    "sum with what is before and after it": (1, lambda x: (x * x).sum(1).sqrt(), ((64, 256),)),
    "sum of all": (3, lambda x: x.sum(), ((1024, 1024),)),
    "var": (1, lambda x: x.var(1), ((64, 256),)),
    "softmax": (2, lambda x: F.softmax(x, 1), ((64, 10),)),
    "large softmax": (3, lambda x: F.softmax(x, 1), ((1024, 1024),)),
    "log_softmax": (2, lambda x: F.log_softmax(x, 1), ((64, 10),)),
    "large log_softmax": (3, lambda x: F.log_softmax(x, 1), ((1024, 1024),)),
    "layer_norm": (2, lambda x, w: F.layer_norm(x, w.shape, w, w), ((64, 256), (256,))),
    "large layer_norm": (3, lambda x, w: F.layer_norm(x, w.shape, w, w), ((512, 1024), (1024,))),
    "group_norm": (3, lambda x, w: F.group_norm(x, 4, w, w), ((64, 16, 28, 28), (16,))),
    "batch_norm": (
        3,
        lambda x, w: F.batch_norm(x, None, None, w, w, training=True),
        ((64, 16, 28, 28), (16,)),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_launches(name: str) -> None:
    most, function, shapes = COUNTS[name]
    xs = [tg.tensor(normal(*s)).to("gl") for s in shapes]
    function(*xs)
    assert launches(lambda: function(*xs)) <= most


@pytest.mark.parametrize("n", [64, 4096])
def test_launches_of_cross_entropy(n: int) -> None:
    x = tg.tensor(normal(n, 100)).to("gl")
    y = tg.tensor(np.arange(n, dtype=np.int64) % 100).to("gl")
    assert launches(lambda: F.cross_entropy(x, y)) <= 3
    check(F.cross_entropy(x.cpu(), y.cpu()), F.cross_entropy(x, y))


def test_softmax_keeps_its_maximum() -> None:
    """The maximum that a softmax shares with others is still the maximum."""
    x, y = both(normal(40, 30))[0]

    def work(v: tg.Tensor) -> tuple[tg.Tensor, ...]:
        top = v.amax(1, True)
        e = (v - top).exp()
        return top, e / e.sum(1, True), top * 2

    check(work(x), work(y))


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_gradients(function: Any) -> None:
    for x, y in both(normal(60, 130)):
        weight = normal(60, 130, seed=1)
        for v in (x, y):
            v.requires_grad_()
            (function(v, 1) * tg.tensor(weight).to(v.device)).sum().backward()
        assert x.grad is not None
        assert y.grad is not None
        check(x.grad, y.grad, atol=1e-5)


def test_gradients_of_norms() -> None:
    a = normal(6, 8, 5, 7)
    for f in (
        lambda v: F.layer_norm(v, (7,)),
        lambda v: F.group_norm(v, 4),
        lambda v: F.batch_norm(v, None, None, training=True),
        lambda v: v.var((0, 2)),
        lambda v: v.prod(1),
        lambda v: v.amax((1, 3)),
        lambda v: v.logsumexp((0, 1)),
    ):
        x, y = both(a)[0]
        for v in (x, y):
            v.requires_grad_()
            f(v).pow(2).sum().backward()
        assert x.grad is not None
        assert y.grad is not None
        check(x.grad, y.grad, 1e-4, 1e-4)
