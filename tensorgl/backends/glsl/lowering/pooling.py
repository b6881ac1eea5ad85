"""Pooling: windows over the last dims, as maps.

An element of a result is computed from the few elements of its window, or of the windows that have it
inside, so that an elementwise op before or after is part of the same kernel, and so are a maximum and its
tap. Small windows are written out; large ones are loops. Where memory holds the channels last, four
channels are one load.

What lies in the padding is never read: its coordinate is moved inside, and its value masked. Masks
are -1 or 0, in an int where all four lanes agree.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any, NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.access import LANES, Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Operand, Value, vec
from tensorgl.backends.glsl.layout import dense_strides
from tensorgl.backends.glsl.lowering import READS, Context, rewrite

UNROLLED = 16
"""Elements of a window that are written out one by one; more are loops."""

Shape = tuple[int, ...]
Tap = Any
"""The number of an element along one dim of a window: an int, or the name of a loop's variable."""


class _Dim(NamedTuple):
    """How windows lie along one dim: window w has its tap k at w * stride + k * dilation - low."""

    size: int
    windows: int
    kernel: int
    stride: int
    low: int
    dilation: int

    @property
    def covering(self) -> int:
        """How many windows may have an element inside."""
        return self.dilation * (self.kernel - 1) // self.stride + 1


def _dims(size: Shape, windows: Shape, params: tuple[Any, ...]) -> list[_Dim]:
    kernel, stride, padding, dilation = params
    lows = [low for low, _ in padding]
    return [_Dim(*d) for d in zip(size, windows, kernel, stride, lows, dilation, strict=True)]


def _forward(value: Value) -> list[_Dim]:
    """The dims of an op whose elements are windows."""
    n = len(value.params[0])
    return _dims(value.operands[0].shape[-n:], value.shape[-n:], value.params)


def _backward(value: Value) -> list[_Dim]:
    """The dims of an op whose elements lie in windows."""
    n = len(value.params[0])
    return _dims(value.shape[-n:], value.operands[0].shape[-n:], value.params[1:])


class _Place(NamedTuple):
    """Where four lanes are in a result.

    Attributes:
        digits: the coordinate of each dim. That of the dim `texels` counts groups of four.
        kinds: their GLSL types: int where the lanes agree, else ivec4.
        texels: the dim along which the lanes are neighbours; None if the coordinates say it all.
        order: the physical order in which the result is walked.
    """

    digits: list[str]
    kinds: list[str]
    texels: int | None
    order: Shape | None


def _place(e: Emitter, index: Index, shape: Shape, n: int) -> _Place:
    """The coordinates of an index, where windows slide over the last `n` dims."""
    order = index.order
    dims = order or tuple(range(len(shape)))
    sizes = [shape[d] for d in dims]
    last = max((k for k, size in enumerate(sizes) if size > 1), default=0)
    inner = dims[last]
    if index.form == "texel" and shape[inner] % 4 == 0:
        sizes[last] //= 4
        digits = e.digits(Index("scalar", index.expr, tuple(sizes), order))
        kinds = ["int"] * len(shape)
        if inner < len(shape) - n:
            return _Place(digits, kinds, inner, order)
        digits[inner] = e.let("ivec4", f"4 * {digits[inner]} + {LANES}")
        kinds[inner] = "ivec4"
        return _Place(digits, kinds, None, order)
    index = e.element(Index(index.form, index.expr, tuple(sizes), order))
    kind = "int" if index.form == "scalar" else "ivec4"
    return _Place(e.digits(index), [kind] * len(shape), None, order)


