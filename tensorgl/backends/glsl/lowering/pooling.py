"""Pooling: windows over the last dims, as maps.

An element of a result is computed from the few elements of its window, or of the windows that have it
inside, so that an elementwise op before or after is part of the same kernel, and so are a maximum and its
tap. Small windows are written out; large ones are loops. How they are read: windows.py.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Value, vec
from tensorgl.backends.glsl.layout import dense_strides
from tensorgl.backends.glsl.lowering import READS, Context, rewrite
from tensorgl.backends.glsl.lowering.windows import (
    Dim,
    Place,
    Row,
    Tap,
    backward,
    forward,
    inside,
    load,
    place,
    row,
)

UNROLLED = 16
"""Elements of a window that are written out one by one; more are loops."""
LEAST = "ivec4(int(0x80000000u))"
"""Less than every key of a float, and than no integer."""


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


def _taps(
    e: Emitter, value: Value, index: Index, note: Callable[[tuple[Tap, ...], str, str], None]
) -> None:
    """Call `note` for each tap of a window with its value, and its mask where it may lie in the padding."""
    dims, x = forward(value), value.operands[0]
    counts, n = [d.kernel for d in dims], len(dims)
    line = row(e, index, value.shape) if prod(counts) <= UNROLLED else None
    if line is not None and line.texels(e, x, line.width * dims[-1].stride):
        for taps in product(*map(range, counts)):
            note(taps, *_row_tap(e, value, line, dims, taps))
        return
    at = place(e, index, value.shape, n)
    windows = list(zip(at.kinds, at.digits, strict=True))[-n:]

    def body(taps: tuple[Tap, ...]) -> None:
        seen = [d.seen(e, *w, k) for d, w, k in zip(dims, windows, taps, strict=True)]
        v = load(e, x, at, [c for c, _ in seen])
        note(taps, v, _all([m for _, m in seen]))

    _each(e, counts, body)


def _row_tap(
    e: Emitter, value: Value, line: Row, dims: list[Dim], taps: tuple[int, ...]
) -> tuple[str, str]:
    """What the windows of a row have at a tap, and the mask of its being there."""
    lead, d = len(value.shape) - len(dims), dims[-1]
    outers: list[list[str]] = []
    masks: list[str] = []
    for digits in line.runs:
        pairs = zip(dims[:-1], digits[lead:-1], taps[:-1], strict=True)
        seen = [d.seen(e, "int", w, k) for d, w, k in pairs]
        outers.append([*digits[:lead], *(c for c, _ in seen)])
        masks.append(_all([m for _, m in seen]))
    shifts = [m * d.stride + taps[-1] * d.dilation - d.low for m in range(line.width)]
    v, mask = line.load(e, value.operands[0], outers, line.width * d.stride, shifts)
    return v, _all([_given_out(line, masks), mask])


def _given_out(line: Row, masks: list[str]) -> str:
    """Masks of a row's groups as one of its lanes."""
    return line.lanes([m or "-1" for m in masks]) if any(masks) else ""


def _all(masks: list[str]) -> str:
    """The mask of all masks."""
    return " & ".join(f"({m})" for m in masks if m)


def _masked(v: str, kind: str, mask: str) -> str:
    """`v` where the mask is -1, else 0."""
    if not mask:
        return v
    return f"intBitsToFloat(floatBitsToInt({v}) & {mask})" if kind == "vec4" else f"{v} & {mask}"


def _keys(e: Emitter, value: Value, index: Index) -> list[tuple[str, str]]:
    """Of each tap of a small window its number and what it has, as integers in the order of the floats.

    Of several NaNs the last has the greatest; what lies in the padding is less than all.
    """
    found: list[tuple[str, str]] = []

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        number = str(sum(k * s for k, s in zip(taps, strides, strict=True)))
        key = f"pool_key({v}, {number})"
        if mask:
            key = f"({key} & {mask}) | ({LEAST} & ~({mask}))"
        found.append((number, e.let("ivec4", key)))

    strides = dense_strides(value.params[0])
    _taps(e, value, index, note)
    return found


