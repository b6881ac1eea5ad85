"""Convolution and its two adjoints: their launches. conv_choice.py says which kernels.

No kernel writes windows out. All but the plain kernels read weights packed in the order in which they
need them. A gradient in the weight is made in two steps: sums over parts of the rows of the batch
(conv_weight.rows and so on), and the sum of those in the weight's order (conv_weight.sum). What is told
of a shape is in conv_shapes.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Variant
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value, vec
from tensorgl.backends.glsl.layout import dense_strides, layout
from tensorgl.backends.glsl.lowering import WANTED, Context, anchor, rewrite
from tensorgl.backends.glsl.lowering.conv_choice import (
    CONV,
    CONV_WEIGHT,
    Problem,
    apart,
    invocations,
    packing,
    splits,
)
from tensorgl.backends.glsl.lowering.conv_shapes import (
    Defines,
    Geometry,
    Pack,
    Packing,
    axes,
    depthwise_walk,
    geometry,
    planes_pack,
    planes_walk,
)
from tensorgl.backends.glsl.lowering.conv_window import Window, windows
from tensorgl.backends.glsl.memory import bucket
from tensorgl.backends.glsl.tuning import interface

__all__: list[str] = []


def _last(rank: int) -> tuple[int, ...]:
    """Channels last."""
    return (0, *range(2, rank), 1)


def _planar(rank: int) -> tuple[int, ...]:
    """Channels first of all."""
    return (1, 0, *range(2, rank))


def _row_major(x: Operand) -> bool:
    """Whether an operand is whole texels of memory, in its order."""
    return x.value.order is None and x.aligned and x.layout.dense


def _flat(x: Operand) -> Operand:
    """An operand's memory as one dim, of whole texels."""
    return x.through((-(-x.layout.size // 4) * 4,), (1,))


def _arranged(x: Operand, order: tuple[int, ...], context: Context) -> Operand:
    """An operand's memory, its dims in an order, as one dim; of a copy where it lies otherwise."""
    value = x.value
    if _row_major(x.permuted(order)):
        return _flat(x)
    known = value.order or range(len(value.shape))
    alike = [d for d in known if value.shape[d] > 1] == [d for d in order if value.shape[d] > 1]
    if not x.whole or value.shape != x.shape or not alike:
        value = context.realised(x, order).value
    kept = value.order or order
    logical = dense_strides(value.shape)
    sizes, strides = (tuple(s[d] for d in kept) for s in (value.shape, logical))
    return Operand(value, layout(sizes, strides))


def _geometry(value: Value) -> Geometry:
    """The convolution that a value is, or is an adjoint of."""
    a, b = value.operands
    if value.op == "conv":
        return geometry(a.shape, b.shape, value.shape[2:], *value.params)
    x, w = (value.shape, b.shape) if value.op == "conv_input" else (b.shape, value.shape)
    return geometry(x, w, a.shape[2:], *value.params[1:])


def _trivial(value: Value) -> bool:
    return any(not x.layout.size for x in value.operands)


def _zero(value: Value, context: Context) -> Value:
    zero = Number(-1, value.dtype.category == dtypes.FLOAT, 0)
    return context.step("full", [zero], (), value.shape, value.dtype)


@rewrite("conv", "conv_input")
def conv(value: Value, context: Context) -> Value:
    """The kernel with its weight packed; what the plain kernel computes stays what it is."""
    if _trivial(value) or not value.size:
        return _zero(value, context)
    p, (x, w) = Problem(_geometry(value), value.op), value.operands
    choice = context.choose(CONV, p)
    step = _step(choice)
    if step == "conv":
        return value
    if step == "conv_depthwise":
        last = w.permuted((*range(2, len(w.shape)), 1, 0))
        packed = context.step("conv_taps", [last], (), last.shape, value.dtype)
    else:
        pack = planes_pack(p.at, choice["R"]) if step == "conv_planes" else _packing(p).pack
        packed = context.step("conv_pack", [w], pack, (prod(pack.sizes),), value.dtype)
    operands, params = [x, packed.whole()], (p, choice)
    if step == "conv_window":
        made = _windows(p, choice, context.limits)
        whole = (4 * made.high * made.grid,)
        parts = context.step(step, operands, params, whole, dtypes.float32)
        step, operands = "conv_collect", [parts.whole()]
    return context.step(step, operands, params, value.shape, value.dtype)


def _step(choice: Variant) -> str:
    """The step that a kernel computes: it is named as the kernel whose interface that has."""
    return interface(choice.kernel).replace(".", "_")


def _packing(p: Problem) -> Packing:
    found = packing(p)
    assert found is not None
    return found


@anchor("conv_pack", "conv_taps")
def pack(value: Value, context: Context) -> Kernel:
    """Weights in the order in which they are read, always in memory; those of one size are one launch."""
    return Kernel([], [value], grid=value.texels)


@map_op("conv_taps")
def taps(e: Emitter, value: Value, index: Index) -> str:
    """A depthwise weight, its channels last."""
    return e.operand(value, 0, index)


@map_op("conv_pack")
def weights(e: Emitter, value: Value, index: Index) -> str:
    """Four packed weights: zeros where a pixel has no tap."""
    pack: Pack = value.params
    (w,) = value.operands
    *phases, z, y, x, row, column = e.digits(index.reshaped(pack.sizes))
    steps = [
        f"{s} + {t} * {n} + {p}"
        for s, t, n, p in zip(pack.start, pack.tap, (z, y, x), phases, strict=True)
    ]
    if pack.blocks:
        high = pack.sizes[-1] // pack.blocks
        block, place = e.quotient("ivec4", column, high), e.remainder("ivec4", column, high)
        o, c = e.let("ivec4", f"{place} * {pack.blocks} + {block}"), row
        inside = [f"ivec4(lessThan({o}, ivec4({w.shape[0]})))"]
    else:
        source = e.let("ivec4", f"{row} + {4 * pack.source - pack.front}")
        pixel, i = (
            e.quotient("ivec4", source, pack.source),
            e.remainder("ivec4", source, pack.source),
        )
        fold, j = (
            e.quotient("ivec4", column, pack.result),
            e.remainder("ivec4", column, pack.result),
        )
        steps[2] += f" + {pack.fold} * {fold} + {pack.pixel} * ({pixel} - 4)"
        inside = [f"ivec4(greaterThan({pixel}, ivec4(3)))"]
        o, c = j, i
        if pack.adjoint:
            o = e.let("ivec4", f"{e.quotient('ivec4', j, w.shape[1])} * {pack.source} + {i}")
            c = e.remainder("ivec4", j, w.shape[1])
    place = f"{o} * {w.shape[1]} + {c}"
    for k, step in zip(pack.taps, steps, strict=True):
        tap = e.let("ivec4", step)
        inside.append(f"ivec4(lessThan(uvec4({tap}), uvec4({k})))")  # negative ones are large
        place = f"({place}) * {k} + {tap}"
    found = e.let("ivec4", " * ".join(inside))
    shape = (*w.shape[:2], *pack.taps)
    lanes = Index("lanes", e.let("ivec4", f"({place}) * {found}"), shape)
    kind = vec(value.dtype)
    loaded = e.load(w, lanes.reshaped(w.shape))
    return f"mix(vec4(0), {loaded}, bvec4({found}))" if kind == "vec4" else f"{loaded} * {found}"


@anchor("conv_rows")
def rows(value: Value, context: Context) -> Kernel:
    """A convolution by runs of texels, channels last."""
    p, choice = value.params
    x, w = value.operands
    order = _last(len(value.shape))
    images = apart(choice["R"], p, context.limits)
    defines = {**_packing(p).walk, **dict(choice.values), "IMAGES": images}
    inputs = {"x": _arranged(x, order, context), "w": w}
    grid = images * p.shape[1] // choice["WIDE"]
    return Kernel([value], [value], choice.kernel, defines, inputs, grid, choice["R"], order=order)


def _windows(p: Problem, choice: Variant, limits: Limits) -> Window:
    """The windows for a convolution, their targets whole rows."""
    found = windows(p.at, p.kind, choice["WX"], choice["IMAGES"])
    block = _block(found.high, found.grid, limits)
    return found._replace(walk=found.walk | dict(choice.values) | {"BLOCK": block}, grid=block)


@anchor("conv_window", "conv_collect")
def windowed(value: Value, context: Context) -> Kernel:
    """A convolution in windows as conv.window leaves it, or that put together, channels last."""
    p, choice = value.params
    made = _windows(p, choice, context.limits)
    if value.op == "conv_collect":
        inputs, order = {"part": value.operands[0]}, _last(len(value.shape))
        return Kernel(
            [value], [value], "conv.collect", made.walk, inputs, value.texels, order=order
        )
    x, w = value.operands
    inputs = {"x": _arranged(x, _last(len(x.shape)), context), "w": w}
    return Kernel([value], [value], choice.kernel, made.walk, inputs, made.grid, made.high)


@anchor("conv_planes")
def planes(value: Value, context: Context) -> Kernel:
    """A convolution of few channels, in planes."""
    (at, _), choice = value.params
    x, w = value.operands
    rank, blocks = len(value.shape), -(-at.outputs // choice["R"])
    grid = blocks * at.images * prod(at.positions) // 4  # texels of a target
    defines = _planes_walk(at) | dict(choice.values) | {"BLOCKS": blocks, "BLOCK": grid}
    inputs = {"x": _arranged(x, tuple(range(rank)), context), "w": w}
    return Kernel(
        [value], [value], choice.kernel, defines, inputs, grid, choice["R"], order=_planar(rank)
    )


def _planes_walk(at: Geometry) -> Defines:
    walk = planes_walk(at)
    assert walk is not None
    return walk


def _walk(at: Geometry, adjoint: bool = False) -> Defines:
    """What kernels are told that go from tap to tap."""
    out, source = (at.size, at.positions) if adjoint else (at.positions, at.size)
    walk = axes(O=out, I=source, K=at.taps, S=at.stride, P=at.before, D=at.dilation)
    return walk | {"ADJOINT": int(adjoint), "N": at.images, "GROUPS": at.groups}


def _last_of(value: Value, k: int) -> tuple[int, ...] | None:
    """Images channels last, and weights as they are packed."""
    return None if k else _last(len(value.operands[0].shape))


WANTED["conv_rows"] = WANTED["conv_window"] = WANTED["conv_depthwise"] = _last_of
for _way in ("slide", "rows", "depthwise"):
    WANTED[f"conv_weight_{_way}"] = lambda value, k: _last(len(value.operands[k].shape))
WANTED["conv_weight_planes"] = lambda value, k: None if k else _planar(len(value.operands[k].shape))


@anchor("conv_depthwise")
def depthwise(value: Value, context: Context) -> Kernel:
    """A convolution, or its adjoint in the input, whose channels stay apart: in planes where x lies so."""
    p, choice = value.params
    x, w = value.operands
    images, adjoint = apart(choice["R"], p, context.limits), p.kind == "conv_input"
    common: Defines = dict(choice.values) | {"IMAGES": images}
    grid = images * p.shape[1]
    walk = depthwise_walk(p.at, adjoint=adjoint)
    if walk is not None and _row_major(x):
        name, inputs = "conv.depthwise.planes", {"x": _flat(x), "w": w}
        return Kernel([value], [value], name, walk | common, inputs, grid, choice["R"])
    order = _last(len(value.shape))
    defines = _walk(p.at, adjoint) | common | {"CT": p.at.channels // 4}
    inputs = {"x": _arranged(x, order, context), "w": w}
    return Kernel([value], [value], choice.kernel, defines, inputs, grid, choice["R"], order=order)


@anchor("conv", "conv_input")
def plain(value: Value, context: Context) -> Kernel:
    """Any convolution or adjoint of one in the input."""
    at, (x, w) = _geometry(value), value.operands
    adjoint = value.op == "conv_input"
    source, to = (at.outer, at.inner) if adjoint else (at.inner, at.outer)
    defines = _walk(at, adjoint) | {"FROM": source, "TO": to, "SIZE": value.size}
    return Kernel([value], [value], "conv", defines, {"x": x, "w": w}, value.texels)


class Parts(NamedTuple):
    """Sums over parts of the rows of the batch.

    `high` blocks of `block` texels, as the kernel that makes them is told (`walk`), and where
    conv_weight.sum finds them (`places`).
    """

    walk: Defines
    places: Defines
    high: int
    block: int


@rewrite("conv_weight")
def conv_weight(value: Value, context: Context) -> Value:
    """The sum of sums over parts; what the plain kernel computes stays what it is."""
    if _trivial(value) or not value.size:
        return _zero(value, context)
    p = Problem(_geometry(value), value.op)
    choice = context.choose(CONV_WEIGHT, p)
    step = _step(choice)
    if step == "conv_weight":
        return value
    made = _PARTS[step](p, choice, context.limits)
    params = p, choice
    dtype = dtypes.float32 if value.dtype.category == dtypes.FLOAT else value.dtype
    shape = (4 * made.high * made.block,)
    parts = context.step(step, value.operands, params, shape, dtype)
    return context.step("conv_weight_sum", [parts.whole()], params, value.shape, value.dtype)


def _block(high: int, grid: int, limits: Limits) -> int:
    """Texels of a block for so many invocations: a render target holds whole rows."""
    while limits.rows and high > 1 and grid % (width := bucket(high * grid, limits.rows)[1]):
        grid += -grid % width
    return grid


def _rows_parts(p: Problem, choice: Variant, limits: Limits) -> Parts:
    by_rows, step = _packing(p), choice["STEP"]
    row = by_rows.row
    pairs, grid = -(-by_rows.columns // step), invocations(choice, p)
    each, parts = splits(choice, p.at)
    block = _block(4 * step, parts * grid, limits)
    places: Defines = {"FOLD": row.fold, "FRONT": row.front, "STRIDE": p.at.stride[2]}
    places |= {"TX": row.taps, "X_ROW": int(not row.group), "RUN": row.run, "ROW": pairs}
    places |= {"STEP": step, "BLOCK": block, "SPLITS": parts, "SPLIT": 4 * grid}
    walk = by_rows.walk | {"PAIRS": pairs, "STEP": step, "ROWS": each, "BLOCK": block}
    return Parts(walk, places, 4 * step, block)


def _planes_parts(p: Problem, choice: Variant, limits: Limits) -> Parts:
    at = p.at
    fours = -(-at.outputs // 4)
    plane, grid = fours * at.taps[0] * at.taps[1], invocations(choice, p)
    each, parts = splits(choice, at)
    block = _block(at.taps[2], parts * grid, limits)
    channel = at.images * prod(at.positions) // 4
    walk = _planes_walk(at) | {"O": at.outputs, "FOURS": fours, "CHANNEL": channel}
    places: Defines = {"FOLD": 0, "X_STEP": block, "Y_STEP": fours, "C_STEP": 2 * plane}
    places |= {"ODD_STEP": plane, "SPLITS": parts, "SPLIT": 4 * grid}
    return Parts(walk | {"ROWS": each, "BLOCK": block}, places, at.taps[2], block)


def _depthwise_parts(p: Problem, choice: Variant, limits: Limits) -> Parts:
    at = p.at
    texels, grid = at.channels // 4, invocations(choice, p)
    each, parts = splits(choice, at)
    places: Defines = {"FOLD": 0, "X_STEP": texels, "Y_STEP": texels * at.taps[2], "C_STEP": 0}
    places |= {"ODD_STEP": 0, "SPLITS": parts, "SPLIT": 4 * grid}
    return Parts(_walk(at) | {"CT": texels, "ROWS": each}, places, 1, parts * grid)


def _slide_parts(p: Problem, choice: Variant, limits: Limits) -> Parts:
    at = p.at
    texels, pairs, high = at.outputs // 4, at.channels // 2, 2 * at.taps[2]
    grid = invocations(choice, p)
    each, parts = splits(choice, at)
    block = _block(high, parts * grid, limits)
    places: Defines = {"FOLD": 0, "X_STEP": 2 * block, "Y_STEP": pairs * texels, "C_STEP": texels}
    places |= {"ODD_STEP": block, "SPLITS": parts, "SPLIT": 4 * grid}
    # the positions whose last tap is not in the padding
    full = max(0, min(at.positions[2], at.size[2] + at.before[2] - at.taps[2] + 1))
    walk = _walk(at) | {"CT": at.channels // 4, "OT": texels, "FULL": full}
    walk |= {"ROWS": each, "BLOCK": block}
    return Parts(walk, places, high, block)


_PARTS = {
    "conv_weight_slide": _slide_parts,
    "conv_weight_rows": _rows_parts,
    "conv_weight_planes": _planes_parts,
    "conv_weight_depthwise": _depthwise_parts,
}


@anchor("conv_weight_slide", "conv_weight_rows", "conv_weight_planes", "conv_weight_depthwise")
def parts(value: Value, context: Context) -> Kernel:
    """Sums over parts of the rows of the batch."""
    g, x = value.operands
    p, choice = value.params
    made = _PARTS[value.op](p, choice, context.limits)
    orders = [_last(len(g.shape))] * 2
    if value.op == "conv_weight_planes":
        orders = [_planar(len(g.shape)), tuple(range(len(g.shape)))]
    arranged = [_arranged(v, o, context) for v, o in zip((g, x), orders, strict=True)]
    inputs = dict(zip("gx", arranged, strict=True))
    walk = dict(choice.values) | made.walk
    return Kernel([value], [value], choice.kernel, walk, inputs, made.block, made.high)


@anchor("conv_weight_sum")
def total(value: Value, context: Context) -> Kernel:
    """The sum of the parts, in the weight's order."""
    (part,), (p, choice) = value.operands, value.params
    step = _step(choice)
    defines = _PARTS[step](p, choice, context.limits).places | axes(K=p.at.taps)
    defines |= {"C": p.at.inner, "O": p.at.outputs, "SIZE": value.size}
    return Kernel([value], [value], "conv_weight.sum", defines, {"part": part}, value.texels)


@anchor("conv_weight")
def plain_weight(value: Value, context: Context) -> Kernel:
    """Any adjoint in the weight."""
    at, (g, x) = _geometry(value), value.operands
    defines = _walk(at) | {"O": at.outputs, "C": at.inner, "SIZE": value.size}
    return Kernel([value], [value], "conv_weight", defines, {"g": g, "x": x}, value.texels)