def _load(e: Emitter, x: Operand, place: _Place, window: list[str]) -> str:
    """An operand at the coordinates of a place, but for the last dims at those of a window."""
    shape = x.shape
    order = x.value.order if x.whole and e.is_realised(x.value) else place.order
    dims = order or tuple(range(len(shape)))
    sizes = tuple(shape[d] for d in dims)
    steps = dict(zip(dims, dense_strides(sizes), strict=True))
    digits = [*place.digits[: len(shape) - len(window)], *window]
    form = "lanes" if "ivec4" in place.kinds else "scalar"
    inner = place.texels
    if inner is not None:
        if steps[inner] == 1 and shape[inner] % 4 == 0:
            form = "texel"
            steps = {d: 1 if d == inner else s // 4 for d, s in steps.items()}
        else:
            form = "lanes"
            digits[inner] = f"(4 * {digits[inner]} + {LANES})"
    terms = [
        digits[d] if steps[d] == 1 else f"{digits[d]} * {steps[d]}"
        for d in dims
        if shape[d] > 1 and digits[d] not in ("0", "ivec4(0)")
    ]
    total = " + ".join(terms) or "0"
    total = e.let("ivec4", f"ivec4({total})") if form == "lanes" else e.let("int", total)
    return e.load(x, Index(form, total, sizes, order))


class _Row(NamedTuple):
    """Four windows beside each other, or two and two, whose elements are read as whole texels.

    Attributes:
        runs: for each group of neighbours the coordinates of the first; the last counts groups.
        count: how many neighbours a group has.
        order: the physical order of the operand.
    """

    runs: list[list[str]]
    count: int
    order: Shape | None


def _row(e: Emitter, index: Index, value: Value, dims: list[_Dim]) -> _Row | None:
    """The row in which the four windows of a texel lie, if what they see begins at texels."""
    x, inner = value.operands[0], len(value.shape) - 1
    order = x.value.order if x.whole and e.is_realised(x.value) else index.order
    d = dims[-1]
    count = 4 if d.windows % 4 == 0 else 2
    if index.form != "texel" or d.windows % count or count * d.stride % 4 or d.size % 4:
        return None
    if prod(value.params[0]) > UNROLLED or any(o and o[-1] != inner for o in (order, index.order)):
        return None
    walked = index.order or tuple(range(inner + 1))
    sizes = (*(value.shape[k] for k in walked[:-1]), d.windows // count)
    runs: list[list[str]] = []
    for k in range(4 // count):
        place = index.expr if count == 4 else f"min({index.expr} * 2 + {k}, {prod(sizes) - 1})"
        runs.append(e.digits(Index("scalar", e.let("int", place), sizes, index.order)))
    return _Row(runs, count, order)


def _row_load(
    e: Emitter, x: Operand, row: _Row, dims: list[_Dim], taps: tuple[int, ...]
) -> tuple[str, str]:
    """What each window of a row has at a tap, and the mask of its being there."""
    rank, d = len(x.shape), dims[-1]
    walked = row.order or tuple(range(rank))
    sizes = tuple(x.shape[k] for k in walked)
    steps = dict(zip(walked, dense_strides((*sizes[:-1], sizes[-1] // 4)), strict=True))
    groups, texels = d.windows // row.count, row.count * d.stride // 4  # of each group
    shifts = [m * d.stride + taps[-1] * d.dilation - d.low for m in range(row.count)]
    lanes: list[str] = []
    masks: list[str] = []
    for digits in row.runs:
        seen = [
            _seen(e, "int", w, *at)
            for w, at in zip(digits[rank - len(dims) :], list(zip(dims, taps, strict=True))[:-1])
        ]
        outer = [*digits[: rank - len(dims)], *(w for w, _ in seen)]
        masks.append(" & ".join(f"({m})" for _, m in seen if m) or "-1")
        for texel, lane in (divmod(s, 4) for s in shifts):
            last = f"{digits[-1]} * {texels} + {texel}"
            high = (groups - 1) * texels + texel
            last, _ = _inside(e, "int", last, texel, high, d.size // 4)
            terms = [f"{i} * {steps[k]}" for k, i in enumerate(outer) if x.shape[k] > 1]
            at = e.let("int", " + ".join([*terms, last]))
            lanes.append(f"{e.load(x, Index('texel', at, sizes, row.order))}.{'xyzw'[lane]}")
    kind = vec(x.value.dtype)
    found = (
        [f"ivec4({', '.join(m for m in masks for _ in shifts)})"] if set(masks) != {"-1"} else []
    )
    if shifts[0] < 0 or (d.windows - row.count) * d.stride + shifts[-1] >= d.size:
        firsts = ", ".join(f"{digits[-1]}" for digits in row.runs for _ in shifts)
        moves = ", ".join(str(s) for s in shifts * len(row.runs))
        column = f"ivec4({firsts}) * {row.count * d.stride} + ivec4({moves})"
        column = e.let("ivec4", column)
        found.append(f"(~({column} >> 31) & (({column} - {d.size}) >> 31))")
    return e.let(kind, f"{kind}({', '.join(lanes)})"), " & ".join(found)


def _each(e: Emitter, counts: list[int], body: Callable[[tuple[Tap, ...]], None]) -> None:
    """Call `body` for every combination of numbers below the counts, or once inside of loops."""
    if prod(counts) <= UNROLLED:
        for taps in product(*map(range, counts)):
            body(taps)
        return

    def nest(taps: tuple[Tap, ...]) -> None:
        if len(taps) == len(counts):
            body(taps)
            return
        with e.loop(counts[len(taps)]) as k:
            nest((*taps, k))

    nest(())


def _span(tap: Tap, count: int) -> tuple[int, int]:
    """The least and the greatest number that a tap may be."""
    return (tap, tap) if isinstance(tap, int) else (0, count - 1)


def _inside(e: Emitter, kind: str, x: str, low: int, high: int, size: int) -> tuple[str, str]:
    """A coordinate that may be from `low` to `high`, moved to within `size`, and the mask of its being so."""
    x = e.let(kind, x)
    if low >= 0 and high < size:
        return x, ""
    mask = f"~({x} >> 31) & (({x} - {size}) >> 31)"
    return e.let(kind, f"clamp({x}, 0, {size - 1})"), e.let(kind, mask)


def _seen(e: Emitter, kind: str, w: str, d: _Dim, tap: Tap) -> tuple[str, str]:
    """The coordinate that a window has at a tap, moved inside, and the mask of its being there."""
    first, last = (k * d.dilation - d.low for k in _span(tap, d.kernel))
    shift = str(first) if first == last else f"{tap} * {d.dilation} - {d.low}"
    low, high = first, (d.windows - 1) * d.stride + last
    return _inside(e, kind, f"{w} * {d.stride} + {shift}", low, high, d.size)


def _masked(v: str, kind: str, masks: list[str]) -> str:
    """`v` where all masks are -1, else 0."""
    found = " & ".join(f"({m})" for m in masks if m)
    if not found:
        return v
    return f"intBitsToFloat(floatBitsToInt({v}) & {found})" if kind == "vec4" else f"{v} & {found}"


def _taps(
    e: Emitter, value: Value, index: Index, note: Callable[[tuple[Tap, ...], str, str], None]
) -> None:
    """Call `note` for each tap of a window with its value, and its mask where it may lie in the padding."""
    dims = _forward(value)
    row = _row(e, index, value, dims)
    if row is not None:
        for taps in product(*(range(d.kernel) for d in dims)):
            note(taps, *_row_load(e, value.operands[0], row, dims, taps))
        return
    place = _place(e, index, value.shape, len(dims))
    windows = list(zip(place.kinds, place.digits, strict=True))[-len(dims) :]

    def body(taps: tuple[Tap, ...]) -> None:
        seen = [_seen(e, *at, d, k) for at, d, k in zip(windows, dims, taps, strict=True)]
        v = _load(e, value.operands[0], place, [x for x, _ in seen])
        note(taps, v, " & ".join(f"({m})" for _, m in seen if m))

    _each(e, [d.kernel for d in dims], body)


@map_op("pool_max")
def pool_max(e: Emitter, value: Value, index: Index) -> str:
    """The greatest, or NaN if there is one."""
    kind = vec(value.dtype)
    least = "int(0xff800000u)" if kind == "vec4" else "int(0x80000000u)"
    best = e.variable(
        kind, f"intBitsToFloat(ivec4({least}))" if kind == "vec4" else f"ivec4({least})"
    )

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        if mask:
            bits = f"floatBitsToInt({v})" if kind == "vec4" else v
            v = f"({bits} & {mask}) | (ivec4({least}) & ~({mask}))"
            v = f"intBitsToFloat({v})" if kind == "vec4" else v
        e.lines.append(f"{best} = op_maximum({best}, {v});")

    _taps(e, value, index, note)
    return best


@map_op("pool_argmax")
def pool_argmax(e: Emitter, value: Value, index: Index) -> str:
    """The number of the first maximum, or of the last NaN, by integers in the order of the floats."""
    number = e.variable("ivec4", "ivec4(-1)")  # until a tap is inside
    best = e.variable("ivec4", "ivec4(int(0x80000000u))")
    strides = dense_strides(value.params[0])
    floats = vec(value.operands[0].value.dtype) == "vec4"

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        key = e.let("ivec4", f"pool_key({v})") if floats else v
        wins = f"pool_wins{'_float' * floats}({key}, {best}, {number})"
        wins = e.variable("ivec4", f"{wins} & {mask}" if mask else wins)
        place = " + ".join(f"{k} * {s}" for k, s in zip(taps, strides, strict=True))
        e.lines.append(f"{number} = ({number} & ~{wins}) | (({place}) & {wins});")
        e.lines.append(f"{best} = ({best} & ~{wins}) | ({key} & {wins});")

    _taps(e, value, index, note)
    return f"max({number}, 0)"


@map_op("pool_sum")
def pool_sum(e: Emitter, value: Value, index: Index) -> str:
    """Row by row."""
    kind = vec(value.dtype)
    total = e.variable(kind, f"{kind}(0)")

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        e.lines.append(f"{total} += {_masked(v, kind, [mask])};")

    _taps(e, value, index, note)
    return total


@map_op("pool_take")
def pool_take(e: Emitter, value: Value, index: Index) -> str:
    """Each window's element at its tap; 0 if that lies in the padding."""
    dims = _forward(value)
    index = e.element(index if index.order is not None else index.reshaped(value.shape))
    place = _place(e, index, value.shape, len(dims))
    rest = e.operand(value, 1, index)
    window: list[str] = []
    masks: list[str] = []
    for d, w in zip(reversed(dims), reversed(place.digits), strict=False):
        k = e.remainder("ivec4", rest, d.kernel)
        rest = e.quotient("ivec4", rest, d.kernel)
        low = -d.low
        high = (d.windows - 1) * d.stride + (d.kernel - 1) * d.dilation - d.low
        x = f"{w} * {d.stride} + {k} * {d.dilation} - {d.low}"
        # lanes past the end have any tap: they must stay inside too
        x, mask = _inside(e, "ivec4", x, min(low, -1), high, d.size)
        window.append(x)
        masks.append(mask)
    v = _load(e, value.operands[0], place._replace(kinds=["ivec4"]), window[::-1])
    return _masked(v, vec(value.dtype), masks)


@map_op("pool_put", "pool_spread")
def pool_put(e: Emitter, value: Value, index: Index) -> str:
    """The gradients of the windows that have an element inside: all, or those that took it."""
    dims = _backward(value)
    place = _place(e, index, value.shape, len(dims))
    strides = dense_strides(value.params[1])
    # window q is the last that begins at or before the element, `rest` after its beginning
    starts: list[tuple[str, str, str]] = []
    for d, kind, x in zip(dims, place.kinds[-len(dims) :], place.digits[-len(dims) :], strict=True):
        x = e.let(kind, f"{x} + {d.low}") if d.low else x
        q = x if d.stride == 1 else e.quotient(kind, x, d.stride)
        rest = f"{kind}(0)" if d.stride == 1 else e.remainder(kind, x, d.stride)
        starts.append((kind, q, rest))
    counts = [d.covering for d in dims]
    result = vec(value.dtype)
    total = e.variable(result, f"{result}(0)") if prod(counts) > 1 else ""
    found: list[str] = []

    def body(backs: tuple[Tap, ...]) -> None:
        window: list[str] = []
        masks: list[str] = []
        number: list[str] = []
        for d, (kind, q, rest), back, s in zip(dims, starts, backs, strides, strict=True):
            near, far = _span(back, d.covering)
            low, high = d.low // d.stride - far, (d.size - 1 + d.low) // d.stride - near
            w, mask = _inside(e, kind, f"{q} - {back}", low, high, d.windows)
            k = e.let(kind, f"{rest} + {back} * {d.stride}")
            if d.dilation > 1:
                tap = e.quotient(kind, k, d.dilation)
                masks.append(_equal(kind, f"{tap} * {d.dilation}", k))
                k = tap
            if far * d.stride + d.stride - 1 >= d.kernel * d.dilation:
                masks.append(f"({k} - {d.kernel}) >> 31")
            window.append(w)
            masks.append(mask)
            number.append(f"{k} * {s}")
        if value.op == "pool_put":
            taken = _load(e, value.operands[1], place, window)
            masks.append(f"-ivec4(equal({taken}, ivec4({' + '.join(number)})))")
        v = _masked(_load(e, value.operands[0], place, window), result, masks)
        if total:
            e.lines.append(f"{total} += {v};")
        else:
            found.append(v)

    _each(e, counts, body)
    return total or found[0]


def _equal(kind: str, a: str, b: str) -> str:
    """The mask of two coordinates being equal; neither is far from zero."""
    return f"~((({a}) - ({b})) | (({b}) - ({a}))) >> 31"


@rewrite("pool_max", "pool_sum")
def whole(value: Value, context: Context) -> Value:
    """One large window that leaves nothing out is a reduction."""
    dims = _forward(value)
    alone = all(
        d.windows == 1 and d.kernel == d.size and d.dilation == 1 and not d.low for d in dims
    )
    if not alone or value.dtype.category != dtypes.FLOAT or prod(value.params[0]) <= UNROLLED:
        return value
    first = len(value.shape) - len(dims)
    name = "sum" if value.op == "pool_sum" else "amax"
    reduced = (tuple(range(first, len(value.shape))), True)
    return context.step(name, value.operands, reduced, value.shape, value.dtype)


for _name in ("pool_max", "pool_argmax", "pool_sum"):
    READS[_name] = lambda value: prod(value.params[0])
for _name in ("pool_put", "pool_spread"):
    READS[_name] = lambda value: prod(d.covering for d in _backward(value))
