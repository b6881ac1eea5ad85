"""Reductions, scans, sorting and statistics."""

import numpy as np

import tensorgl as tg
from tests.ops.harness import B, F, I, case


def _lse(x, dim):
    return np.log(np.exp(x).sum(dim))


def _sorted(x, dim, reverse=False):
    order = np.argsort(-x if reverse else x, dim, kind="stable")
    return np.take_along_axis(x, order, dim), order


def _kth(x, k, dim):
    values, order = _sorted(x, dim)
    return values.take(k, dim), order.take(k, dim)


def _extreme(x, arg, dim):
    index = arg(x, dim)
    return np.take_along_axis(x, np.expand_dims(index, dim), dim).squeeze(dim), index


def _running(x, ufunc, dim):
    values = ufunc.accumulate(x, dim)
    places = np.arange(x.shape[dim]).reshape([-1 if k == dim else 1 for k in range(x.ndim)])
    return values, np.maximum.accumulate(np.where(x == values, places, 0), dim)


def _norm(x, p, dim=None):
    if p in (np.inf, -np.inf):
        return (np.max if p > 0 else np.min)(abs(x), dim)
    return (abs(x) ** p).sum(dim) ** (1 / p)


def _trapezoids(y, x, dim):
    return (y[:, 1:] + y[:, :-1]) * np.diff(x, axis=dim) / 2


def _mode(x):
    values = np.array([np.bincount(row).argmax() for row in x], np.int64)
    return values, np.array(
        [np.flatnonzero(r == v)[-1] for r, v in zip(x, values, strict=True)], np.int64
    )


def _var(x, dim, n):
    return ((x - x.mean(dim, keepdims=True)) ** 2).sum(dim) / n


