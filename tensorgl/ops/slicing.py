"""Parts of a tensor as views of it: slices, windows, and memory read with strides of one's own."""

from __future__ import annotations

from math import prod
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, call_view, calln, defvjp, op, source
from tensorgl.ops.movement import clone, expand, permute, reshape
from tensorgl.ops.shapes import is_contiguous, strides_of, wrap_dim

__all__ = ["as_strided", "narrow", "select", "select_scatter", "slice_scatter"]

Tensor = Any
Shape = tuple[int, ...]


@op
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """A view of `length` places along `dim`, from `start` on.

    Raises:
        IndexError: `start` is out of range.
        RuntimeError: the input is 0-dim, `length` is negative or too large.
    """
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    k, first = wrap_dim(dim, input.ndim), start.__index__()
    n = input._aval.shape[k]
    if not -n <= first <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [{-n}, {n}], but got {first})"
        )
    first = first + n if first < 0 else first
    if first + length > n:
        raise RuntimeError(f"start ({first}) + length ({length}) exceeds dimension size ({n}).")
    return call_view(p.narrow, input, (k, length, False), first)


defvjp(
    p.narrow,
    input=lambda g, start, shape, dim, drop: call2(
        p.narrow_backward, g, start, (dim, shape[dim], drop)
    ),
)


def _narrow_again(g: Tensor, start: int, shape: Shape, dim: int, drop: bool) -> Tensor:
    return call_view(p.narrow, g, (dim, 1 if drop else shape[dim], drop), start)


defvjp(p.narrow_backward, input=_narrow_again)


@op
def select(input: Tensor, dim: int, index: int | Tensor) -> Tensor:
    """A view of one place along `dim`, without that dim.

    Raises:
        IndexError: the input is 0-dim, or `index` is out of range.
    """
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    k, place = wrap_dim(dim, input.ndim), index.__index__()
    n = input._aval.shape[k]
    if not -n <= place < n:
        raise IndexError(
            f"select(): index {place} out of range for tensor of size {list(input._aval.shape)} at "
            f"dimension {k}"
        )
    return call_view(p.narrow, input, (k, 1, True), place + n if place < 0 else place)


def strided_slice(input: Tensor, dim: int, start: int, stop: int, step: int) -> Tensor:
    """A view of `start:stop:step` along `dim`; the bounds are in range."""
    length = max(0, stop - start)
    if step == 1:
        return call_view(p.narrow, input, (dim, length, False), start)
    shape, n = tuple(input._aval.shape), input.ndim
    starts = tuple(start if k == dim else 0 for k in range(n))
    stops = tuple(start + length if k == dim else shape[k] for k in range(n))
    return call_view(
        p.slice, input, (starts, stops, tuple(step if k == dim else 1 for k in range(n)))
    )


@op
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` written at one place along `dim`."""
    out = clone(input)
    _same_shape("select_scatter", select(out, dim, index), src).copy_(src)
    return out


@op
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of `input` with `src` written at `start:end:step` along `dim`."""
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    out, k = clone(input), wrap_dim(dim, input.ndim)
    span = slice(start, end, step).indices(input._aval.shape[k])
    _same_shape("slice_scatter", strided_slice(out, k, *span), src).copy_(src)
    return out


def _same_shape(name: str, place: Tensor, src: Tensor) -> Tensor:
    if place._aval.shape != src._aval.shape:
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(place.shape)}"
        )
    return place


@op
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows of `size` along a dim, `step` apart; a window is the last dim.

    Raises:
        RuntimeError: `size` is negative or more than there is, or `step` is not positive.
    """
    k = wrap_dim(dimension, input.ndim)
    n = input._aval.shape[k] if input.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {k} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if input.ndim == 0:
        return (
            reshape(input, 1) if size else call_view(p.narrow, reshape(input, 1), (0, 0, False), 0)
        )
    return call_view(p.unfold, input, (k, size, step))


defvjp(
    p.unfold,
    input=lambda g, shape, dim, step: call1(p.unfold_backward, g, (dim, shape[dim], step)),
)
defvjp(
    p.unfold_backward,
    input=lambda g, shape, dim, step: call_view(p.unfold, g, (dim, shape[-1], step)),
)


def storage_offset(input: Tensor) -> int:
    """How many elements after the first of its base's memory a view's first element lies."""
    base, offset, steps = input._base, 0, []
    recipe = input._view
    while recipe is not None:
        steps.append(recipe)
        recipe = recipe[3]
    for primitive, params, numbers, _, _ in reversed(steps):
        strides = strides_of(base)
        if primitive is p.narrow:
            offset += numbers[0] * strides[params[0]]
        elif primitive is p.slice:
            offset += sum(a * s for a, s in zip(params[0], strides, strict=True))
        elif primitive is p.diagonal:
            along, dim1, dim2 = params
            offset += along * strides[dim2] if along > 0 else -along * strides[dim1]
        elif primitive is p.as_strided:
            offset += params[2]
        base = calln(primitive, (base.detach(), *numbers), params)
    return offset


@op
def as_strided(
    input: Tensor, size: Shape, stride: Shape, storage_offset: int | None = None
) -> Tensor:
    """A view with strides of one's own of the memory that `input` shows, in elements.

    It is a view of the whole tensor that `input` is itself a view of, and its gradient goes there.

    Raises:
        RuntimeError: it would reach beyond that memory, or that memory has gaps.
    """
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if min(stride, default=0) < 0:
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    offset = _offset(input) if storage_offset is None else storage_offset
    memory = _memory(input if input._base is None else input._base)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if offset < 0 or (prod(size) and last >= memory._aval.size):
        raise RuntimeError(
            f"as_strided: sizes {list(size)}, strides {list(stride)} and storage offset {offset} are "
            f"out of bounds for memory of {memory._aval.size} elements"
        )
    return call_view(p.as_strided, memory, (size, stride, offset))


_offset = storage_offset  # as_strided has a parameter of that name


def _memory(root: Tensor) -> Tensor:
    """All of a tensor's elements, as a 1-d view in the order in which they lie in memory."""
    strides = strides_of(root)
    ordered = permute(root, sorted(range(len(strides)), key=lambda d: -strides[d]))
    if not is_contiguous(ordered):
        raise RuntimeError(
            "as_strided: the tensor's memory has gaps or overlaps; call .contiguous() first"
        )
    return reshape(ordered, -1)


def _places(g: Tensor, size: Shape, stride: Shape, offset: int) -> Tensor:
    """The positions in flat memory that `as_strided` shows, as a 1-d index."""
    places: Any = offset
    for k, (n, s) in enumerate(zip(size, stride, strict=True)):
        along = source(p.arange, (0, s), (n, dtypes.int64), g._aval.device)
        places = reshape(along, (n, *(1,) * (len(size) - 1 - k))) + places
    if not size:
        places = source(p.full, (offset,), ((1,), dtypes.int64), g._aval.device)
    return reshape(places, -1)


def zeros(like: Tensor, shape: Shape) -> Tensor:
    """Zeros of the dtype and device of a tensor, all in one place in memory."""
    a = like._aval
    return expand(source(p.full, (0,), ((), a.dtype), a.device), shape)


def _as_strided_backward(
    g: Tensor, shape: Shape, size: Shape, stride: Shape, offset: int
) -> Tensor:
    """What overlaps in memory adds up."""
    places = _places(g, size, stride, offset)
    return calln(p.put_add, (zeros(g, shape), places, reshape(g, -1)), (0, True))


defvjp(p.as_strided, input=_as_strided_backward)