def _greatest(e: Emitter, keys: list[tuple[str, str]]) -> str:
    """The greatest of the keys."""
    best = keys[0][1]
    for _, key in keys[1:]:
        best = e.let("ivec4", f"max({best}, {key})")
    return best


def _by_keys(value: Value) -> bool:
    """Whether a maximum is found by the keys of all taps, written out."""
    small = prod(value.params[0]) <= UNROLLED
    return small and value.operands[0].value.dtype.category == dtypes.FLOAT


@map_op("pool_max")
def pool_max(e: Emitter, value: Value, index: Index) -> str:
    """The greatest, or NaN if there is one."""
    if _by_keys(value):
        return f"pool_value({_greatest(e, _keys(e, value, index))})"
    kind = vec(value.dtype)
    least = "ivec4(int(0xff800000u))" if kind == "vec4" else LEAST
    best = e.variable(kind, f"intBitsToFloat({least})" if kind == "vec4" else least)

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        if mask:
            bits = f"floatBitsToInt({v})" if kind == "vec4" else v
            v = f"({bits} & {mask}) | ({least} & ~({mask}))"
            v = f"intBitsToFloat({v})" if kind == "vec4" else v
        e.lines.append(f"{best} = op_maximum({best}, {v});")

    _taps(e, value, index, note)
    return best


@map_op("pool_argmax")
def pool_argmax(e: Emitter, value: Value, index: Index) -> str:
    """The number of the first maximum, or of the last NaN."""
    if _by_keys(value):
        keys = _keys(e, value, index)
        best = _greatest(e, keys)
        found = f"vec4({keys[-1][0]})"
        for number, key in reversed(keys[:-1]):
            found = e.let("vec4", f"mix({found}, vec4({number}), equal({key}, {best}))")
        return f"ivec4({found})"
    number = e.variable("ivec4", "ivec4(-1)")  # until a tap is inside
    best = e.variable("ivec4", LEAST)
    strides = dense_strides(value.params[0])
    floats = vec(value.operands[0].value.dtype) == "vec4"

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        place = e.let("int", " + ".join(f"{k} * {s}" for k, s in zip(taps, strides, strict=True)))
        key = e.let("ivec4", f"pool_key({v}, {place})") if floats else v
        wins = e.variable(
            "ivec4", f"pool_wins({key}, {best}, {number})" + f" & {mask}" * bool(mask)
        )
        e.lines.append(f"{number} = ({number} & ~{wins}) | ({place} & {wins});")
        e.lines.append(f"{best} = ({best} & ~{wins}) | ({key} & {wins});")

    _taps(e, value, index, note)
    return f"max({number}, 0)"


@map_op("pool_sum")
def pool_sum(e: Emitter, value: Value, index: Index) -> str:
    """Row by row."""
    kind = vec(value.dtype)
    total = e.variable(kind, f"{kind}(0)")

    def note(taps: tuple[Tap, ...], v: str, mask: str) -> None:
        e.lines.append(f"{total} += {_masked(v, kind, mask)};")

    _taps(e, value, index, note)
    return total


@map_op("pool_take")
def pool_take(e: Emitter, value: Value, index: Index) -> str:
    """Each window's element at its tap; 0 if that lies in the padding."""
    dims = forward(value)
    index = e.element(index if index.order is not None else index.reshaped(value.shape))
    at = place(e, index, value.shape, len(dims))
    rest = e.operand(value, 1, index)
    window: list[str] = []
    masks: list[str] = []
    for d, w in zip(reversed(dims), reversed(at.digits), strict=False):
        k = e.remainder("ivec4", rest, d.kernel)
        rest = e.quotient("ivec4", rest, d.kernel)
        high = (d.windows - 1) * d.stride + (d.kernel - 1) * d.dilation - d.low
        x = f"{w} * {d.stride} + {k} * {d.dilation} - {d.low}"
        # lanes past the end have any tap: they must stay inside too
        x, mask = inside(e, "ivec4", x, -1, high, d.size)
        window.append(x)
        masks.append(mask)
    v = load(e, value.operands[0], at._replace(kinds=["ivec4"]), window[::-1])
    return _masked(v, vec(value.dtype), _all(masks))


