"""Where four lanes read: positions in a space of sizes, and what strides make of them, as GLSL.

An `Index` is a position of four lanes in a mixed-radix space. Three forms, from cheap to dear:

    texel    `expr` is a texel's number: lane j is at element 4 * expr + j
    scalar   `expr` is an int: every lane is at that element
    lanes    `expr` is an ivec4, one element a lane

`Scope.at` walks an index through an operand's strides and keeps the cheapest form that is right.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

from tensorgl.backends.glsl.layout import Digits, dense_strides, simplified

__all__ = ["Index", "Scope"]

LANES = "ivec4(0, 1, 2, 3)"
EXACT = 1 << 21
"""Below this a quotient of integers may be computed as a product of floats: (a + 0.5) / n is at least 0.5 / n
from the next integer, and two roundings move it by less than 2^-22 of itself."""


class Index(NamedTuple):
    """A position in the space of `sizes`; digit k counts dim `order[k]` (None: dim k)."""

    form: str
    expr: str
    sizes: tuple[int, ...]
    order: tuple[int, ...] | None = None

    def reshaped(self, sizes: tuple[int, ...]) -> Index:
        """The same position counted in other sizes of the same product."""
        return Index(self.form, self.expr, sizes)


class Scope:
    """The lines of one GLSL function, each expression once.

    `slow_division`: software rasterisers divide integers a lane at a time, and floats do better.
    """

    def __init__(self, slow_division: bool = False) -> None:
        self.slow_division = slow_division
        self.lines: list[str] = []
        self._names: dict[tuple[str, str], str] = {}

    def let(self, type: str, expression: str) -> str:
        """A variable that holds the expression."""
        if expression.isidentifier() or expression.isdigit():
            return expression
        name = self._names.get((type, expression))
        if name is None:
            name = self._names[type, expression] = f"{type[0]}{len(self._names)}"
            self.lines.append(f"{type} {name} = {expression};")
        return name

    def variable(self, type: str, value: str) -> str:
        """A variable of its own, which may be assigned to, that begins with a value."""
        name = f"{type[0]}{len(self._names)}"
        self._names["variable", name] = name
        self.lines.append(f"{type} {name} = {value};")
        return name

    def element(self, index: Index) -> Index:
        """The index as elements, not texels: "scalar" or "lanes"."""
        if index.form != "texel":
            return index
        size = prod(index.sizes)
        lanes = f"4 * {index.expr} + {LANES}"
        if size % 4:  # lanes past the end read the last element
            lanes = f"min({lanes}, {size - 1})"
        return Index("lanes", self.let("ivec4", lanes), index.sizes, index.order)

    def row_major(self, index: Index, shape: tuple[int, ...]) -> Index:
        """The same position of `shape` counted in row-major order."""
        return self.at(index, shape, dense_strides(shape), "", True)

    def digits(self, index: Index) -> list[str]:
        """The coordinate of each dim, in the order of the dims: ints, or ivec4s if lanes differ."""
        index = self.element(index)
        kind = "int" if index.form == "scalar" else "ivec4"
        found = self._split(kind, index.expr, index.sizes)
        if index.order is None:
            return found
        by_dim = dict(zip(index.order, found, strict=True))
        return [by_dim[d] for d in range(len(found))]

    def _split(self, kind: str, position: str, sizes: tuple[int, ...]) -> list[str]:
        """The digits of a position, outermost first."""
        found: list[str] = []
        rest = position
        below = prod(sizes)
        for n in reversed(sizes):
            if n < 2:
                found.append(f"{kind}(0)" if kind != "int" else "0")
                continue
            if below == n:
                found.append(rest)
            else:
                digit = self.remainder(kind, rest, n, below)
                found.append(digit)
                rest = self.quotient(kind, rest, n, below)
            below //= n
        found.reverse()
        return found

    def quotient(self, kind: str, a: str, n: int, below: int = 0) -> str:
        """`a / n` of what is not negative, and less than `below` if that is given."""
        if n & (n - 1) == 0:
            return self.let(kind, f"{a} >> {n.bit_length() - 1}")
        if self.slow_division and 0 < below <= EXACT:
            floats = "float" if kind == "int" else "vec4"
            return self.let(kind, f"{kind}(({floats}({a}) + 0.5) * {1 / n})")
        return self.let(kind, f"{a} / {n}")

    def remainder(self, kind: str, a: str, n: int, below: int = 0) -> str:
        """`a % n` of what is not negative, and less than `below` if that is given."""
        if n & (n - 1) == 0:
            return self.let(kind, f"{a} & {n - 1}")
        return self.let(kind, f"{a} - {self.quotient(kind, a, n, below)} * {n}")

    def _walk(
        self, kind: str, position: str, sizes: tuple[int, ...], steps: tuple[int, ...], start: str
    ) -> str:
        """The start, and the sum of digit * stride."""
        found = self._split(kind, position, sizes)
        terms = [d if s == 1 else f"{d} * {s}" for d, s in zip(found, steps, strict=True) if s]
        if start:
            terms.append(start)
        return self.let(kind, " + ".join(terms)) if terms else "0"

    def at(
        self,
        index: Index,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        start: str,
        aligned: bool,
    ) -> Index:
        """The element of memory for a position in `shape`, walked by `strides` from `start` on.

        `start` is GLSL for an int, or empty; `aligned` says that it is a multiple of four.
        """
        form, sizes, steps = _route(index.form, shape, strides, index.order, aligned)
        flat = (prod(shape),)
        if not sizes:
            return Index("scalar", start or "0", flat)
        if steps == (1,) and form == index.form and not start:  # it is that position
            kind = "ivec4" if form == "lanes" else "int"
            return Index(form, self.let(kind, index.expr), flat)
        if form == "lanes":
            position = self.element(index).expr
            return Index("lanes", self._walk("ivec4", position, sizes, steps, start), flat)
        if form == "texel" and start:
            start = f"({start} >> 2)"
        return Index(form, self._walk("int", index.expr, sizes, steps, start), flat)

    def column(
        self, index: Index, shape: tuple[int, ...], strides: tuple[int, ...], start: str
    ) -> tuple[str, int] | None:
        """The element of the first lane of a texel's number, and how far it is to that of the next.

        None if the lanes are not whole texels apart.
        """
        dims = range(len(shape)) if index.order is None else index.order
        digits = simplified((shape[d], strides[d]) for d in dims)
        if index.form != "texel" or not digits:
            return None
        outer, (inner, step) = digits[:-1], digits[-1]
        if not step or step % 4 or inner % 4:
            return None
        sizes, steps = zip(*outer, (inner // 4, 4 * step), strict=True)
        return self._walk("int", index.expr, sizes, steps, start), step


@lru_cache(maxsize=1 << 12)
def _route(
    form: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    order: tuple[int, ...] | None,
    aligned: bool,
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The form of what an index of a form becomes; sizes and steps of the digits that lead there.

    The digits are those of a texel's number where a texel becomes a texel or a scalar. Without digits
    every position leads to the start.
    """
    dims = range(len(shape)) if order is None else order
    digits = simplified((shape[d], strides[d]) for d in dims)
    sizes, steps = tuple(n for n, _ in digits), tuple(s for _, s in digits)
    if not any(steps):
        return "scalar", (), ()
    if form != "texel":
        return form, sizes, steps
    inner = sizes[-1]
    if inner % 4 == 0 or len(sizes) == 1:
        if steps[-1] == 1 and aligned and all(s % 4 == 0 for s in steps[:-1]):
            texels = (*sizes[:-1], (inner + 3) // 4)
            return "texel", texels, (*(s // 4 for s in steps[:-1]), 1)
        if steps[-1] == 0 and inner % 4 == 0:
            return "scalar", (*sizes[:-1], inner // 4), steps
    return "lanes", sizes, steps


@lru_cache(maxsize=1 << 12)
def physical(digits: Digits, shape: tuple[int, ...], order: tuple[int, ...]) -> Digits | None:
    """Digits that walk a row-major memory of `shape`, as they walk one with dims in `order`.

    None if one of them does not stay within one dim.
    """
    logical = dense_strides(shape)
    in_memory = dense_strides(tuple(shape[d] for d in order))
    place = {d: in_memory[k] for k, d in enumerate(order)}
    found: list[tuple[int, int]] = []
    for n, s in digits:
        if n == 1 or s == 0:
            found.append((n, 0))
            continue
        for d in range(len(shape)):
            if shape[d] > 1 and s >= logical[d] and s % logical[d] == 0:
                times = s // logical[d]
                if (n - 1) * times < shape[d]:
                    found.append((n, times * place[d]))
                    break
                # a run over this dim and those outside it: split it where this dim ends
                if times == 1 and n % shape[d] == 0:
                    outer = physical(((n // shape[d], s * shape[d]),), shape, order)
                    if outer is None:
                        return None
                    found.extend([*outer, (shape[d], place[d])])
                    break
                return None
        else:
            return None
    return tuple(found)