CASES = [
    case("sum", F(3, 4, 5), kw={"dim": (0, 2)}, oracle=lambda x: x.sum((0, 2))),
    case("sum", F(3, 4, 5), oracle=np.sum, note="all"),
    case(
        "sum",
        F(3, 70, 40),
        kw={"dim": -2, "keepdim": True},
        oracle=lambda x: x.sum(1, keepdims=True),
        note="blocks",
    ),
    case("sum", F(2, 3001), kw={"dim": 1}, oracle=lambda x: x.sum(1), note="long"),
    case("sum", B(3, 4), kw={"dim": 1}, oracle=lambda x: x.sum(1), grad=False, note="bool"),
    case("nansum", F(3, 4), kw={"dim": 0}, oracle=lambda x: np.nansum(x, 0)),
    case("mean", F(3, 4, 5), kw={"dim": (1, 2)}, oracle=lambda x: x.mean((1, 2))),
    case("nanmean", F(3, 4), kw={"dim": 1}, oracle=lambda x: np.nanmean(x, 1)),
    case("prod", F(3, 4), kw={"dim": 1}, oracle=lambda x: x.prod(1)),
    case("prod", F(2, 3, 2), oracle=np.prod, note="all"),
    case(
        "prod",
        F(2, 67, low=0.8, high=1.2),
        kw={"dim": -1, "keepdim": True},
        oracle=lambda x: x.prod(1, keepdims=True),
        note="long",
    ),
    case("amax", F(3, 4, 5, distinct=True), kw={"dim": (1, 2)}, oracle=lambda x: x.max((1, 2))),
    case(
        "amin",
        F(3, 4, distinct=True),
        kw={"dim": 1, "keepdim": True},
        oracle=lambda x: x.min(1, keepdims=True),
    ),
    case(
        "amax", F(40, 5, distinct=True), kw={"dim": 1}, oracle=lambda x: x.max(1), note="short_rows"
    ),
    case("amin", F(40, 30), kw={"dim": 1}, oracle=lambda x: x.min(1), grad=False, note="rows"),
    case("aminmax", F(3, 4, distinct=True), kw={"dim": 1}, oracle=lambda x: (x.min(1), x.max(1))),
    case("max", F(3, 4, distinct=True), oracle=np.max, empty=False),
    case("min", F(3, 4, distinct=True), oracle=np.min, empty=False),
    case(
        "max", F(3, 4, distinct=True), 1, oracle=lambda x, d: _extreme(x, np.argmax, d), note="dim"
    ),
    case(
        "min",
        F(3, 4, 2, distinct=True),
        1,
        oracle=lambda x, d: _extreme(x, np.argmin, d),
        note="dim",
    ),
    case("max", F(3, 4), F(4), oracle=np.maximum, special=True, note="other"),
    case("min", F(3, 4), F(3, 1), oracle=np.minimum, special=True, note="other"),
    case("argmax", F(3, 4), kw={"dim": 1}, oracle=lambda x: x.argmax(1), grad=False),
    case("argmin", F(3, 4), oracle=np.argmin, grad=False, empty=False),
    case("logsumexp", F(3, 4, 5), kw={"dim": (1, 2)}, oracle=lambda x: _lse(x, (1, 2))),
    case("all", B(3, 4), kw={"dim": 1}, oracle=lambda x: x.all(1), grad=False),
    case("any", F(3, 4), kw={"dim": 0}, oracle=lambda x: x.any(0), grad=False),
    case(
        "count_nonzero",
        I(3, 4, high=2),
        kw={"dim": 0},
        oracle=lambda x: (x != 0).sum(0),
        grad=False,
    ),
    case("var", F(3, 4, 5), kw={"dim": (1, 2)}, oracle=lambda x: x.var((1, 2), ddof=1)),
    case(
        "var",
        F(6, 7),
        kw={"dim": 1, "correction": 0.5},
        oracle=lambda x: _var(x, 1, 6.5),
        note="correction",
    ),
    case("std", F(3, 4), kw={"dim": 1, "unbiased": False}, oracle=lambda x: x.std(1)),
    case(
        "var_mean",
        F(3, 4),
        kw={"dim": 1, "keepdim": True},
        oracle=lambda x: (x.var(1, ddof=1, keepdims=True), x.mean(1, keepdims=True)),
    ),
    case("std_mean", F(3, 4), kw={"dim": 1}, oracle=lambda x: (x.std(1, ddof=1), x.mean(1))),
    case("cov", F(3, 5), oracle=np.cov, empty=False),
    case(
        "cov",
        F(3, 5),
        kw={"correction": 0},
        oracle=lambda x: np.cov(x, ddof=0),
        empty=False,
        note="correction",
    ),
    case("corrcoef", F(3, 5), oracle=np.corrcoef, empty=False),
    case("norm", F(3, 4), oracle=lambda x: _norm(x, 2)),
    case("norm", F(3, 4), 1, 1, oracle=_norm, note="1"),
    case("norm", F(3, 4), 3, -1, oracle=_norm, note="3"),
    case("norm", F(3, 4, low=0.5), 0.5, 1, oracle=_norm, note="half"),
    case("norm", F(3, 4, distinct=True), np.inf, 1, oracle=_norm, second=False, note="inf"),
    case("norm", F(3, 4, distinct=True), -np.inf, 1, oracle=_norm, second=False, note="-inf"),
    case("norm", F(3, 4), 0, 1, oracle=lambda x, p, d: (x != 0).sum(d) * 1.0, grad=False, note="0"),
    case("norm", F(90, 60), oracle=lambda x: _norm(x, 2), note="long"),
    case("dist", F(3, 4), F(4), 3, oracle=lambda x, y, p: _norm(x - y, p)),
    case(
        "renorm",
        F(3, 4),
        2,
        0,
        1.5,
        oracle=lambda x, p, d, m: x * np.minimum(1, m / (_norm(x, p, 1)[:, None] + 1e-7)),
    ),
    case("cumsum", F(3, 4), 1, oracle=np.cumsum),
    case("cumsum", F(40, 1000), 1, oracle=np.cumsum, second=False, note="blocks"),
    case("cumsum", F(6, 67, 50), 1, oracle=np.cumsum, grad=False, note="padded_blocks"),
    case("cumprod", F(3, 4), 1, oracle=np.cumprod),
    case("cumprod", F(5, 3), 0, oracle=np.cumprod, note="first"),
    case("cummax", F(3, 4, distinct=True), 1, oracle=lambda x, d: _running(x, np.maximum, d)),
    case("cummin", F(3, 4, distinct=True), 0, oracle=lambda x, d: _running(x, np.minimum, d)),
    case("logcumsumexp", F(3, 7), 1, oracle=lambda x, d: np.log(np.exp(x).cumsum(d))),
    case("diff", F(3, 5), kw={"n": 2}, oracle=lambda x: np.diff(x, 2)),
    case(
        "diff",
        F(3, 5),
        kw={"dim": 0},
        oracle=lambda x: np.diff(x, axis=0),
        empty=False,
        note="first",
    ),
    case("diff", B(3, 5), oracle=np.diff, grad=False, note="bool"),
    case(
        "trapezoid",
        F(3, 4),
        F(3, 4),
        kw={"dim": 1},
        oracle=lambda y, x: _trapezoids(y, x, 1).sum(1),
    ),
    case(
        "trapezoid",
        F(3, 4),
        kw={"dx": 0.5},
        oracle=lambda y: 0.5 * (y[:, 1:] + y[:, :-1]).sum(1) / 2,
        note="dx",
    ),
    case("trapz", F(3, 4), F(4), oracle=lambda y, x: _trapezoids(y, x, 0).sum(1), empty=False),
    case(
        "cumulative_trapezoid", F(3, 4), F(3, 4), oracle=lambda y, x: _trapezoids(y, x, 1).cumsum(1)
    ),
    case("sort", F(3, 4, distinct=True), 1, oracle=_sorted),
    case(
        "sort",
        F(4, 3, distinct=True),
        kw={"dim": 0, "descending": True},
        oracle=lambda x: _sorted(x, 0, True),
        note="descending",
    ),
    case("sort", F(3, 900), 1, oracle=_sorted, grad=False, note="packed"),
    case("sort", I(3, 900), 1, True, oracle=_sorted, grad=False, note="radix"),
    case(
        "argsort",
        I(3, 9),
        kw={"dim": 1, "descending": True},
        oracle=lambda x: _sorted(x, 1, True)[1],
        grad=False,
    ),
    case("msort", F(5, 3, distinct=True), oracle=lambda x: np.sort(x, 0)),
    case(
        "topk",
        F(3, 7, distinct=True),
        2,
        oracle=lambda x, k: tuple(r[:, :k] for r in _sorted(x, 1, True)),
    ),
    case(
        "topk",
        F(3, 900),
        5,
        1,
        False,
        oracle=lambda x, k, d, largest: tuple(r[:, :k] for r in _sorted(x, d)),
        grad=False,
        note="few_of_many",
    ),
    case("kthvalue", F(3, 7, distinct=True), 3, 1, oracle=lambda x, k, d: _kth(x, k - 1, d)),
    case("median", F(3, 6, distinct=True), oracle=lambda x: np.sort(x, None)[8], empty=False),
    case("median", F(3, 6, distinct=True), 1, oracle=lambda x, d: _kth(x, 2, d), note="dim"),
    case("nanmedian", F(3, 5, distinct=True), 1, oracle=lambda x, d: _kth(x, 2, d)),
    case("mode", I(3, 9, high=3), oracle=_mode, grad=False),
    case(
        "quantile",
        F(3, 6, distinct=True),
        0.3,
        kw={"dim": 1},
        oracle=lambda x, q: np.quantile(x, q, 1),
        empty=False,
    ),
    case(
        "quantile",
        F(3, 6, distinct=True),
        0.45,
        kw={"dim": 0, "keepdim": True, "interpolation": "higher"},
        oracle=lambda x, q: np.quantile(x, q, 0, method="higher", keepdims=True),
        empty=False,
        note="higher",
    ),
    case("nanquantile", F(3, 6, distinct=True), 0.7, oracle=np.nanquantile, empty=False),
    case(
        "searchsorted",
        F(9),
        F(3, 4),
        function=lambda s, x: tg.searchsorted(s.sort()[0], x, right=True),
        oracle=lambda s, x: np.searchsorted(np.sort(s), x, "right"),
        grad=False,
        empty=False,
    ),
    case(
        "searchsorted",
        I(3, 9),
        I(3, 4),
        function=lambda s, x: tg.searchsorted(s.sort()[0], x),
        oracle=lambda s, x: (np.sort(s)[:, None] < x[:, :, None]).sum(2),
        grad=False,
        note="rows",
    ),
    case("isin", I(3, 4), I(3), oracle=np.isin, grad=False),
    case(
        "isin",
        I(3, 4),
        I(2),
        kw={"invert": True},
        oracle=lambda x, y: np.isin(x, y, invert=True),
        grad=False,
        note="invert",
    ),
    case(
        "bucketize",
        I(3, 4),
        I(9),
        function=lambda x, s: tg.bucketize(x, s.sort()[0]),
        oracle=lambda x, s: np.searchsorted(np.sort(s), x),
        grad=False,
    ),
    case("unique", I(3, 9), oracle=np.unique, grad=False),
    case(
        "unique_consecutive",
        B(20),
        oracle=lambda x: x[np.flatnonzero(np.append(True, x[1:] != x[:-1])[: len(x)])],
        grad=False,
    ),
    case(
        "bincount",
        I(20),
        kw={"minlength": 7},
        oracle=lambda x: np.bincount(x, minlength=7),
        grad=False,
    ),
    case(
        "histc",
        F(30),
        kw={"bins": 8, "min": -2, "max": 2},
        oracle=lambda x: np.histogram(x, 8, (-2, 2))[0] * 1.0,
        grad=False,
    ),
    case(
        "histogram",
        F(30),
        8,
        kw={"range": (-2, 2), "density": True},
        oracle=lambda x, n: np.histogram(x, n, (-2, 2), density=True),
        grad=False,
        empty=False,
    ),
]
