"""Convolution and its two adjoints: the choice of kernels by shape, and what those are told of the shape.

No kernel writes windows out. Ways to compute one, the first that fits (`choose`):

    depthwise  every channel has its own filter: a texel of four channels meets its taps (conv.depthwise)
    planes     few input channels, in planes: four neighbours in a row at once (conv.planes)
    rows       channels last: what a row of taps reads is one run of texels (conv.rows)
    plain      anything else, an element at a time (conv, conv_weight)

Planes and rows read weights packed in the order in which they need them (conv.pack). In rows a run and a
result must begin and end at texels. Where channels are no multiple of four, `fold` neighbouring pixels are
computed as one with so many times the channels: a run is as long as all of them together need, and
packed weights have zeros where a pixel has no tap. The adjoint of a convolution in its input is a
convolution, too, whose taps depend on a position's remainder by the stride, its phase.

A gradient in the weight is made in two steps: sums over parts of the rows of the batch, in the packed order or
in planes, and the sum of those in the weight's order (conv_weight.sum).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd, prod
from typing import Any, NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value
from tensorgl.backends.glsl.layout import dense_strides, layout
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.backends.glsl.memory import bucket

__all__ = ["Geometry", "Packing", "choose"]

Triple = tuple[int, int, int]
Defines = dict[str, "int | str"]
FOLDS = 1, 2, 4
MAX_TAPS = 7
"""Of a row in planes."""
PLANES_WORTH = 1.4
"""Planes are chosen where rows would do so many times their multiplications."""
MAX_SPLITS = 256
"""Parts into which the sum of a gradient in the weight is divided at most."""


class Geometry(NamedTuple):
    """A convolution with three spatial dims; sizes of those that it has not are 1."""

    images: int
    channels: int
    outputs: int
    groups: int
    size: Triple  # of the input
    positions: Triple  # of windows: the size of the result
    taps: Triple
    stride: Triple
    before: Triple
    dilation: Triple

    @property
    def inner(self) -> int:
        """Input channels of a group."""
        return self.channels // self.groups

    @property
    def outer(self) -> int:
        """Results of a group."""
        return self.outputs // self.groups


def geometry(
    x: Sequence[int],
    w: Sequence[int],
    positions: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
) -> Geometry:
    """The geometry of a convolution of an input and a weight of these shapes."""

    def three(values: Iterable[int], fill: int = 1) -> Any:
        given = tuple(values)
        return (fill,) * (3 - len(given)) + given

    before = three((p for p, _ in padding), 0)
    sizes = three(x[2:]), three(positions), three(w[2:])
    return Geometry(x[0], x[1], w[0], groups, *sizes, three(stride), before, three(dilation))


class Packing(NamedTuple):
    """What conv.rows and conv.pack are told, and the sizes of the packed weights.

    Attributes:
        walk, pack: the kernels' defines.
        fold: pixels that are computed as one.
        front: elements of a run before those that the first pixel needs.
        run: texels of a run.
        columns: texels of the result of pixels that are computed as one.
        phases: how many remainders by the stride there are.
    """

    walk: Defines
    pack: Defines
    fold: int
    front: int
    run: int
    columns: int
    phases: int

    @property
    def taps(self) -> int:
        """Runs that a phase needs."""
        return prod(int(self.walk[n]) for n in ("TZ", "TY", "TX"))

    @property
    def texels(self) -> int:
        """Of the packed weights."""
        return self.phases * self.taps * 4 * self.run * self.columns


def _axes(at: Geometry, **values: Sequence[int]) -> Defines:
    """Defines for each spatial dim: `S=stride` gives SZ, SY and SX. O and I are those of a convolution."""
    values = {"O": at.positions, "I": at.size, **values}
    return {name + d: v[k] for name, v in values.items() for k, d in enumerate("ZYX")}


def packed_forward(at: Geometry) -> Packing | None:
    """How rows compute a convolution; None if they can't."""
    c, o, sx, px, dx = at.inner, at.outer, at.stride[2], at.before[2], at.dilation[2]
    taps, width = at.taps[2], at.size[2]
    tapped = at.groups > 1 or (dx > 1 and taps > 1)
    if tapped:
        if c % 4 or o % 4:
            return None
        fold, front, run = 1, 0, c // 4
        walk = _row(sx, px, dx, at.channels, TX=taps, GROUP_OUT=o // 4, GROUP_IN=c // 4)
        pack = {"X_START": 0, "X_TAP": 1, "X_FOLD": 0, "X_PIXEL": 0}
    else:
        fold = _fold(at.positions[2], (1, o), (sx, c))
        if not fold or width * c % 4:
            return None
        front, run = _run(px * c, (taps + (fold - 1) * sx) * c)
        walk = _row(
            fold * sx, 0, 0, c, PX=(px * c + front) // 4, TX=1, GROUP_OUT=fold * o // 4, GROUP_IN=0
        )
        pack = {"X_START": 0, "X_TAP": 0, "X_FOLD": -sx, "X_PIXEL": 1}
    walk = {
        **_axes(at, T=at.taps, K=at.taps, S=at.stride, P=at.before, D=at.dilation),
        **_axes(at, A=(0, 0, 0), R=(1, 1, 1)),
        **walk,
        "OX": at.positions[2] // fold,
        "IX": width * at.channels // 4,
        "WX": taps,
    }
    pack |= {"ADJOINT": 0, "IN": c, "OUT": at.outputs, "FRONT": front}
    pack |= {"Y_START": 0, "Y_TAP": 1, "Z_START": 0, "Z_TAP": 1}
    return _packing(at, walk, pack, fold, front, run, fold * at.outputs // 4, tapped)


def packed_adjoint(at: Geometry) -> Packing | None:
    """How rows compute the adjoint of a convolution in its input; None if they can't."""
    if any(s > 1 and d > 1 for s, d in zip(at.stride, at.dilation, strict=True)):
        return None
    c, o, sx, px, dx = at.inner, at.outer, at.stride[2], at.before[2], at.dilation[2]
    windows = tuple(-(-k // s) for k, s in zip(at.taps, at.stride, strict=True))
    back = tuple((k - 1) * d for k, d in zip(windows, at.dilation, strict=True))
    tapped = at.groups > 1 or dx > 1
    ahead, phases, fold, front = px, sx, 1, 0
    pack: Defines = {"X_FOLD": 0, "X_START": sx * (windows[2] - 1), "X_PIXEL": 0, "X_TAP": 0}
    if c % 4 == 0 and o % 4 == 0:
        run = o // 4 if tapped else windows[2] * o // 4
        pack["X_TAP" if tapped else "X_PIXEL"] = -sx
        taps = windows[2] if tapped else 1
        group = {"GROUP_OUT": c // 4, "GROUP_IN": o // 4 if tapped else 0}
        walk = _row(1, back[2], dx if tapped else 0, at.outputs, TX=taps, **group)
    else:
        fold = 0 if tapped else _fold(at.size[2], (1, c), (1, o), sx)
        if not fold or at.positions[2] * o % 4:
            return None
        ahead, phases = 0, 1
        reach = (at.taps[2] - 1 - px) // sx  # how many pixels before its own place a run begins
        front, run = _run(reach * o, ((fold - 1 + px) // sx + reach + 1) * o)
        walk = _row(
            fold // sx,
            0,
            0,
            o,
            PX=(reach * o + front) // 4,
            TX=1,
            GROUP_OUT=fold * c // 4,
            GROUP_IN=0,
        )
        pack |= {"X_FOLD": 1, "X_START": px + sx * reach, "X_PIXEL": -sx}
    walk = {
        **_axes(
            at, O=at.size, I=at.positions, T=windows, K=at.taps, S=(1, 1, 1), P=back, D=at.dilation
        ),
        **_axes(
            at, O=at.size, I=at.positions, A=(*at.before[:2], ahead), R=(*at.stride[:2], phases)
        ),
        **walk,
        "OX": at.size[2] // fold,
        "IX": at.positions[2] * at.outputs // 4,
        "WX": windows[2] if phases > 1 else at.taps[2],
    }
    pack |= {"ADJOINT": 1, "IN": o, "OUT": at.channels, "FRONT": front}
    for n, k, s in zip("ZY", windows, at.stride, strict=False):
        pack |= {f"{n}_START": s * (k - 1), f"{n}_TAP": -s}
    return _packing(at, walk, pack, fold, front, run, fold * at.channels // 4, tapped)


def _fold(pixels: int, result: tuple[int, int], source: tuple[int, int], stride: int = 1) -> int:
    """How many pixels to compute as one so that result and runs begin at texels; 0 if none will do.

    `result` and `source` are (pixels a step, channels) for each `stride` pixels of the result.
    """
    for f in (n * stride for n in FOLDS):
        if not (pixels % f or f * result[1] % 4 or f // stride * source[0] * source[1] % 4):
            return f
    return 0


def _run(before: int, length: int) -> tuple[int, int]:
    """Elements that a run of `length` elements has in front so that it begins at a texel, and its texels.

    It begins `before` elements ahead of a texel.
    """
    front = -before % 4
    return front, -(-(front + length) // 4)


def _row(step: int, before: int, apart: int, channels: int, **others: int) -> Defines:
    """Pixels from run to run, before the first, and between taps, as texels."""
    walk: Defines = {
        "SX": step * channels // 4,
        "PX": before * channels // 4,
        "DX": apart * channels // 4,
    }
    return {**walk, **others}


def _packing(
    at: Geometry,
    walk: Defines,
    pack: Defines,
    fold: int,
    front: int,
    run: int,
    columns: int,
    tapped: bool,
) -> Packing:
    runs = {n: walk[n] for n in ("TX", "TY", "TZ", "RX", "RY", "RZ")}
    walk |= {"N": at.images, "OT": columns, "RUN": run, "TAPPED": int(tapped)}
    pack = {
        **_axes(at, K=at.taps),
        **pack,
        **runs,
        "PLANES": 0,
        "C": at.inner,
        "ROWS": 4 * run,
        "COLUMNS": columns,
    }
    phases = prod(int(walk[n]) for n in ("RX", "RY", "RZ"))
    return Packing(walk, pack, fold, front, run, columns, phases)


class Planes(NamedTuple):
    """What conv.planes and conv_weight.planes are told of rows.

    Attributes:
        front: elements of the first texel before those that the first window needs.
        before: texels before a window's own place.
        run: texels that four windows read.
    """

    front: int
    before: int
    run: int


def planes(at: Geometry) -> Planes | None:
    """How planes compute a convolution; None if they can't."""
    step, taps, ahead = at.stride[2], at.taps[2], at.before[2]
    fits = at.groups == 1 and at.dilation[2] == 1 and step <= 2 and taps <= MAX_TAPS
    if not fits or at.size[2] % 4 or at.positions[2] % 4:
        return None
    front = -ahead % 4
    return Planes(front, (ahead + front) // 4, -(-(front + taps + 3 * step) // 4))


def choose(at: Geometry, kind: str, limits: Limits) -> str:
    """The way to compute a convolution ("conv") or one of its adjoints ("conv_input", "conv_weight")."""
    if at.groups == at.channels == at.outputs and at.groups > 1 and at.channels % 4 == 0:
        return "depthwise"
    packing = packed_adjoint(at) if kind == "conv_input" else packed_forward(at)
    if packing is None:
        return "plain"
    # multiplications done for each that is needed
    by_rows = 4 * packing.run / (at.taps[2] * at.channels)
    by_planes = 8 * -(-at.outputs // 8) / at.outputs
    wasteful = by_rows > PLANES_WORTH * by_planes
    if kind != "conv_input" and wasteful and planes(at) is not None and limits.draw_buffers >= 8:
        texels = at.images * at.outputs * prod(at.positions) // 4
        # a render target holds whole rows of the result
        if not limits.rows or _plane(at) % bucket(texels, limits.rows)[1] == 0:
            return "planes"
    return "rows"


def _plane(at: Geometry) -> int:
    """Texels of the results of the channels that one render target gets in planes."""
    return -(-at.outputs // 8) * at.images * prod(at.positions) // 4


class Tile(NamedTuple):
    """What an invocation computes: a texel, or `wide` neighbours, of `high` images that are `images` apart."""

    high: int
    wide: int
    images: int


def tile(images: int, texels: int, columns: int, limits: Limits) -> Tile:
    """The tile for a result of so many texels an image, `columns` of which read the same input.

    The cheapest by an estimate in texel fetches, each of which takes as long as 32 multiply-adds.
    """
    compute = limits.target == "compute"
    width = bucket(images * texels, limits.rows)[1]
    best, least = Tile(1, 1, images), 0.0
    for high in (8, 4, 1):
        if high > limits.draw_buffers:
            continue
        step = width // gcd(width, texels) if width and high > 1 else 1
        apart = -(-images // (high * step)) * step
        for wide in (2, 1) if compute and columns % 2 == 0 else (1,):
            invocations = max(apart * texels // wide, _enough(limits))
            cost = invocations * (high + 4 * wide + high * wide / 2)
            if not least or cost < least:
                best, least = Tile(high, wide, apart), cost
    return best


def _enough(limits: Limits) -> int:
    """Invocations that keep a device busy. Software rasterisers share squares of 64 pixels out."""
    return 65536 if not limits.software else 256 if limits.target == "compute" else 4096


def _last(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank), 1)


def _planar(rank: int) -> tuple[int, ...]:
    return (1, 0, *range(2, rank))


def _arranged(x: Operand, order: tuple[int, ...], context: Context) -> Operand:
    """The memory of an operand with its dims in an order, as one dim; a copy where it lies otherwise."""
    value = x.value
    if value.order is None and x.aligned and x.permuted(order).layout.dense:
        return x.through((-(-x.layout.size // 4) * 4,), (1,))
    if not x.whole or value.shape != x.shape or value.order is None:
        value = context.realised(x, order).value
    elif [d for d in value.order if x.shape[d] > 1] != [d for d in order if x.shape[d] > 1]:
        value = context.realised(x, order).value
    logical = dense_strides(value.shape)
    kept = value.order or order
    sizes, strides = (tuple(s[d] for d in kept) for s in (value.shape, logical))
    return Operand(value, layout(sizes, strides))


def _zero(value: Value, context: Context) -> Value:
    zero = Number(-1, value.dtype.category == dtypes.FLOAT, 0)
    return context.step("full", [zero], (), value.shape, value.dtype)


@rewrite("conv")
def conv(value: Value, context: Context) -> Value:
    """The kernels of a convolution."""
    x, w = value.operands
    at = geometry(x.shape, w.shape, value.shape[2:], *value.params)
    return _steps(value, at, "conv", packed_forward(at), context)


@rewrite("conv_input")
def conv_input(value: Value, context: Context) -> Value:
    """The kernels of the adjoint in the input."""
    g, w = value.operands
    at = geometry(value.shape, w.shape, g.shape[2:], *value.params[1:])
    return _steps(value, at, "conv_input", packed_adjoint(at), context)


def _steps(
    value: Value, at: Geometry, kind: str, packing: Packing | None, context: Context
) -> Value:
    """A convolution in x with its weight packed."""
    x, w = value.operands
    way = choose(at, kind, context.limits)
    if not value.size:
        return value
    if not x.layout.size or not w.layout.size:
        return _zero(value, context)
    if way == "plain":
        return value
    if way == "depthwise":
        taps = w.permuted((*range(2, len(w.shape)), 1, 0))
        packed = context.step("copy", [taps], (), taps.shape, value.dtype)
        params: Any = at, kind
    elif way == "planes":
        pack = _planes_pack(at)
        packed = context.step("conv_pack", [w], pack, (_texels(pack) * 4,), value.dtype)
        params = at
    else:
        assert packing is not None
        packed = context.step("conv_pack", [w], packing.pack, (packing.texels * 4,), value.dtype)
        params = packing
    return context.step(f"conv_{way}", [x, packed.whole()], params, value.shape, value.dtype)


def _texels(pack: Defines) -> int:
    return prod(int(pack[n]) for n in ("RX", "RY", "RZ", "TX", "TY", "TZ", "ROWS", "COLUMNS"))


def _planes_pack(at: Geometry) -> Defines:
    blocks = -(-at.outputs // 8)
    pack: Defines = {**_axes(at, K=at.taps, T=at.taps, R=(1, 1, 1)), "X_START": 0, "X_TAP": 1}
    pack |= {"Y_START": 0, "Y_TAP": 1, "Z_START": 0, "Z_TAP": 1, "ADJOINT": 0}
    return pack | {
        "PLANES": blocks,
        "OUT": at.outputs,
        "C": at.channels,
        "ROWS": at.channels,
        "COLUMNS": 2 * blocks,
    }


@anchor("conv_pack")
def pack(value: Value, context: Context) -> Kernel:
    """Weights in the order in which they are read."""
    inputs = {"w": value.operands[0]}
    return Kernel([value], [value], "conv.pack", value.params, inputs, value.texels)


@anchor("conv_rows")
def rows(value: Value, context: Context) -> Kernel:
    """A convolution by runs of texels, channels last."""
    x, w = value.operands
    walk: Defines = value.params.walk
    columns, order = value.params.columns, _last(len(value.shape))
    group = gcd(columns, int(walk["GROUP_OUT"]))
    at = tile(value.shape[0], value.texels // value.shape[0], group, context.limits)
    defines = {**walk, "R": at.high, "WIDE": at.wide, "IMAGES": at.images}
    inputs = {"x": _arranged(x, order, context), "w": w}
    grid = at.images * (value.texels // value.shape[0]) // at.wide
    return Kernel([value], [value], "conv.rows", defines, inputs, grid, at.high, order=order)


@anchor("conv_planes")
def in_planes(value: Value, context: Context) -> Kernel:
    """A convolution of few channels, in planes."""
    at: Geometry = value.params
    x, w = value.operands
    rank = len(value.shape)
    defines = _planes_walk(at) | {"BLOCKS": -(-at.outputs // 8), "BLOCK": _plane(at)}
    inputs = {"x": _arranged(x, tuple(range(rank)), context), "w": w}
    return Kernel(
        [value], [value], "conv.planes", defines, inputs, _plane(at), 8, order=_planar(rank)
    )


def _planes_walk(at: Geometry) -> Defines:
    found = planes(at)
    assert found is not None
    walk = _axes(at, T=at.taps, K=at.taps, S=at.stride, P=at.before, D=at.dilation)
    walk |= {"N": at.images, "C": at.channels, "OX": at.positions[2] // 4, "IX": at.size[2] // 4}
    return walk | {"PX": found.before, "FRONT": found.front, "RUN": found.run}


@anchor("conv_depthwise")
def depthwise(value: Value, context: Context) -> Kernel:
    """A convolution, or its adjoint in the input, whose channels stay apart."""
    at, kind = value.params
    x, w = value.operands
    order, texels = _last(len(value.shape)), value.texels // value.shape[0]
    how = tile(value.shape[0], texels, 1, context.limits)
    defines = _channels_walk(at) | {
        "R": how.high,
        "IMAGES": how.images,
        "ADJOINT": int(kind == "conv_input"),
    }
    if kind == "conv_input":
        defines |= _axes(at, O=at.size, I=at.positions)
    inputs = {"x": _arranged(x, order, context), "w": w}
    return Kernel(
        [value],
        [value],
        "conv.depthwise",
        defines,
        inputs,
        how.images * texels,
        how.high,
        order=order,
    )


def _channels_walk(at: Geometry) -> Defines:
    walk = _axes(at, K=at.taps, S=at.stride, P=at.before, D=at.dilation)
    return walk | {"N": at.images, "CT": at.channels // 4}


@anchor("conv", "conv_input")
def plain(value: Value, context: Context) -> Kernel:
    """Any convolution or adjoint of one in the input."""
    x, w = value.operands
    adjoint = value.op == "conv_input"
    if adjoint:
        at = geometry(value.shape, w.shape, x.shape[2:], *value.params[1:])
    else:
        at = geometry(x.shape, w.shape, value.shape[2:], *value.params)
    defines = _axes(at, K=at.taps, S=at.stride, P=at.before, D=at.dilation)
    sizes = at.inner, at.outer
    if adjoint:
        defines |= _axes(at, O=at.size, I=at.positions)
        sizes = at.outer, at.inner
    defines |= {
        "FROM": sizes[0],
        "TO": sizes[1],
        "GROUPS": at.groups,
        "ADJOINT": int(adjoint),
        "SIZE": value.size,
    }
    return Kernel([value], [value], "conv", defines, {"x": x, "w": w}, value.texels)


@rewrite("conv_weight")
def conv_weight(value: Value, context: Context) -> Value:
    """The kernels of the adjoint in the weight: sums of parts, and the sum of those."""
    g, x = value.operands
    at = _weight_geometry(value)
    if not value.size:
        return value
    if not g.layout.size or not x.layout.size:
        return _zero(value, context)
    way = choose(at, "conv_weight", context.limits)
    if way == "plain":
        return value
    dtype = dtypes.float32 if value.dtype.category == dtypes.FLOAT else value.dtype
    part, collect = _PARTS[way](at, context.limits)
    texels = part.high * part.block
    parts = context.step(f"conv_weight_{way}", [g, x], part, (4 * texels,), dtype)
    collect |= {**_axes(at, K=at.taps), "C": at.inner, "O": at.outputs, "STRIDE": at.stride[2]}
    return context.step("conv_weight_sum", [parts.whole()], collect, value.shape, value.dtype)


def _weight_geometry(value: Value) -> Geometry:
    g, x = value.operands
    return geometry(x.shape, value.shape, g.shape[2:], *value.params[1:])


class Part(NamedTuple):
    """Sums of parts: `high` blocks of `block` texels."""

    defines: Defines
    high: int
    block: int
    planar: bool


def _splits(at: Geometry, grid: int, limits: Limits) -> tuple[int, int]:
    """How many rows of the batch to sum up in each part, and how many parts that are."""
    total = at.images * at.positions[0] * at.positions[1]
    each = -(-total // min(total, MAX_SPLITS, -(-2 * _enough(limits) // grid)))
    return each, -(-total // each)


def _block(high: int, grid: int, limits: Limits) -> int:
    """Texels of a block for so many invocations: in the fragment target whole rows."""
    if not limits.rows or high == 1:
        return grid
    while grid % (width := bucket(high * grid, limits.rows)[1]):
        grid += -grid % width
    return grid


def _rows_part(at: Geometry, limits: Limits) -> tuple[Part, Defines]:
    packing = packed_forward(at)
    assert packing is not None
    walk = packing.walk
    step = (
        2 if limits.draw_buffers >= 8 and (at.groups == 1 or int(walk["GROUP_OUT"]) % 2 == 0) else 1
    )
    pairs = -(-packing.columns // step)
    grid = packing.taps * packing.run * pairs
    each, splits = _splits(at, grid, limits)
    block = _block(4 * step, splits * grid, limits)
    defines = walk | {"PAIRS": pairs, "STEP": step, "ROWS": each, "BLOCK": block}
    collect: Defines = {n: walk[n] for n in ("TX", "TY")}
    collect |= {"FOLD": packing.fold, "X_ROW": 1 - int(walk["TAPPED"]), "FRONT": packing.front}
    collect |= {"BLOCK": block, "STEP": step, "RUN": packing.run, "ROW": pairs}
    return Part(defines, 4 * step, block, False), collect | {"SPLITS": splits, "SPLIT": 4 * grid}


def _planes_part(at: Geometry, limits: Limits) -> tuple[Part, Defines]:
    groups = -(-at.outputs // 4)
    tap, grid = groups, groups * at.channels * at.taps[0] * at.taps[1]
    each, splits = _splits(at, grid, limits)
    block = _block(at.taps[2], splits * grid, limits)
    channel = at.images * prod(at.positions) // 4
    defines = _planes_walk(at) | {
        "O": at.outputs,
        "GROUPS": groups,
        "CHANNEL": channel,
        "ROWS": each,
        "BLOCK": block,
    }
    collect: Defines = {
        "FOLD": 0,
        "X_STEP": block,
        "Y_STEP": tap,
        "C_STEP": tap * at.taps[0] * at.taps[1],
    }
    return Part(defines, at.taps[2], block, True), collect | {"SPLITS": splits, "SPLIT": 4 * grid}


def _depthwise_part(at: Geometry, limits: Limits) -> tuple[Part, Defines]:
    texels = at.channels // 4
    grid = texels * prod(at.taps)
    each, splits = _splits(at, grid, limits)
    defines = _channels_walk(at) | {"ROWS": each}
    collect: Defines = {"FOLD": 0, "X_STEP": texels, "Y_STEP": texels * at.taps[2], "C_STEP": 0}
    return Part(defines, 1, splits * grid, False), collect | {"SPLITS": splits, "SPLIT": 4 * grid}


_PARTS = {"rows": _rows_part, "planes": _planes_part, "depthwise": _depthwise_part}


@anchor("conv_weight_rows", "conv_weight_planes", "conv_weight_depthwise")
def parts(value: Value, context: Context) -> Kernel:
    """Sums of parts of the rows of the batch."""
    g, x = value.operands
    part: Part = value.params
    rank = len(g.shape)
    orders = (_planar(rank), tuple(range(rank))) if part.planar else (_last(rank), _last(rank))
    inputs = {
        n: _arranged(v, order, context) for n, v, order in zip("gx", (g, x), orders, strict=True)
    }
    template = value.op.replace("weight_", "weight.")
    return Kernel([value], [value], template, part.defines, inputs, part.block, part.high)


@anchor("conv_weight_sum")
def collected(value: Value, context: Context) -> Kernel:
    """The sum of parts, in the weight's order."""
    defines = value.params | {"SIZE": value.size}
    return Kernel(
        [value], [value], "conv_weight.sum", defines, {"part": value.operands[0]}, value.texels
    )


@anchor("conv_weight")
def plain_weight(value: Value, context: Context) -> Kernel:
    """Any adjoint in the weight."""
    at = _weight_geometry(value)
    g, x = value.operands
    defines = _axes(at, K=at.taps, S=at.stride, P=at.before, D=at.dilation)
    defines |= {
        "N": at.images,
        "O": at.outputs,
        "C": at.inner,
        "GROUPS": at.groups,
        "SIZE": value.size,
    }
    return Kernel([value], [value], "conv_weight", defines, {"g": g, "x": x}, value.texels)
