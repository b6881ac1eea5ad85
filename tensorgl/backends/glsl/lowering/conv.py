"""Convolution and its two adjoints: the choice of kernels, and their launches.

No kernel writes windows out. The ways to compute one, the first that fits (`choose`):

    depthwise  every channel has its own filter: a texel of four channels meets its taps (conv.depthwise)
    planes     few input channels, in planes: four neighbours in a row at once (conv.planes)
    rows       channels last: what a row of taps reads is a run of texels (conv.rows)
    plain      anything else, an element at a time (conv, conv_weight)

What goes by rows may have a better kernel yet: conv.window for 3x3 on software rasterisers, and
conv_weight.slide for the gradient in a weight of few taps. All but plain read weights packed in the
order in which they need them. A gradient in the weight is made in two steps: sums over parts of the rows
of the batch (conv_weight.rows and so on), and the sum of those in the weight's order (conv_weight.sum).
What is told of a shape is in conv_shapes.
"""

from __future__ import annotations

from math import gcd, prod
from typing import NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value, vec
from tensorgl.backends.glsl.layout import dense_strides, layout
from tensorgl.backends.glsl.lowering import WANTED, Context, anchor, rewrite
from tensorgl.backends.glsl.lowering.conv_shapes import (
    Defines,
    Geometry,
    Pack,
    Packing,
    adjoint_packing,
    axes,
    forward_packing,
    geometry,
    planes_pack,
    planes_walk,
)
from tensorgl.backends.glsl.lowering.conv_window import Window, window
from tensorgl.backends.glsl.memory import bucket

__all__ = ["TUNED", "Tile", "choose", "tile"]

PLANES_WORTH = 1.4
"""Planes are chosen where rows would do so many times their multiplications."""
MAX_SPLITS = 256
"""Parts into which the sum of a gradient in the weight is divided at most."""

TUNED: dict[tuple[int, int, int], tuple[int, int]] = {}
"""What measurements on this device found best: (high, wide) of a `Tile`, by the arguments' powers of two."""


