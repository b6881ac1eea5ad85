"""Reading at indices: take and gather, and an index into several dims as one.

A shader can raise no error, and to look at indices on the host would cost a readback: an index out of
range reads the nearest element that there is. (PyTorch's GPU backends report such indices later, or
never.)
"""

from __future__ import annotations

from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Value
from tensorgl.backends.glsl.layout import dense_strides


@map_op("take")
def take(e: Emitter, value: Value, index: Index) -> str:
    """The slices of the input that an index names, in the place of a dim."""
    dim, wrap = value.params
    x, chosen = value.operands
    strides = dense_strides(x.shape)
    after = len(x.shape) - dim - 1
    outside = (*strides[:dim], *(0,) * len(chosen.shape), *strides[dim + 1 :])
    places = (*(0,) * dim, *dense_strides(chosen.shape), *(0,) * after)
    return _selected(e, value, index, (outside, places), dim, wrap)


@map_op("gather")
def gather(e: Emitter, value: Value, index: Index) -> str:
    """Of each place the element whose coordinate in one dim is another."""
    (dim,) = value.params
    x, chosen = value.operands
    strides = dense_strides(x.shape)
    outside = (*strides[:dim], 0, *strides[dim + 1 :])
    return _selected(e, value, index, (outside, dense_strides(chosen.shape)), dim, False)


def _selected(
    e: Emitter,
    value: Value,
    index: Index,
    strides: tuple[tuple[int, ...], tuple[int, ...]],
    dim: int,
    wrap: bool,
) -> str:
    """The input's elements at index values.

    `strides` walk the result's shape: in the input, as if every index were 0, and in the index. So
    an index that is the same for all four lanes is read once, and where the lanes follow each
    other in the input they are read as one texel.
    """
    x, chosen = value.operands
    n, step = x.shape[dim], dense_strides(x.shape)[dim]
    base = e.at(index, value.shape, strides[0], "", True)
    place = e.at(index, value.shape, strides[1], "", True)
    at = e.load(chosen, Index(place.form, place.expr, chosen.shape))
    kind = "ivec4"
    if place.form == "scalar":
        kind, at = "int", f"{at}.x"
    at = e.let(kind, in_range(at, n, wrap))
    if kind == "int" and base.form == "texel" and step % 4 == 0:
        return e.load(x, Index("texel", e.let("int", f"{base.expr} + {at} * {step // 4}"), x.shape))
    base = e.element(base)
    if base.form == "lanes":
        kind = "ivec4"
    position = f"{base.expr} + {at} * {step}"
    form = "scalar" if kind == "int" else "lanes"
    return e.load(x, Index(form, e.let(kind, position), x.shape))


def in_range(index: str, n: int, wrap: bool) -> str:
    """An index into a dim of size n, negative ones counted from the end if `wrap`."""
    if wrap:
        index = f"{index} + ({n} & ({index} >> 31))"
    return f"clamp({index}, 0, {max(n - 1, 0)})"


@map_op("ravel_index")
def ravel_index(e: Emitter, value: Value, index: Index) -> str:
    """One index into several dims laid end to end."""
    sizes, _ = value.params
    total = ""
    for k, n in enumerate(sizes):
        part = e.let("ivec4", in_range(e.operand(value, k, index), n, wrap=True))
        total = e.let("ivec4", f"{total} * {n} + {part}") if total else part
    return total
