"""Cases of shapes and views, joining and splitting, diagonals, padding."""

import numpy as np

import tensorgl as tg
from tests.ops.harness import F, I, case


def written(x, key, v):
    out = np.array(x)
    out[key] = v
    return out


def windows(x, size, step):
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, ::step]


def blocks(*parts):
    height, width = (sum(p.shape[k] for p in parts) for k in (0, 1))
    out, r, c = np.zeros((height, width)), 0, 0
    for p in parts:
        out[r : r + p.shape[0], c : c + p.shape[1]] = p
        r, c = r + p.shape[0], c + p.shape[1]
    return out


def on_diagonal(x, k=0):
    return np.stack([np.diag(row, k) for row in x]) if len(x) else np.zeros((0, 4, 4))


CASES = [
    case("adjoint", F(2, 3, 4), oracle=lambda x: x.swapaxes(-1, -2)),
    case("atleast_1d", F(), oracle=np.atleast_1d, empty=False),
    case("atleast_2d", F(3), oracle=np.atleast_2d, empty=False),
    case("atleast_3d", F(3, 4), oracle=np.atleast_3d),
    case("broadcast_shapes", F(2), oracle=lambda x: 6, grad=False, empty=False, function=lambda x: tg.broadcast_shapes((2, 1), (3,)).numel()),
    case("broadcast_tensors", F(3, 1), F(4), oracle=np.broadcast_arrays),
    case("broadcast_to", F(3, 1), (2, 3, 4), oracle=np.broadcast_to, empty=False),
    case("clone", F(3, 4), oracle=np.copy),
    case("contiguous", F(3, 4), oracle=np.copy),
    case("expand", F(3, 1), (2, -1, 4), oracle=lambda x, s: np.broadcast_to(x, (2, 3, 4)), empty=False),
    case("expand_as", F(3, 1), F(2, 3, 4, grad=False), oracle=lambda x, y: np.broadcast_to(x, y.shape), empty=False),
    case("flatten", F(2, 3, 4), 1, oracle=lambda x, d: x.reshape(len(x), 12)),
    case("flip", F(2, 3, 4), (0, -1), oracle=np.flip),
    case("fliplr", F(3, 4), oracle=np.fliplr),
    case("flipud", F(3, 4), oracle=np.flipud),
    case("moveaxis", F(2, 3, 4), 0, 2, oracle=np.moveaxis),
    case("movedim", F(2, 3, 4), (0, 1), (-1, 0), oracle=np.moveaxis),
    case("permute", F(2, 3, 4), (2, 0, 1), oracle=np.transpose),
    case("ravel", F(3, 4), oracle=np.ravel),
    case("reshape", F(2, 3, 4), (6, -1), oracle=np.reshape, empty=False),
    case("reshape_as", F(3, 4), F(2, 6, grad=False), oracle=lambda x, y: x.reshape(y.shape), empty=False),
    case("rot90", F(3, 4), oracle=np.rot90),
    case("rot90", F(2, 3, 4), 3, (0, 2), oracle=np.rot90, note="3"),
    case("rot90", F(3, 4), 2, oracle=np.rot90, note="2"),
    case("squeeze", F(3, 1, 4), oracle=lambda x: x.reshape(len(x), 4)),
    case("squeeze", F(3, 1, 1), 1, oracle=np.squeeze, note="dim"),
    case("swapaxes", F(2, 3, 4), 0, 2, oracle=np.swapaxes),
    case("swapdims", F(2, 3, 4), 0, -1, oracle=np.swapaxes),
    case("t", F(3, 4), oracle=np.transpose),
    case("transpose", F(2, 3, 4), 0, 1, oracle=np.swapaxes),
    case("unflatten", F(3, 8), 1, (2, -1), oracle=lambda x, d, s: x.reshape(len(x), 2, 4)),
    case("unsqueeze", F(3, 4), -1, oracle=np.expand_dims),
    case("view", F(3, 4), (2, 6), oracle=np.reshape, empty=False, function=lambda x, s: x.contiguous().view(s)),
    case("view_as", F(3, 4), F(12, grad=False), oracle=lambda x, y: x.reshape(-1), empty=False, function=lambda x, y: x.contiguous().view_as(y)),
    # slices and windows
    case("narrow", F(3, 5), 1, 2, 2, oracle=lambda x, d, a, n: x[:, 2:4]),
    case("select", F(3, 5), 1, -2, oracle=lambda x, d, i: x[:, -2]),
    case("select_scatter", F(3, 5), F(3), 1, 2, oracle=lambda x, v, d, i: written(x, np.s_[:, 2], v), empty=False),
    case("slice_scatter", F(3, 5), F(3, 2), oracle=lambda x, v: written(x, np.s_[:, 1::2], v), kw={"dim": 1, "start": 1, "step": 2}),
    case("unfold", F(3, 7), 1, 3, 2, oracle=lambda x, d, n, s: windows(x, n, s), empty=False),
    case("as_strided", F(12), (3, 4), (2, 1), 1, oracle=lambda x, n, s, o: x[1:][np.arange(3)[:, None] * 2 + np.arange(4)], empty=False, function=lambda x, *a: x.clone().as_strided(*a)),
    # diagonals and triangles
    case("diag", F(4), 1, oracle=np.diag, empty=False),
    case("diag", F(3, 4), -1, oracle=np.diag, note="matrix", empty=False),
    case("diag_embed", F(2, 3), 1, oracle=on_diagonal),
    case("diagflat", F(2, 2), oracle=np.diagflat),
    case("diagonal", F(3, 4, 2), 1, 1, 0, oracle=np.diagonal),
    case("fill_diagonal_", F(3, 4), 2.5, oracle=lambda x, v: np.where(np.eye(*x.shape, dtype=bool), v, x), function=lambda x, v: x.clone().fill_diagonal_(v)),
    case("diagonal_scatter", F(3, 4), F(3), 1, oracle=lambda x, v, k: written(x, (np.arange(3), np.arange(3) + 1), v), empty=False),
    case("tril", F(2, 3, 4), 1, oracle=np.tril),
    case("triu", F(2, 3, 4), -1, oracle=np.triu),
    case("tril_indices", 3, 4, 1, F(1, grad=False), oracle=lambda n, m, k, _: np.stack(np.tril_indices(n, k, m)), grad=False, empty=False, function=lambda n, m, k, _: tg.tril_indices(n, m, k)),
    case("triu_indices", 3, 4, -1, F(1, grad=False), oracle=lambda n, m, k, _: np.stack(np.triu_indices(n, k, m)), grad=False, empty=False, function=lambda n, m, k, _: tg.triu_indices(n, m, k)),
    # joining
    case("block_diag", F(2, 3), F(1, 2), F(3, 1), oracle=blocks, empty=False),
    case("cartesian_prod", F(3), F(2), oracle=lambda a, b: np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)),
    case("cat", (F(2, 3), F(2, 1), F(2, 2)), 1, oracle=np.concatenate),
    case("column_stack", (F(3), F(3, 2)), oracle=np.column_stack, empty=False),
    case("combinations", F(4), oracle=lambda x: np.stack([x[list(p)] for p in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))]), empty=False),
    case("concat", (F(2, 3), F(1, 3)), oracle=np.concatenate),
    case("concatenate", (F(2, 3), F(1, 3)), 0, oracle=np.concatenate),
    case("dstack", (F(2, 3), F(2, 3)), oracle=np.dstack),
    case("hstack", (F(2, 3), F(2, 1)), oracle=np.hstack),
    case("meshgrid", F(3), F(4), oracle=lambda a, b: np.meshgrid(a, b, indexing="ij")),
    case("meshgrid", F(3), F(4), kw={"indexing": "xy"}, oracle=lambda a, b: np.meshgrid(a, b), note="xy"),
    case("row_stack", (F(3), F(2, 3)), oracle=np.vstack, empty=False),
    case("stack", (F(2, 3), F(2, 3)), 1, oracle=np.stack),
    case("stack", (F(2, 3), F(2, 3)), -1, oracle=np.stack, note="last"),
    case("vstack", (F(3), F(2, 3)), oracle=np.vstack, empty=False),
    # taking apart
    case("chunk", F(5, 4), 3, oracle=lambda x, n: [x[:2], x[2:4], x[4:]], empty=False),
    case("dsplit", F(2, 3, 4), 2, oracle=np.dsplit),
    case("hsplit", F(3, 4), [1, 3], oracle=np.hsplit),
    case("split", F(3, 5), 2, 1, oracle=lambda x, n, d: [x[:, :2], x[:, 2:4], x[:, 4:]]),
    case("split_with_sizes", F(3, 5), (1, 4), 1, oracle=lambda x, n, d: [x[:, :1], x[:, 1:]]),
    case("tensor_split", F(3, 5), 3, 1, oracle=np.array_split),
    case("unbind", F(3, 4), 1, oracle=lambda x, d: list(x.T)),
    case("vsplit", F(4, 3), (1,), oracle=np.vsplit),
    # other orders
    case("repeat", F(3, 4), (2, 1, 3), oracle=np.tile),
    case("repeat_interleave", F(3, 4), 2, 1, oracle=np.repeat),
    case("repeat_interleave", F(3, 4), I(4), 1, oracle=lambda x, n, axis: np.repeat(x, n.astype(np.intp), axis), note="tensor"),
    case("roll", F(3, 4), (1, -2), (0, 1), oracle=np.roll),
    case("roll", F(3, 4), 5, oracle=np.roll, note="flat"),
    case("tile", F(3, 4), (2,), oracle=np.tile),
    # padding: numpy's widths come dim by dim from the first
    case("nn.functional.pad", F(2, 3), (1, 2, 0, 1), oracle=lambda x, w: np.pad(x, ((0, 1), (1, 2)), constant_values=1.5), kw={"value": 1.5}),
    case("nn.functional.pad", F(2, 5), (1, -2), oracle=lambda x, w: np.pad(x, ((0, 0), (1, 0)))[:, :4], note="cut"),
    case("nn.functional.pad", F(2, 3, 4), (2, 1), "reflect", oracle=lambda x, w, m: np.pad(x, ((0, 0), (0, 0), (2, 1)), m)),
    case("nn.functional.pad", F(2, 3, 4), (2, 1, 1, 0), "replicate", oracle=lambda x, w, m: np.pad(x, ((0, 0), (1, 0), (2, 1)), "edge")),
    case("nn.functional.pad", F(2, 2, 3, 4), (2, 1, 1, 3), "circular", oracle=lambda x, w, m: np.pad(x, ((0, 0), (0, 0), (1, 3), (2, 1)), "wrap")),
]  # fmt: skip