def choose(at: Geometry, kind: str, limits: Limits) -> str:
    """The way to compute a convolution ("conv") or one of its adjoints ("conv_input", "conv_weight")."""
    if at.groups == at.channels == at.outputs and at.groups > 1 and at.channels % 4 == 0:
        return "depthwise"
    packing = adjoint_packing(at) if kind == "conv_input" else forward_packing(at)
    if packing is None:
        return "plain"
    least = at.taps[2] if kind == "conv_weight" else 4  # render targets that planes need
    if kind == "conv_input" or planes_walk(at) is None or limits.draw_buffers < least:
        return "rows"
    # multiplications for each that is needed
    by_rows = 4 * packing.row.run / (at.taps[2] * at.channels)
    high = _planes_high(limits)
    by_planes = high * -(-at.outputs // high) / at.outputs
    # a render target holds whole rows of the result
    width = bucket(at.images * at.outputs * prod(at.positions) // 4, limits.rows)[1]
    if by_rows > PLANES_WORTH * by_planes and (not width or _plane(at, high) % width == 0):
        return "planes"
    return "rows"


def _planes_high(limits: Limits) -> int:
    """Channels of the result that an invocation of conv.planes computes."""
    return 8 if limits.draw_buffers >= 8 else 4


def _plane(at: Geometry, high: int) -> int:
    """Texels of the results of the channels that one render target gets in planes."""
    return -(-at.outputs // high) * at.images * prod(at.positions) // 4


class Tile(NamedTuple):
    """What an invocation computes: a texel, or `wide` neighbours, of `high` images that are `apart`."""

    high: int
    wide: int
    apart: int


def tile(images: int, texels: int, columns: int, limits: Limits) -> Tile:
    """The tile for a result of so many texels an image, `columns` of which read the same input.

    As measured, else the cheapest by an estimate in fetches, each of which takes as long as 32 multiply-adds.
    """
    width = bucket(images * texels, limits.rows)[1]
    wides = (2, 1) if limits.target == "compute" and columns % 2 == 0 else (1,)
    tuned = TUNED.get((images.bit_length(), texels.bit_length(), columns.bit_length()))
    found: dict[Tile, float] = {}
    most = 6 if limits.draw_buffers in (6, 7) else 8
    for high in (most, 4, 1):
        # a render target holds whole rows of the result
        step = width // gcd(width, texels) if width and high > 1 else 1
        apart = -(-images // (high * step)) * step
        for wide in wides if high <= limits.draw_buffers else ():
            if tuned == (high, wide):
                return Tile(high, wide, apart)
            invocations = max(apart * texels // wide, _enough(limits))
            found[Tile(high, wide, apart)] = invocations * (high + 4 * wide + high * wide / 2)
    return min(found, key=lambda t: found[t])


def _enough(limits: Limits) -> int:
    """Invocations that keep a device busy. Software rasterisers share squares of 64 pixels out."""
    return 65536 if not limits.software else 256 if limits.target == "compute" else 4096


def _last(rank: int) -> tuple[int, ...]:
    """Channels last."""
    return (0, *range(2, rank), 1)


def _planar(rank: int) -> tuple[int, ...]:
    """Channels first of all."""
    return (1, 0, *range(2, rank))


def _arranged(x: Operand, order: tuple[int, ...], context: Context) -> Operand:
    """An operand's memory, its dims in an order, as one dim; of a copy where it lies otherwise."""
    value = x.value
    if value.order is None and x.aligned and x.permuted(order).layout.dense:
        return x.through((-(-x.layout.size // 4) * 4,), (1,))
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
    at, (x, w) = _geometry(value), value.operands
    way = choose(at, value.op, context.limits)
    if way == "plain":
        return value
    params = at, value.op
    windows = _windows(*params, context.limits) if way == "rows" else None
    if way == "depthwise":
        last = w.permuted((*range(2, len(w.shape)), 1, 0))
        packed = context.step("conv_taps", [last], (), last.shape, value.dtype)
    else:
        pack = _pack(way, *params, context.limits)
        packed = context.step("conv_pack", [w], pack, (prod(pack.sizes),), value.dtype)
    if windows is not None:
        whole = (4 * windows.high * windows.grid,)
        parts = context.step("conv_window", [x, packed.whole()], params, whole, dtypes.float32)
        return context.step("conv_collect", [parts.whole()], params, value.shape, value.dtype)
    return context.step(f"conv_{way}", [x, packed.whole()], params, value.shape, value.dtype)


def _pack(way: str, at: Geometry, kind: str, limits: Limits) -> Pack:
    if way == "planes":
        return planes_pack(at, _planes_high(limits))
    return _packing(at, kind).pack


def _packing(at: Geometry, kind: str) -> Packing:
    packing = adjoint_packing(at) if kind == "conv_input" else forward_packing(at)
    assert packing is not None
    return packing


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
    x, w = value.operands
    walk = _packing(*value.params).walk
    order = _last(len(value.shape))
    image = value.texels // value.shape[0]
    how = tile(value.shape[0], image, int(walk["GROUP_OUT"]), context.limits)
    defines = {**walk, "R": how.high, "WIDE": how.wide, "IMAGES": how.apart}
    inputs = {"x": _arranged(x, order, context), "w": w}
    grid = how.apart * image // how.wide
    return Kernel([value], [value], "conv.rows", defines, inputs, grid, how.high, order=order)


def _windows(at: Geometry, kind: str, limits: Limits) -> Window | None:
    """The windows for a convolution, their targets whole rows, if that is the way to compute it."""
    found = window(at, kind, limits)
    if found is None:
        return None
    block = _block(found.high, found.grid, limits)
    return found._replace(walk=found.walk | {"BLOCK": block}, grid=block)


@anchor("conv_window", "conv_collect")
def windowed(value: Value, context: Context) -> Kernel:
    """A convolution in windows as conv.window leaves it, or that put together, channels last."""
    at, kind = value.params
    made = _windows(at, kind, context.limits)
    assert made is not None
    if value.op == "conv_collect":
        inputs, order = {"part": value.operands[0]}, _last(len(value.shape))
        return Kernel(
            [value], [value], "conv.collect", made.walk, inputs, value.texels, order=order
        )
    x, w = value.operands
    inputs = {"x": _arranged(x, _last(len(x.shape)), context), "w": w}
    return Kernel([value], [value], "conv.window", made.walk, inputs, made.grid, made.high)


@anchor("conv_planes")
def planes(value: Value, context: Context) -> Kernel:
    """A convolution of few channels, in planes."""
    at, _ = value.params
    x, w = value.operands
    high = _planes_high(context.limits)
    rank, grid = len(value.shape), _plane(at, high)
    defines = _planes_walk(at) | {"R": high, "BLOCKS": -(-at.outputs // high), "BLOCK": grid}
    inputs = {"x": _arranged(x, tuple(range(rank)), context), "w": w}
    return Kernel([value], [value], "conv.planes", defines, inputs, grid, high, order=_planar(rank))


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
    """A convolution, or its adjoint in the input, whose channels stay apart."""
    at, kind = value.params
    x, w = value.operands
    order = _last(len(value.shape))
    image = value.texels // value.shape[0]
    how = tile(value.shape[0], image, 1, context.limits)
    defines = _walk(at, kind == "conv_input") | {"CT": at.channels // 4}
    defines |= {"R": how.high, "IMAGES": how.apart}
    inputs = {"x": _arranged(x, order, context), "w": w}
    grid = how.apart * image
    return Kernel([value], [value], "conv.depthwise", defines, inputs, grid, how.high, order=order)


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
    at = _geometry(value)
    way = choose(at, "conv_weight", context.limits)
    if way == "plain":
        return value
    if way == "rows" and _slides(at, context.limits):
        way = "slide"
    made = _PARTS[way](at, context.limits)
    params = way, at
    dtype = dtypes.float32 if value.dtype.category == dtypes.FLOAT else value.dtype
    shape = (4 * made.high * made.block,)
    parts = context.step(f"conv_weight_{way}", value.operands, params, shape, dtype)
    return context.step("conv_weight_sum", [parts.whole()], params, value.shape, value.dtype)


def _splits(at: Geometry, grid: int, limits: Limits) -> tuple[int, int]:
    """How many rows of the batch to sum up in each part, and how many parts that are."""
    total = at.images * at.positions[0] * at.positions[1]
    each = -(-total // min(total, MAX_SPLITS, -(-2 * _enough(limits) // grid)))
    return each, -(-total // each)


def _block(high: int, grid: int, limits: Limits) -> int:
    """Texels of a block for so many invocations: a render target holds whole rows."""
    while limits.rows and high > 1 and grid % (width := bucket(high * grid, limits.rows)[1]):
        grid += -grid % width
    return grid


def _rows_parts(at: Geometry, limits: Limits) -> Parts:
    packing = _packing(at, "conv_weight")
    row, walk = packing.row, packing.walk
    paired = limits.draw_buffers >= 8 and (at.groups == 1 or int(walk["GROUP_OUT"]) % 2 == 0)
    step = 2 if paired else 1
    pairs = -(-packing.columns // step)
    grid = packing.taps * row.run * pairs
    each, splits = _splits(at, grid, limits)
    block = _block(4 * step, splits * grid, limits)
    places: Defines = {"FOLD": row.fold, "FRONT": row.front, "STRIDE": at.stride[2], "TX": row.taps}
    places |= {"X_ROW": int(not row.group), "RUN": row.run, "ROW": pairs, "STEP": step}
    places |= {"BLOCK": block, "SPLITS": splits, "SPLIT": 4 * grid}
    walk = walk | {"PAIRS": pairs, "STEP": step, "ROWS": each, "BLOCK": block}
    return Parts(walk, places, 4 * step, block)


def _planes_parts(at: Geometry, limits: Limits) -> Parts:
    fours = -(-at.outputs // 4)
    plane = fours * at.taps[0] * at.taps[1]
    each, splits = _splits(at, plane * at.channels, limits)
    block = _block(at.taps[2], splits * plane * at.channels, limits)
    channel = at.images * prod(at.positions) // 4
    walk = _planes_walk(at) | {"O": at.outputs, "FOURS": fours, "CHANNEL": channel}
    places: Defines = {"FOLD": 0, "X_STEP": block, "Y_STEP": fours, "C_STEP": 2 * plane}
    places |= {"ODD_STEP": plane, "SPLITS": splits, "SPLIT": 4 * plane * at.channels}
    return Parts(walk | {"ROWS": each, "BLOCK": block}, places, at.taps[2], block)


def _depthwise_parts(at: Geometry, limits: Limits) -> Parts:
    texels = at.channels // 4
    grid = texels * prod(at.taps)
    each, splits = _splits(at, grid, limits)
    places: Defines = {"FOLD": 0, "X_STEP": texels, "Y_STEP": texels * at.taps[2], "C_STEP": 0}
    places |= {"ODD_STEP": 0, "SPLITS": splits, "SPLIT": 4 * grid}
    return Parts(_walk(at) | {"CT": texels, "ROWS": each}, places, 1, splits * grid)


def _slides(at: Geometry, limits: Limits) -> bool:
    """Whether conv_weight.slide computes the gradient in a weight, with fewer fetches than by rows."""
    whole = at.groups == 1 and at.channels % 4 == 0 and at.outputs % 4 == 0
    straight = at.stride[2] == 1 and at.dilation[2] == 1 and at.before[2] < at.taps[2]
    return whole and straight and 2 <= at.taps[2] <= 4 and 2 * at.taps[2] <= limits.draw_buffers


def _slide_parts(at: Geometry, limits: Limits) -> Parts:
    texels, pairs, high = at.outputs // 4, at.channels // 2, 2 * at.taps[2]
    grid = texels * pairs * at.taps[0] * at.taps[1]
    each, splits = _splits(at, grid, limits)
    block = _block(high, splits * grid, limits)
    places: Defines = {"FOLD": 0, "X_STEP": 2 * block, "Y_STEP": pairs * texels, "C_STEP": texels}
    places |= {"ODD_STEP": block, "SPLITS": splits, "SPLIT": 4 * grid}
    # the positions whose last tap is not in the padding
    full = max(0, min(at.positions[2], at.size[2] + at.before[2] - at.taps[2] + 1))
    walk = _walk(at) | {"CT": at.channels // 4, "OT": texels, "FULL": full}
    walk |= {"ROWS": each, "BLOCK": block}
    return Parts(walk, places, high, block)


_PARTS = {
    "slide": _slide_parts,
    "rows": _rows_parts,
    "planes": _planes_parts,
    "depthwise": _depthwise_parts,
}


@anchor("conv_weight_slide", "conv_weight_rows", "conv_weight_planes", "conv_weight_depthwise")
def parts(value: Value, context: Context) -> Kernel:
    """Sums over parts of the rows of the batch."""
    g, x = value.operands
    way, at = value.params
    made = _PARTS[way](at, context.limits)
    orders = [_last(len(g.shape))] * 2
    if way == "planes":
        orders = [_planar(len(g.shape)), tuple(range(len(g.shape)))]
    arranged = [_arranged(v, o, context) for v, o in zip((g, x), orders, strict=True)]
    inputs = dict(zip("gx", arranged, strict=True))
    template = f"conv_weight.{way}"
    return Kernel([value], [value], template, made.walk, inputs, made.block, made.high)


@anchor("conv_weight_sum")
def total(value: Value, context: Context) -> Kernel:
    """The sum of the parts, in the weight's order."""
    (part,), (way, at) = value.operands, value.params
    defines = _PARTS[way](at, context.limits).places | axes(K=at.taps)
    defines |= {"C": at.inner, "O": at.outputs, "SIZE": value.size}
    return Kernel([value], [value], "conv_weight.sum", defines, {"part": part}, value.texels)


@anchor("conv_weight")
def plain_weight(value: Value, context: Context) -> Kernel:
    """Any adjoint in the weight."""
    at, (g, x) = _geometry(value), value.operands
    defines = _walk(at) | {"O": at.outputs, "C": at.inner, "SIZE": value.size}
    return Kernel([value], [value], "conv_weight", defines, {"g": g, "x": x}, value.texels)
