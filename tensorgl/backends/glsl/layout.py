"""Strided layouts: which element of flat memory each element of a view is. Pure integers.

A `Layout` is a shape and a stride for each dim, in elements, of the row-major memory of a base; it is
interned, so that layouts compare by identity. Where a view starts is not part of it.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import prod
from typing import Any

__all__ = ["Digits", "Layout", "dense_strides", "inverse", "layout", "simplified", "transformed"]

Shape = tuple[int, ...]
Digits = tuple[tuple[int, int], ...]
"""(size, stride) of each digit of a mixed-radix position, outermost first."""


class Layout:
    """A shape and strides. Made by `layout` only; compare by identity."""

    __slots__ = ("dense", "shape", "size", "strides", "views")

    def __init__(self, shape: Shape, strides: Shape) -> None:
        self.shape = shape
        self.strides = strides
        self.size = prod(shape)
        pairs = zip(shape, strides, dense_strides(shape), strict=True)
        self.dense = all(s == d or n == 1 for n, s, d in pairs)
        self.views: dict[Any, tuple[Layout, int]] = {}

    def __repr__(self) -> str:
        return f"{list(self.shape)}:{list(self.strides)}"


@lru_cache(maxsize=1 << 14)
def dense_strides(shape: Shape) -> Shape:
    """The strides of row-major order."""
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


@cache
def layout(shape: Shape, strides: Shape | None = None) -> Layout:
    """The one layout of this shape and these strides, row-major ones if not given."""
    if strides is None:
        return layout(shape, dense_strides(shape))
    return Layout(shape, strides)


def transformed(x: Layout, primitive: str, params: tuple[Any, ...]) -> tuple[Layout, int]:
    """What a view primitive makes of a layout, and by how many elements the start moves.

    `narrow` moves it further, by its number times the stride of its dim.
    """
    known = x.views.get((primitive, params))
    if known is None:
        shape, strides, start = _VIEWS[primitive](x, *params)
        known = x.views[primitive, params] = layout(tuple(shape), tuple(strides)), start
    return known


def _reshape(x: Layout, shape: Shape) -> tuple[Any, Any, int]:
    """Each new dim lies within one run of old dims that follow each other in memory."""
    if x.size == 0:
        return shape, dense_strides(shape), 0
    digits = list(simplified(zip(x.shape, x.strides, strict=True)))
    strides: list[int] = []
    left, step = digits.pop() if digits else (1, 1)
    for n in reversed(shape):
        if n == 1:
            strides.append(step)
            continue
        if left == 1 and digits:
            left, step = digits.pop()
        if left % n:
            raise RuntimeError(f"reshape: a view of {x} cannot have the shape {shape}")
        strides.append(step)
        left, step = left // n, step * n
    return shape, reversed(strides), 0


def _permute(x: Layout, dims: Shape) -> tuple[Any, Any, int]:
    return [x.shape[d] for d in dims], [x.strides[d] for d in dims], 0


def _expand(x: Layout, shape: Shape) -> tuple[Any, Any, int]:
    lead = len(shape) - len(x.shape)
    kept = zip(x.shape, shape[lead:], x.strides, strict=True)
    return shape, [0] * lead + [s if n == m else 0 for n, m, s in kept], 0


def _slice(x: Layout, starts: Shape, stops: Shape, steps: Shape) -> tuple[Any, Any, int]:
    spans = [len(range(*span)) for span in zip(starts, stops, steps, strict=True)]
    strides = [s * step for s, step in zip(x.strides, steps, strict=True)]
    start = sum(s * a for s, a, n in zip(x.strides, starts, spans, strict=True) if n)
    return spans, strides, start


def _narrow(x: Layout, dim: int, length: int, drop: bool) -> tuple[Any, Any, int]:
    kept = () if drop else (length,)
    strides = x.strides[:dim] + (x.strides[dim],) * (not drop) + x.strides[dim + 1 :]
    return (*x.shape[:dim], *kept, *x.shape[dim + 1 :]), strides, 0


def _diagonal(x: Layout, offset: int, dim1: int, dim2: int) -> tuple[Any, Any, int]:
    n1, n2 = x.shape[dim1], x.shape[dim2]
    length = max(0, min(n1 + min(offset, 0), n2 - max(offset, 0)))
    rest = [d for d in range(len(x.shape)) if d not in (dim1, dim2)]
    start = max(offset, 0) * x.strides[dim2] + max(-offset, 0) * x.strides[dim1]
    return (
        [*(x.shape[d] for d in rest), length],
        [*(x.strides[d] for d in rest), x.strides[dim1] + x.strides[dim2]],
        start if length else 0,
    )


def _as_strided(x: Layout, size: Shape, stride: Shape, offset: int) -> tuple[Any, Any, int]:
    step = x.strides[0]
    return size, [s * step for s in stride], offset * step


def _unfold(x: Layout, dim: int, size: int, step: int) -> tuple[Any, Any, int]:
    shape, strides = list(x.shape), list(x.strides)
    shape[dim] = (shape[dim] - size) // step + 1
    strides[dim] *= step
    return (*shape, size), (*strides, x.strides[dim]), 0


_VIEWS = {
    "reshape": _reshape,
    "permute": _permute,
    "expand": _expand,
    "slice": _slice,
    "narrow": _narrow,
    "diagonal": _diagonal,
    "as_strided": _as_strided,
    "unfold": _unfold,
}


def inverse(x: Layout) -> tuple[tuple[int, int, int], ...] | None:
    """How a place in memory tells which element a layout shows there.

    (size, step in memory, step in the layout's own row-major order) of each digit, the largest step
    first, so that dividing by each in turn finds the digits. None if two elements share a place, or
    lie so that division cannot tell them apart.
    """
    digits = simplified(zip(x.shape, x.strides, strict=True)) or ((1, 1),)
    own = dense_strides(tuple(n for n, _ in digits))
    found = sorted(((n, s, i) for (n, s), i in zip(digits, own, strict=True)), key=lambda d: -d[1])
    reach = 0  # how far the smaller steps lead
    for n, s, _ in reversed(found):
        if s <= reach:
            return None
        reach += (n - 1) * s
    return tuple(found)


def simplified(pairs: Any) -> Digits:
    """Digits with those of size 1 left out, and neighbours that walk memory as one joined."""
    digits: list[tuple[int, int]] = []
    for n, s in pairs:
        if n == 1:
            continue
        if digits and digits[-1][1] == n * s:
            digits[-1] = digits[-1][0] * n, s
        else:
            digits.append((n, s))
    return tuple(digits)
