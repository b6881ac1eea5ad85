"""Where windows lie over the last dims, and four lanes of what they see, as GLSL.

There are three ways to read, by how the lanes lie. Along a dim over which no window slides, mostly channels
that memory holds last, four of them are one load. In a row of windows the loads are the texels of that row,
whose elements are given out to the lanes (`Row`). Anywhere else each lane loads its element.

What lies outside is never read: its coordinate is moved inside, and its value masked. Masks are -1 or 0,
in an int where all lanes agree.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from tensorgl.backends.glsl.access import LANES, Index
from tensorgl.backends.glsl.codegen import Emitter
from tensorgl.backends.glsl.ir import Operand, Value, vec
from tensorgl.backends.glsl.layout import dense_strides

__all__ = ["Dim", "Place", "Row", "Tap", "backward", "forward", "inside", "load", "place", "row"]

Shape = tuple[int, ...]
Tap = Any
"""A number below a count: an int, or the name of a loop's variable."""


class Dim(NamedTuple):
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

    def seen(self, e: Emitter, kind: str, w: str, tap: Tap) -> tuple[str, str]:
        """The coordinate that window `w` has at a tap, moved inside, and the mask of its being there."""
        first, last = (k * self.dilation - self.low for k in span(tap, self.kernel))
        shift = str(first) if first == last else f"{tap} * {self.dilation} - {self.low}"
        high = (self.windows - 1) * self.stride + last
        return inside(e, kind, f"{w} * {self.stride} + {shift}", first, high, self.size)

    def over(self, e: Emitter, kind: str, x: str, back: Tap) -> tuple[str, list[str], str]:
        """A window that may have element `x` inside, masks of its doing so, and the element's tap.

        Of those that begin at or before the element, it is the last but `back`.
        """
        x = e.let(kind, f"{x} + {self.low}") if self.low else x
        q, rest = x, f"{kind}(0)"
        if self.stride > 1:
            below = self.size + self.low
            q = e.quotient(kind, x, self.stride, below)
            rest = e.remainder(kind, x, self.stride, below)
        near, far = span(back, self.covering)
        low = self.low // self.stride - far
        high = (self.size - 1 + self.low) // self.stride - near
        w, mask = inside(e, kind, f"{q} - {back}", low, high, self.windows)
        masks = [mask]
        k = e.let(kind, f"{rest} + {back} * {self.stride}")
        if self.dilation > 1:
            tap = e.quotient(kind, k, self.dilation)
            far_apart = f"{tap} * {self.dilation} - {k}"
            masks.append(f"~(({far_apart}) | -({far_apart})) >> 31")
            k = tap
        if far * self.stride + self.stride - 1 >= self.kernel * self.dilation:
            masks.append(f"({k} - {self.kernel}) >> 31")
        return w, masks, k


def _dims(size: Shape, windows: Shape, params: tuple[Any, ...]) -> list[Dim]:
    kernel, stride, padding, dilation = params
    lows = [low for low, _ in padding]
    return [Dim(*d) for d in zip(size, windows, kernel, stride, lows, dilation, strict=True)]


def forward(value: Value) -> list[Dim]:
    """The dims of an op whose elements are windows."""
    n = len(value.params[0])
    return _dims(value.operands[0].shape[-n:], value.shape[-n:], value.params)


def backward(value: Value) -> list[Dim]:
    """The dims of an op whose elements lie in windows."""
    n = len(value.params[0])
    return _dims(value.shape[-n:], value.operands[0].shape[-n:], value.params[1:])


def span(tap: Tap, count: int) -> tuple[int, int]:
    """The least and the greatest number that a tap may be."""
    return (tap, tap) if isinstance(tap, int) else (0, count - 1)


def inside(e: Emitter, kind: str, x: str, low: int, high: int, size: int) -> tuple[str, str]:
    """A coordinate that may be from `low` to `high`, moved to within `size`, and the mask of its being so."""
    x = e.let(kind, x)
    if low >= 0 and high < size:
        return x, ""
    mask = f"~({x} >> 31) & (({x} - {size}) >> 31)"
    return e.let(kind, f"clamp({x}, 0, {size - 1})"), e.let(kind, mask)


def _order(e: Emitter, x: Operand, walked: Shape | None) -> Shape | None:
    """The physical order in which an operand is best read by who walks in another."""
    return x.value.order if x.whole and e.is_realised(x.value) else walked


class Place(NamedTuple):
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


