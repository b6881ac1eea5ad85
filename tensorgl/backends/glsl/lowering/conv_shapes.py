"""What convolution's kernels are told of a shape: how rows of the result read rows of the source.

In conv.rows channels are last: what a row of taps reads is one run of texels of a row of the source. So
runs and texels of the result must begin together. Where channels are no multiple of four, `fold`
neighbouring pixels are computed as one pixel with so many times the channels: a run holds all that they
need together, and packed weights are zero where a pixel has no tap. (So a NaN spoils a few neighbours
more.) Where a row of taps reads no run, because of groups or dilation, each tap has a run of its own.

The adjoint of a convolution in its input is a convolution of the result's gradient, with the taps
mirrored. By a stride, positions differ in which taps they have: by their remainder, their phase. Each
phase has packed weights of its own.

In conv.planes every channel is a plane, as memory has it anyway where channels are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

__all__ = [
    "Defines",
    "Geometry",
    "Pack",
    "Packing",
    "adjoint_packing",
    "axes",
    "depthwise_walk",
    "forward_packing",
    "geometry",
    "planes_pack",
    "planes_walk",
]

Triple = tuple[int, int, int]
Defines = dict[str, "int | str"]

ONES, ZEROS = (1, 1, 1), (0, 0, 0)
FOLDS = 1, 2, 4
MAX_TAPS = 7
"""Of a row in planes."""


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
        """Channels of the result of a group."""
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
    apart = three(d if k > 1 else 1 for d, k in zip(dilation, w[2:], strict=True))
    sizes = three(x[2:]), three(positions), three(w[2:])
    return Geometry(x[0], x[1], w[0], groups, *sizes, three(stride), before, apart)


def axes(**values: Sequence[int]) -> Defines:
    """Defines for each spatial dim: `S=stride` gives SZ, SY and SX."""
    return {name + d: v[k] for name, v in values.items() for k, d in enumerate("ZYX")}


class Row(NamedTuple):
    """How a row of the result reads a row of the source.

    A tap of a pixel is k_start + k_fold * its place in the fold + k_pixel * the source's pixel in the
    run + k_tap * the run's number + the phase.

    Attributes:
        run: texels of a run.
        step: texels from the run of a pixel to that of the next.
        before: texels of the first run that lie before the row.
        fold: pixels that are computed as one.
        front: elements of a run before those that the first pixel needs.
        taps: how many runs a row of taps reads, and `apart` how many texels they are apart.
        group: texels of a pixel of the source that belong to a group, if there is a run for each tap.
        ahead: what is added to a position before it is divided by the phases.
    """

    run: int
    step: int
    before: int
    fold: int = 1
    front: int = 0
    taps: int = 1
    apart: int = 0
    group: int = 0
    ahead: int = 0
    phases: int = 1
    k_start: int = 0
    k_fold: int = 0
    k_pixel: int = 0
    k_tap: int = 0


class Pack(NamedTuple):
    """Weights in the order in which conv.rows or conv.planes reads them.

    An element is a phase, a tap of each dim, a row, which is an element of a run of the source, and a
    column, which is a channel of one of the pixels that are computed as one.

    Attributes:
        sizes: phases by z, y and x, taps, rows, columns.
        taps: of the weight.
        start, tap: the tap of the weight is start + tap * the place among `sizes` + the phase; along x, too,
        fold, pixel: times the place in the fold, and the place of the source's pixel in the run.
        source, result: channels of a pixel of the source in a group, and of one of the result in all.
        front: elements of a run before its first pixel.
        adjoint: whether the weight's outputs are the source's channels.
        blocks: for planes, else 0: of `high` columns are so many, column k is channel
            k % high * blocks + k / high, and a row is a channel.
    """

    sizes: tuple[int, ...]
    taps: Triple
    start: Triple = ZEROS
    tap: Triple = ONES
    fold: int = 0
    pixel: int = 0
    source: int = 1
    result: int = 1
    front: int = 0
    adjoint: bool = False
    blocks: int = 0


class Packing(NamedTuple):
    """What conv.rows is told (`walk`), and the weights that it reads."""

    walk: Defines
    pack: Pack
    row: Row
    columns: int  # texels of the result of pixels that are computed as one
    taps: int  # runs of a phase


def forward_packing(at: Geometry) -> Packing | None:
    """How rows compute a convolution; None if they can't."""
    row = _forward_row(at)
    return None if row is None else _packing(at, row, adjoint=False)


def adjoint_packing(at: Geometry) -> Packing | None:
    """How rows compute the adjoint of a convolution in its input; None if they can't."""
    if any(s > 1 and d > 1 for s, d in zip(at.stride, at.dilation, strict=True)):
        return None
    row = _adjoint_row(at)
    return None if row is None else _packing(at, row, adjoint=True)


