"""Movement that is no view: flip, pad, joining, the adjoints of narrow and unfold, writes into views.

All but the adjoint of unfold are maps: an element of the result is one element of an operand, or a
number. Dims that are treated alike are joined into one first, and where all that begins or ends does so at
a texel, positions are counted in texels, so that an operand is read with one load.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from tensorgl.backends.glsl.access import LANES, Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value, vec
from tensorgl.backends.glsl.layout import inverse
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.backends.glsl.place import flat_cat


class _Place(NamedTuple):
    """Four lanes in a space of some sizes.

    Attributes:
        form: that of the index; "texel" if the last digit counts texels.
        kind: the GLSL type of the digits.
        digits: the coordinate of each dim.
    """

    form: str
    kind: str
    digits: list[str]

    def unit(self, n: int) -> int:
        """A length along the last dim, as its digit counts it."""
        return -(-n // 4) if self.form == "texel" else n


def _place(e: Emitter, index: Index, sizes: tuple[int, ...], texels: bool) -> _Place:
    """The digits of a row-major index; as texels if they come that way and `texels` allows it."""
    if index.form == "texel" and texels:
        in_texels = (*sizes[:-1], -(-sizes[-1] // 4))
        return _Place("texel", "int", e.digits(Index("scalar", index.expr, in_texels)))
    index = e.element(index.reshaped(sizes))
    kind = "int" if index.form == "scalar" else "ivec4"
    return _Place(index.form, kind, e.digits(index))


def _flat(digits: list[str], sizes: list[int]) -> str:
    """The row-major position with these coordinates."""
    text = digits[0]
    for digit, n in zip(digits[1:], sizes[1:], strict=True):
        text = digit if text in ("0", "ivec4(0)") else f"({text}) * {n} + {digit}"
    return text


class _Span(NamedTuple):
    """A condition on a place: 0 <= offset < length. One comparison, as negatives are large uints."""

    kind: str
    offset: str
    length: int


def _inside(
    e: Emitter, value: Value, spans: list[_Span], piece: Callable[[], str], other: str
) -> str:
    """What `piece` writes where a place is within all spans, and `other` elsewhere.

    It is written into a branch, so that nothing is read for places elsewhere.
    """
    if not spans:
        return piece()
    found = e.variable(vec(value.dtype), other)
    _assign(e, found, spans, piece)
    return found


def _assign(e: Emitter, variable: str, spans: list[_Span], piece: Callable[[], str]) -> None:
    """Give a variable what `piece` writes where a place is within all spans."""
    tests = [f"uint({s.offset}) < {s.length}u" for s in spans if s.kind == "int"]
    lanes = [
        f"ivec4(lessThan(uvec4({s.offset}), uvec4({s.length}u)))"
        for s in spans
        if s.kind == "ivec4"
    ]
    mask = e.let("ivec4", " & ".join(lanes)) if lanes else ""
    if lanes:
        tests.append(f"any(bvec4({mask}))")
    with e.branch(" && ".join(tests)):
        result = piece()
        if lanes:
            result = f"op_where({mask}, {result}, {variable})"
        e.lines.append(f"{variable} = {result};")


def _within(e: Emitter, span: _Span) -> str:
    """Its offset, where that differs from lane to lane moved to the nearest that is inside."""
    if span.kind == "int":
        return span.offset
    return e.let("ivec4", f"clamp({span.offset}, 0, {span.length - 1})")


def _zero(value: Value) -> str:
    return f"{vec(value.dtype)}(0)"


@map_op("flip")
def flip(e: Emitter, value: Value, index: Index) -> str:
    """Digits of the flipped dims count down; within a texel, lanes are swapped."""
    (dims,) = value.params
    sizes, flipped = [1], [False]
    for d, n in enumerate(value.shape):
        if flipped[-1] == (d in dims):
            sizes[-1] *= n
        else:
            sizes.append(n)
            flipped.append(d in dims)
    place = _place(e, e.row_major(index, value.shape), tuple(sizes), sizes[-1] % 4 == 0)
    sizes[-1] = place.unit(sizes[-1])
    digits = [
        f"{n - 1} - {d}" if back else d
        for d, n, back in zip(place.digits, sizes, flipped, strict=True)
    ]
    x = value.operands[0]
    at = e.let(place.kind, _flat(digits, sizes))
    found = e.load(x, Index(place.form, at, x.shape))
    return f"{found}.wzyx" if flipped[-1] and place.form == "texel" else found


@map_op("pad")
def pad(e: Emitter, value: Value, index: Index) -> str:
    """The operand inside, the number around it."""
    x, number = value.operands
    border = _number(e, number, value)
    joined = [(1, 0, 0)]
    for n, (before, after) in zip(x.shape, value.params[0], strict=True):
        if not before and not after:
            size, lo, hi = joined[-1]
            joined[-1] = size * n, lo * n, hi * n
        else:
            joined.append((n, before, after))
    n, lo, hi = joined[-1]
    outer = tuple(sum(group) for group in joined)
    # The operand may end within a texel if no other row follows it.
    texels = lo % 4 == 0 and (prod(outer[:-1]) == 1 or (n % 4 == 0 and hi % 4 == 0))
    place = _place(e, e.row_major(index, value.shape), outer, texels)
    digits: list[str] = []
    sizes: list[int] = []
    spans: list[_Span] = []
    for k, (digit, (n, lo, hi)) in enumerate(zip(place.digits, joined, strict=True)):
        last = k == len(joined) - 1
        length, start = (place.unit(n), place.unit(lo)) if last else (n, lo)
        if lo or hi:
            span = _Span(place.kind, e.let(place.kind, f"{digit} - {start}"), length)
            digit = _within(e, span)
            if last and place.form == "texel" and n % 4:
                span = _Span("ivec4", f"4 * {span.offset} + {LANES}", n)
            spans.append(span)
        digits.append(digit)
        sizes.append(length)

    def inner() -> str:
        at = e.let(place.kind, _flat(digits, sizes))
        return e.load(x, Index(place.form, at, x.shape))

    return _inside(e, value, spans, inner, border)


@rewrite("cat")
def cat_in_parts(value: Value, context: Context) -> Value:
    """Numbers instead of operands that are one number everywhere; joins of joins of too many to read."""
    sizes = value.params[1]
    parts: list[_Part] = [
        (x.value.operands[0] if isinstance(x, Operand) and x.value.op == "full" else x, n)
        for x, n in zip(value.operands, sizes, strict=True)
        if n
    ]
    if flat_cat(value) and all(isinstance(x, Operand) for x, _ in parts):
        return value  # each piece is written into its place
    limit = context.limits.inputs - 2  # one is the output, and one what else its kernel reads
    if not value.size or ([x for x, _ in parts] == value.operands and _memories(parts) <= limit):
        return value
    while _memories(parts) > limit:
        groups: list[list[_Part]] = [[]]
        for part in parts:
            if _memories([*groups[-1], part]) > limit:
                groups.append([])
            groups[-1].append(part)
        parts = [
            (_joined(group, value, context).whole(), sum(n for _, n in group)) for group in groups
        ]
    return _joined(parts, value, context)


_Part = tuple[Any, int]
"""An Operand or a Number, and its length along the dim."""


def _memories(parts: list[_Part]) -> int:
    return len({x.value for x, _ in parts if isinstance(x, Operand)})


def _joined(parts: list[_Part], value: Value, context: Context) -> Value:
    """The join of some of the parts of a join."""
    dim = value.params[0]
    lengths = tuple(n for _, n in parts)
    shape = (*value.shape[:dim], sum(lengths), *value.shape[dim + 1 :])
    return context.step("cat", [x for x, _ in parts], (dim, lengths), shape, value.dtype)


@map_op("cat")
def cat(e: Emitter, value: Value, index: Index) -> str:
    """The operand in whose stretch of a row the place is. Operands may be numbers."""
    dim, sizes = value.params
    inner = prod(value.shape[dim + 1 :])
    rows = prod(value.shape[:dim])
    parts = [(x, n * inner) for x, n in zip(value.operands, sizes, strict=True) if n]
    starts = [sum(n for _, n in parts[:k]) for k in range(len(parts))]
    texels = all(s % 4 == 0 for s in starts) and (rows == 1 or parts[-1][1] % 4 == 0)
    row_size = starts[-1] + parts[-1][1]
    place = _place(e, e.row_major(index, value.shape), (rows, row_size), texels)
    row, column = place.digits
    first = parts[0][0]
    found = e.variable(
        vec(value.dtype), _zero(value) if isinstance(first, Operand) else _number(e, first, value)
    )
    for (x, n), start in zip(parts, starts, strict=True):
        length = place.unit(n)
        offset = e.let(place.kind, f"{column} - {place.unit(start)}") if start else column
        span = _Span(place.kind, offset, length)

        def piece(x: Any = x, span: _Span = span) -> str:
            if isinstance(x, Number):
                return _number(e, x, value)
            at = e.let(place.kind, _flat([row, _within(e, span)], [rows, span.length]))
            return e.load(x, Index(place.form, at, x.shape))

        if isinstance(x, Operand) or start:
            _assign(e, found, [span], piece)
    return found


def _number(e: Emitter, x: Number, value: Value) -> str:
    """A number as an element of the result."""
    text = e.splat(x)
    return e.let("vec4", f"round16({text})") if value.dtype.name == "float16" else text


@map_op("narrow_backward")
def narrow_backward(e: Emitter, value: Value, index: Index) -> str:
    """The operand from where it starts, which is a number, and 0 elsewhere."""
    x, start = value.operands
    dim, _, drop = value.params
    inner = prod(value.shape[dim + 1 :])
    sizes = prod(value.shape[:dim]), value.shape[dim] * inner
    place = _place(e, e.row_major(index, value.shape), sizes, inner % 4 == 0)
    row, column = place.digits
    length = place.unit(inner if drop else x.shape[dim] * inner)
    offset = e.let(place.kind, f"{column} - {e.number(start)} * {place.unit(inner)}")
    span = _Span(place.kind, offset, length)

    def piece() -> str:
        at = e.let(place.kind, _flat([row, _within(e, span)], [sizes[0], length]))
        return e.load(x, Index(place.form, at, x.shape))

    return _inside(e, value, [span], piece, _zero(value))


@map_op("update")
def update(e: Emitter, value: Value, index: Index) -> str:
    """A base with a source written where a layout of the base's memory shows it.

    `params` are the layout and whether it begins at a texel; the number is where it begins.
    """
    _, source, start = value.operands
    layout, aligned = value.params
    steps = inverse(layout)
    assert steps is not None
    old = e.operand(value, 0, index)
    n, step, inner = steps[-1]
    texels = aligned and n % 4 == 0 and step == inner == 1
    texels = texels and all(s % 4 == 0 for _, s, _ in steps[:-1])
    place = _place(e, e.row_major(index, value.shape), (value.size,), texels)
    kind = place.kind
    begin = f"({e.number(start)} >> 2)" if place.form == "texel" else e.number(start)
    rest = e.let(kind, f"{place.digits[0]} - {begin}")
    spans: list[_Span] = []
    terms: list[str] = []
    end = 0
    for n, step, inner in steps:
        if place.form == "texel":  # all are multiples of four, or the last digit
            n, step, inner = (n // 4, 1, 1) if step == 1 else (n, step // 4, inner // 4)
        if end != n * step:
            spans.append(_Span(kind, rest, n * step))
            rest = e.let(kind, f"clamp({rest}, 0, {n * step - 1})")
        end = step
        if step == 1:
            terms.append(f"{rest} * {inner}")
        else:
            terms.append(f"{e.quotient(kind, rest, step)} * {inner}")
            rest = e.remainder(kind, rest, step)
    if end != 1:
        spans.append(_Span(kind, rest, 1))

    def piece() -> str:
        at = e.let(kind, " + ".join(terms))
        return e.load(source, Index(place.form, at, source.shape))

    return _inside(e, value, spans, piece, old)


@anchor("unfold_backward", inline=(0,))
def unfold_backward(value: Value, context: Context) -> Kernel:
    """Each place adds up the windows that cover it."""
    g = value.operands[0]
    dim, length, step = value.params
    defines = {
        "SIZE": g.shape[-1],
        "STEP": step,
        "WINDOWS": g.shape[dim],
        "LENGTH": length,
        "INNER": prod(value.shape[dim + 1 :]),
        "ELEMENTS": value.size,
    }
    return Kernel([value], [value], "unfold_backward", defines, {"g": g}, grid=value.texels)