def place(e: Emitter, index: Index, shape: Shape, n: int) -> Place:
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
            return Place(digits, kinds, inner, order)
        digits[inner] = e.let("ivec4", f"4 * {digits[inner]} + {LANES}")
        kinds[inner] = "ivec4"
        return Place(digits, kinds, None, order)
    index = e.element(Index(index.form, index.expr, tuple(sizes), order))
    kind = "int" if index.form == "scalar" else "ivec4"
    return Place(e.digits(index), [kind] * len(shape), None, order)


def load(e: Emitter, x: Operand, at: Place, window: list[str]) -> str:
    """An operand at the coordinates of a place, but for the last dims at those of a window."""
    shape, order = x.shape, _order(e, x, at.order)
    dims = order or tuple(range(len(shape)))
    sizes = tuple(shape[d] for d in dims)
    steps = dict(zip(dims, dense_strides(sizes), strict=True))
    digits = [*at.digits[: len(shape) - len(window)], *window]
    form = "lanes" if "ivec4" in at.kinds else "scalar"
    inner = at.texels
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


class Row(NamedTuple):
    """Four neighbours along the last dim, or two and two.

    Attributes:
        runs: for each group of neighbours its coordinates; the last counts groups.
        width: how many neighbours a group has.
        groups: how many groups the dim has.
        order: the physical order in which the result is walked.
    """

    runs: list[list[str]]
    width: int
    groups: int
    order: Shape | None

    def texels(self, e: Emitter, x: Operand, step: int) -> bool:
        """Whether what an operand has at `step` times a group begins at a texel of it."""
        order, inner = _order(e, x, self.order), len(x.shape) - 1
        return step % 4 == 0 and x.shape[-1] % 4 == 0 and (not order or order[-1] == inner)

    def lanes(self, texts: list[str]) -> str:
        """One int for each group, given out to the lanes."""
        if len(texts) == 1:
            return texts[0]
        return f"ivec4({', '.join(text for text in texts for _ in range(self.width))})"

    def load(
        self, e: Emitter, x: Operand, outers: list[list[str]], step: int, shifts: list[int]
    ) -> tuple[str, str]:
        """In each lane an operand's element at step * group + shift, and the mask of its being inside.

        Args:
            e: what writes.
            x: the operand.
            outers: for each group the operand's coordinates but for the last.
            step: how far its elements for two groups lie apart.
            shifts: where a group's lanes lie, from there.
        """
        size, order = x.shape[-1], _order(e, x, self.order)
        unit = 4 if self.texels(e, x, step) else 1
        dims = order or tuple(range(len(x.shape)))
        sizes = tuple(x.shape[d] for d in dims)
        steps = dict(zip(dims, dense_strides((*sizes[:-1], sizes[-1] // unit)), strict=True))
        found: list[str] = []
        for digits, outer in zip(self.runs, outers, strict=True):
            terms = [f"{c} * {steps[d]}" for d, c in enumerate(outer) if x.shape[d] > 1]
            for shift, lane in (divmod(s, unit) for s in shifts):
                high = (self.groups - 1) * step // unit + shift
                last = f"{digits[-1]} * {step // unit} + {shift}"
                last, _ = inside(e, "int", last, shift, high, size // unit)
                at = e.let("int", " + ".join([*terms, f"{last} * {steps[len(outer)]}"]))
                index = Index("texel" if unit == 4 else "scalar", at, sizes, order)
                found.append(f"{e.load(x, index)}.{'xyzw'[lane]}")
        kind, mask = vec(x.value.dtype), ""
        if min(shifts) < 0 or (self.groups - 1) * step + max(shifts) >= size:
            groups = self.lanes([digits[-1] for digits in self.runs])
            moves = ", ".join(str(s) for s in shifts * len(self.runs))
            column = e.let("ivec4", f"{groups} * {step} + ivec4({moves})")
            mask = e.let("ivec4", f"~({column} >> 31) & (({column} - {size}) >> 31)")
        return e.let(kind, f"{kind}({', '.join(found)})"), mask


def row(e: Emitter, index: Index, shape: Shape) -> Row | None:
    """The row in which the four elements of a texel lie; None if it may be several, or no texel."""
    inner = len(shape) - 1
    walked = index.order or tuple(range(inner + 1))
    if index.form != "texel" or walked[-1] != inner or shape[inner] % 2:
        return None
    width = 4 if shape[inner] % 4 == 0 else 2
    groups = shape[inner] // width
    sizes = (*(shape[k] for k in walked[:-1]), groups)
    runs: list[list[str]] = []
    for k in range(4 // width):
        # the second of the last texel may be past the end
        at = index.expr if width == 4 else f"min({index.expr} * 2 + {k}, {prod(sizes) - 1})"
        runs.append(e.digits(Index("scalar", e.let("int", at), sizes, index.order)))
    return Row(runs, width, groups, index.order)