@map_op("pool_put", "pool_spread")
def pool_put(e: Emitter, value: Value, index: Index) -> str:
    """The gradients of the windows that have an element inside: all, or those that took it."""
    dims = backward(value)
    counts = [d.covering for d in dims]
    kind = vec(value.dtype)
    line = row(e, index, value.shape) if prod(counts) <= UNROLLED else None
    if line is not None and line.width % dims[-1].stride:
        line = None
    at = place(e, index, value.shape, len(dims)) if line is None else None
    total = e.variable(kind, f"{kind}(0)") if prod(counts) > 1 else ""
    found: list[str] = []

    def body(backs: tuple[Tap, ...]) -> None:
        if line is not None:
            v = _row_back(e, value, line, dims, backs)
        else:
            assert at is not None
            v = _back(e, value, at, dims, backs)
        if total:
            e.lines.append(f"{total} += {v};")
        else:
            found.append(v)

    _each(e, counts, body)
    return total or found[0]


def _back(e: Emitter, value: Value, at: Place, dims: list[Dim], backs: tuple[Tap, ...]) -> str:
    """The gradient of one of the windows over each element."""
    n = len(dims)
    places = zip(dims, at.kinds[-n:], at.digits[-n:], backs, strict=True)
    over = [d.over(e, kind, x, back) for d, kind, x, back in places]
    window = [w for w, _, _ in over]
    masks = [m for _, ms, _ in over for m in ms]
    if value.op == "pool_put":
        taken = load(e, value.operands[1], at, window)
        masks.append(_took(taken, f"ivec4({_number(value, [k for _, _, k in over])})"))
    return _masked(load(e, value.operands[0], at, window), vec(value.dtype), _all(masks))


def _row_back(e: Emitter, value: Value, line: Row, dims: list[Dim], backs: tuple[int, ...]) -> str:
    """The same for a row of elements: where the windows over them lie along it is known."""
    lead, d = len(value.shape) - len(dims), dims[-1]
    starts = [divmod(m + d.low, d.stride) for m in range(line.width)]
    after = [divmod(rest + backs[-1] * d.stride, d.dilation) for _, rest in starts]
    outers: list[list[str]] = []
    masks: list[str] = []
    numbers: list[str] = []
    for digits in line.runs:
        places = zip(dims[:-1], digits[lead:-1], backs[:-1], strict=True)
        over = [d.over(e, "int", x, back) for d, x, back in places]
        outers.append([*digits[:lead], *(w for w, _, _ in over)])
        masks.append(_all([m for _, ms, _ in over for m in ms]))
        taps = [k for _, _, k in over]
        numbers += [_number(value, [*taps, str(tap)]) for tap, _ in after]
    hits = ["-1" if not rest and tap < d.kernel else "0" for tap, rest in after]
    shifts = [q - backs[-1] for q, _ in starts]
    step = line.width // d.stride
    v, mask = line.load(e, value.operands[0], outers, step, shifts)
    every = [_given_out(line, masks), mask]
    if "0" in hits:
        every.append(f"ivec4({', '.join(hits * len(line.runs))})")
    if value.op == "pool_put":
        taken, _ = line.load(e, value.operands[1], outers, step, shifts)
        every.append(_took(taken, f"ivec4({', '.join(numbers)})"))
    return _masked(v, vec(value.dtype), _all(every))


def _number(value: Value, taps: list[str]) -> str:
    """The number of a tap from its numbers along each dim."""
    strides = dense_strides(value.params[1])
    return " + ".join(f"{k} * {s}" for k, s in zip(taps, strides, strict=True))


def _took(taken: str, number: str) -> str:
    """The mask of windows having taken an element with this number."""
    return f"-ivec4(equal({taken}, {number}))"


@rewrite("pool_max", "pool_sum")
def whole(value: Value, context: Context) -> Value:
    """One large window that leaves nothing out is a reduction."""
    dims = forward(value)
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
    READS[_name] = lambda value: prod(d.covering for d in backward(value))