def _forward_row(at: Geometry) -> Row | None:
    c, o = at.inner, at.outer
    k, s, p, d = (v[2] for v in (at.taps, at.stride, at.before, at.dilation))
    if at.groups > 1 or d > 1:
        if c % 4 or o % 4:
            return None
        n = at.channels // 4
        return Row(c // 4, s * n, p * n, taps=k, apart=d * n, group=c // 4, k_tap=1)
    for fold in FOLDS:
        if not (at.positions[2] % fold or fold * o % 4 or fold * s * c % 4 or at.size[2] * c % 4):
            front = -p * c % 4
            run = _ceil(front + (k + (fold - 1) * s) * c, 4)
            step, before = fold * s * c // 4, (p * c + front) // 4
            return Row(run, step, before, fold, front, k_fold=-s, k_pixel=1)
    return None


def _adjoint_row(at: Geometry) -> Row | None:
    c, o = at.inner, at.outer
    k, s, p, d = (v[2] for v in (at.taps, at.stride, at.before, at.dilation))
    tapped = at.groups > 1 or d > 1
    if c % 4 == 0 and o % 4 == 0:
        n, taps = at.outputs // 4, _ceil(k, s)
        back = taps - 1
        if tapped:
            row = Row(o // 4, n, back * d * n, taps=taps, apart=d * n, group=o // 4, k_tap=-s)
        else:
            row = Row(taps * n, n, back * n, k_pixel=-s)
        return row._replace(ahead=p, phases=s, k_start=s * back)
    if tapped or at.positions[2] * o % 4:
        return None
    for fold in (n * s for n in FOLDS):
        if not (at.size[2] % fold or fold * c % 4 or fold // s * o % 4):
            back = (
                k - 1 - p
            ) // s  # pixels from where a run begins to its own place, or less than 0
            front = -back * o % 4
            run = _ceil(front + ((fold - 1 + p) // s + back + 1) * o, 4)
            step, before = fold // s * o // 4, (back * o + front) // 4
            return Row(run, step, before, fold, front, k_start=p + s * back, k_fold=1, k_pixel=-s)
    return None


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _packing(at: Geometry, row: Row, *, adjoint: bool) -> Packing:
    if adjoint:
        result, source, to, of = at.size, at.positions, at.channels, at.outputs
        rz, ry, _ = at.stride
        windows = _ceil(at.taps[0], rz), _ceil(at.taps[1], ry)
        back = [(t - 1) * d for t, d in zip(windows, at.dilation, strict=False)]
        walk = axes(S=ONES, A=(*at.before[:2], row.ahead), P=(*back, row.before))
        start, tap = (rz * (windows[0] - 1), ry * (windows[1] - 1)), (-rz, -ry)
    else:
        result, source, to, of = at.positions, at.size, at.outputs, at.channels
        rz, ry, windows = 1, 1, at.taps[:2]
        walk = axes(S=at.stride, A=ZEROS, P=(*at.before[:2], row.before))
        start, tap = (0, 0), (1, 1)
    phases, runs = (rz, ry, row.phases), (*windows, row.taps)
    columns = row.fold * to // 4
    walk |= axes(O=result, I=source, D=at.dilation, K=at.taps, T=runs, R=phases)
    walk |= {"OX": result[2] // row.fold, "IX": source[2] * of // 4, "RUN": row.run}
    walk |= {"SX": row.step, "DX": row.apart, "TAPPED": int(row.group > 0), "GROUP_IN": row.group}
    walk |= {"GROUP_OUT": columns // at.groups, "N": at.images, "OT": columns}
    pack = Pack(
        sizes=(*phases, *runs, 4 * row.run, 4 * columns),
        taps=at.taps,
        start=(*start, row.k_start),
        tap=(*tap, row.k_tap),
        fold=row.k_fold,
        pixel=row.k_pixel,
        source=of // at.groups,
        result=to,
        front=row.front,
        adjoint=adjoint,
    )
    return Packing(walk, pack, row, columns, prod(runs))


def planes_walk(at: Geometry) -> Defines | None:
    """What conv.planes and conv_weight.planes are told; None if they can't compute a convolution."""
    k, s, p, d = (v[2] for v in (at.taps, at.stride, at.before, at.dilation))
    if at.groups > 1 or d > 1 or s > 2 or k > MAX_TAPS or at.size[2] % 4 or at.positions[2] % 4:
        return None
    front = -p % 4  # elements of the first texel before those that the first window needs
    walk = axes(
        O=at.positions, I=at.size, T=at.taps, K=at.taps, S=at.stride, P=at.before, D=at.dilation
    )
    walk |= {"N": at.images, "C": at.channels, "OX": at.positions[2] // 4, "IX": at.size[2] // 4}
    return walk | {"PX": (p + front) // 4, "FRONT": front, "RUN": _ceil(front + k + 3 * s, 4)}


def depthwise_walk(at: Geometry, *, adjoint: bool) -> Defines | None:
    """What conv.depthwise.planes is told; None if it can't compute a convolution, or its adjoint in x."""
    if adjoint:  # a convolution with the taps mirrored
        if at.stride != ONES:
            return None
        pz, py, px = (
            (k - 1) * d - p for k, d, p in zip(at.taps, at.dilation, at.before, strict=True)
        )
        at = at._replace(size=at.positions, positions=at.size, before=(pz, py, px))
    walk = planes_walk(at._replace(groups=1))
    return None if walk is None else walk | {"ADJOINT": int(adjoint)}


def planes_pack(at: Geometry, high: int) -> Pack:
    """The weights that conv.planes reads: `high` channels to an invocation."""
    blocks = _ceil(at.outputs, high)
    return Pack((*ONES, *at.taps, at.channels, high * blocks), at.taps, blocks=blocks)
