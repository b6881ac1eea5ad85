"""Cases of indexing, gathering and scattering."""

import numpy as np

from tests.ops.harness import B, F, I, case


def written(x, key, value):
    out = np.array(x)
    out[key] = value
    return out


def added(x, key, value):
    out = np.array(x)
    np.add.at(out, key, value)
    return out


def at(index, dim=1):
    """Where [i, index[i, j]] is, for dim 1, or [index[i, j], j] for dim 0."""
    rows, columns = np.ogrid[tuple(slice(n) for n in index.shape)]
    return (rows, index) if dim else (index, columns)


def reduced(x, index, source, start, ufunc):
    out = np.array(x)
    if start is not None:
        out[at(index)] = start
    ufunc.at(out, at(index), source)
    return out


def mean_of(x, dim, index, source, reduce):
    ones = np.ones_like(source)
    return added(x, at(index), source) / added(np.ones_like(x), at(index), ones)


def set_(key):
    def function(x, value):
        out = x.clone()
        out[key] = value
        return out

    return function


def sets(key):
    return lambda x, value: written(x, key, value)


def gets(*keys):
    return {"function": lambda x: [x[k] for k in keys], "oracle": lambda x: [x[k] for k in keys]}


CASES = [
    case("__getitem__", F(4, 3, 5), **gets(np.s_[1:3], np.s_[..., -1], np.s_[:, None, 1:, ::2]), note="basic"),
    case("__getitem__", F(4, 3), **gets(np.s_[-1], np.s_[2, 1], np.s_[1:, 2]), note="ints", empty=False),
    case("__getitem__", F(4, 3, 5), I(6, low=-3, high=3), oracle=lambda x, i: x[:, i], function=lambda x, i: x[:, i], note="index"),
    case("__getitem__", F(4, 3, 5), I(2, 1, low=-3, high=3), I(3), oracle=lambda x, i, j: x[:, i, j], function=lambda x, i, j: x[:, i, j], note="two"),
    case("__getitem__", F(2, 3, 4, 5), I(2, 1, low=-3, high=3), I(3), oracle=lambda x, i, j: x[:, i, :, j], function=lambda x, i, j: x[:, i, :, j], note="apart"),
    case("__getitem__", F(4, 3), B(4, 3), oracle=lambda x, m: x[m], function=lambda x, m: x[m], note="mask"),
    case("__getitem__", F(2, 4, 3), B(4, 3), I(1, low=0, high=2), oracle=lambda x, m, i: x[i, m], function=lambda x, m, i: x[i, m], note="mask and index", empty=False),
    case("__setitem__", F(4, 3), F(3), function=set_(np.s_[1::2]), oracle=sets(np.s_[1::2]), note="slice"),
    case("__setitem__", F(4, 3), F(4), function=set_(np.s_[:, 1]), oracle=sets(np.s_[:, 1]), note="column", empty=False),
    case("__setitem__", F(4, 3), F(2, 3), function=set_([0, 2]), oracle=sets([0, 2]), note="list", empty=False),
    case("__setitem__", F(2, 3, 4), F(2, 3), function=set_(([1, 0], slice(None), [3, 2])), oracle=sets(([1, 0], slice(None), [3, 2])), note="apart", empty=False),
    case("__setitem__", F(4, 3), B(4, 3), F(), oracle=lambda x, m, v: np.where(m, v, x), function=lambda x, m, v: set_(m)(x, v), note="mask"),
    case("argwhere", I(3, 4, low=0, high=2), oracle=np.argwhere, grad=False),
    case("copy_", F(3, 4), F(4), oracle=lambda x, y: np.broadcast_to(y, x.shape), function=lambda x, y: x.clone().copy_(y)),
    case("fill", F(3, 4), F(), oracle=lambda x, v: np.full(x.shape, v)),
    case("fill_", F(3, 4), 2.5, oracle=lambda x, v: np.full(x.shape, v), function=lambda x, v: x.clone().fill_(v)),
    case("gather", F(3, 5), 1, I(3, 2), oracle=lambda x, d, i: np.take_along_axis(x, i, d)),
    case("gather", F(5, 3), 0, I(2, 2), oracle=lambda x, d, i: x[at(i, 0)], note="part", empty=False),
    case("index_add", F(4, 3), 0, I(6, low=0, high=4), F(6, 3), kw={"alpha": 2}, oracle=lambda x, d, i, y, alpha=2: added(x, i, 2 * y), empty=False),
    case("index_add", F(2, 5, 3), 1, I(6), F(2, 6, 3), oracle=lambda x, d, i, y: added(x.swapaxes(0, 1), i, y.swapaxes(0, 1)).swapaxes(0, 1), note="middle"),
    case("index_copy", F(4, 3), 0, I(1, low=0, high=4), F(1, 3), oracle=lambda x, d, i, y: written(x, i, y), empty=False),
    case("index_fill", F(3, 5), 1, I(2), 1.5, oracle=lambda x, d, i, v: written(x, (slice(None), i), v)),
    case("index_put", F(4, 5), I(3, low=0, high=4), I(3), F(3), True, oracle=lambda x, i, j, y, a: added(x, (i, j), y), function=lambda x, i, j, y, a: x.index_put((i, j), y, accumulate=a), empty=False),
    case("index_reduce", F(4, 3), 0, I(1, low=0, high=4), F(1, 3), "prod", oracle=lambda x, d, i, y, r: written(x, i, x[i] * y), empty=False),
    case("index_select", F(3, 5), 1, I(4), oracle=lambda x, d, i: x.take(i, d)),
    case("masked_fill", F(3, 4), B(4), 2.0, oracle=lambda x, m, v: np.where(m, v, x)),
    case("masked_scatter", F(3, 4), B(3, 4), F(12), oracle=lambda x, m, y: written(x, m, y[: m.sum()])),
    case("masked_select", F(3, 4), B(3, 4), oracle=lambda x, m: x[m]),
    case("nonzero", I(3, 4, low=0, high=2), oracle=np.argwhere, grad=False),
    case("nonzero", I(3, 4, low=0, high=2), kw={"as_tuple": True}, oracle=np.nonzero, grad=False, note="tuple"),
    case("put", F(3, 4), I(5, low=-12, high=12), F(5), True, oracle=lambda x, i, y, a: added(x.reshape(-1), i, y).reshape(x.shape), empty=False),
    case("scatter", F(4, 5), 1, I(4, 1), F(4, 1), oracle=lambda x, d, i, y: written(x, at(i), y)),
    case("scatter", F(4, 5), 1, I(4, 2), 1.5, oracle=lambda x, d, i, v: written(x, at(i), v), note="value"),
    case("scatter", F(4, 5), 1, I(4, 2), F(4, 2), kw={"reduce": "add"}, oracle=lambda x, d, i, y: added(x, at(i), y), note="add"),
    case("scatter_add", F(4, 5), 1, I(4, 7), F(4, 7), oracle=lambda x, d, i, y: added(x, at(i), y)),
    case("scatter_add", F(4, 5), 1, I(3, 2), F(4, 3), oracle=lambda x, d, i, y: added(x, at(i), y[:3, :2]), note="part", empty=False),
    case("scatter_reduce", F(4, 5), 1, I(4, 7), F(4, 7), "sum", oracle=lambda x, d, i, y, r: added(x, at(i), y)),
    case("scatter_reduce", F(4, 5), 1, I(4, 7), F(4, 7), "mean", oracle=mean_of, note="mean"),
    case("scatter_reduce", F(4, 5, low=0.5), 1, I(4, 7), F(4, 7, low=0.5), "prod", oracle=lambda x, d, i, y, r: reduced(x, i, y, None, np.multiply), note="prod"),
    case("scatter_reduce", F(4, 5), 1, I(4, 7), F(4, 7), "amax", kw={"include_self": False}, oracle=lambda x, d, i, y, r: reduced(x, i, y, -np.inf, np.maximum), note="amax"),
    case("scatter_reduce", F(4, 5), 1, I(4, 7), F(4, 7), "amin", oracle=lambda x, d, i, y, r: reduced(x, i, y, None, np.minimum), note="amin"),
    case("take", F(3, 4), I(2, 3, low=-12, high=12), oracle=lambda x, i: x.take(i), empty=False),
    case("take_along_dim", F(3, 5), I(1, 2, low=-5, high=5), 1, oracle=lambda x, i, d: x[:, i[0]]),
    case("unravel_index", I(3, 2, low=0, high=24), (2, 3, 4), oracle=np.unravel_index, grad=False),
    case("zero_", F(3, 4), oracle=np.zeros_like, function=lambda x: x.clone().zero_()),
]  # fmt: skip
