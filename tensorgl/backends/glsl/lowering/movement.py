"""Movement that is no view: flip, pad, joining, the adjoints of narrow and unfold, writes into views.

All but the adjoint of unfold are maps: an element of the result is one element of an operand, or a
number. Dims that are treated alike are joined into one first, and where all that begins or ends does so at
a texel, positions are counted in texels, so that an operand is read with one load.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from tensorgl.backends.glsl.access import LANES, Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Kernel, Operand, Value, vec
from tensorgl.backends.glsl.layout import dense_strides, written
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.errors import UnsupportedError


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


def _row_major(e: Emitter, value: Value, index: Index) -> Index:
    """The index of an element in row-major order, whatever the physical order of the result."""
    if index.order is None:
        return index
    return e.at(index, value.shape, dense_strides(value.shape), "", True)


def _flat(digits: list[str], sizes: list[int]) -> str:
    """The row-major position with these coordinates."""
    text = digits[0]
    for digit, n in zip(digits[1:], sizes[1:], strict=True):
        text = digit if text == "0" else f"({text}) * {n} + {digit}"
    return text


def _within(kind: str, offset: str, n: int) -> str:
    """1 where 0 <= offset < n, else 0: one comparison, as negative numbers are large unsigned ones."""
    if kind == "int":
        return f"int(uint({offset}) < {n}u)"
    return f"ivec4(lessThan(uvec4({offset}), uvec4({n}u)))"


def _chosen(masks: list[str], x: str, other: str) -> str:
    """x where every mask is 1."""
    if not masks:
        return x
    return f"op_where(ivec4({' & '.join(masks)}), {x}, {other})"


def _zero(value: Value) -> str:
    return f"{vec(value.dtype)}(0)"


@map_op("flip")
def flip(e: Emitter, value: Value, index: Index) -> str:
    """Digits of the flipped dims count down; within a texel, lanes are swapped."""
    (dims,) = value.params
    sizes: list[int] = []
    flipped: list[bool] = []
    for d, n in enumerate(value.shape):
        if flipped and flipped[-1] == (d in dims):
            sizes[-1] *= n
        else:
            sizes.append(n)
            flipped.append(d in dims)
    place = _place(e, _row_major(e, value, index), tuple(sizes), sizes[-1] % 4 == 0)
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
    border = e.splat(number)
    if value.dtype.name == "float16":
        border = e.let("vec4", f"round16({border})")
    if not x.layout.size:
        return border
    joined: list[tuple[int, int, int]] = []
    for n, (before, after) in zip(x.shape, value.params[0], strict=True):
        if joined and not before and not after:
            size, lo, hi = joined[-1]
            joined[-1] = size * n, lo * n, hi * n
        else:
            joined.append((n, before, after))
    n, lo, hi = joined[-1]
    # The operand may end within a texel if no other row follows it.
    texels = lo % 4 == 0 and (len(joined) == 1 or (n % 4 == 0 and hi % 4 == 0))
    outer = tuple(sum(group) for group in joined)
    place = _place(e, _row_major(e, value, index), outer, texels)
    digits: list[str] = []
    sizes: list[int] = []
    masks: list[str] = []
    for k, (digit, (n, lo, hi)) in enumerate(zip(place.digits, joined, strict=True)):
        last = k == len(joined) - 1
        length, start = (place.unit(n), place.unit(lo)) if last else (n, lo)
        offset = e.let(place.kind, f"{digit} - {start}") if lo else digit
        if lo or hi:
            if last and place.form == "texel" and n % 4:
                masks.append(_within("ivec4", f"4 * {offset} + {LANES}", n))
            else:
                masks.append(_within(place.kind, offset, length))
            offset = e.let(place.kind, f"clamp({offset}, 0, {length - 1})")
        digits.append(offset)
        sizes.append(length)
    at = e.let(place.kind, _flat(digits, sizes))
    return _chosen(masks, e.load(x, Index(place.form, at, x.shape)), border)


@rewrite("cat")
def cat_tree(value: Value, context: Context) -> Value:
    """Joins of joins, where there are more operands than one kernel can read."""
    dim, sizes = value.params
    parts: list[tuple[Operand, int]] = []
    for x, n in zip(value.operands, sizes, strict=True):
        if x.value.op == "full" and x.value.visible:
            pass
        if x.layout.size:
            parts.append((x, n))
    return value


@map_op("cat")
def cat(e: Emitter, value: Value, index: Index) -> str:
    """The last operand that begins at or before the place."""
    dim, sizes = value.params
    inner = prod(value.shape[dim + 1 :])
    rows = prod(value.shape[:dim])
    parts = [(x, n * inner) for x, n in zip(value.operands, sizes, strict=True) if n]
    starts = [sum(n for _, n in parts[:k]) for k in range(len(parts))]
    texels = all(s % 4 == 0 for s in starts) and (rows == 1 or parts[-1][1] % 4 == 0)
    whole = (rows, starts[-1] + parts[-1][1])
    place = _place(e, _row_major(e, value, index), whole, texels)
    row, column = place.digits
    found = ""
    for (x, n), start in zip(parts, starts, strict=True):
        length, begin = place.unit(n), place.unit(start)
        offset = f"clamp({column} - {begin}, 0, {length - 1})" if len(parts) > 1 else column
        at = e.let(place.kind, _flat([row, e.let(place.kind, offset)], [rows, length]))
        piece = e.load(x, Index(place.form, at, x.shape))
        reached = _within(place.kind, f"{column} - {begin}", length)
        found = e.let(vec(value.dtype), _chosen([reached], piece, found)) if found else piece
    return found
