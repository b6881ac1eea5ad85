"""Shapes and views: the same elements in another arrangement. Views share memory as in PyTorch."""

from __future__ import annotations

from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import share
from tensorgl.avals import Size
from tensorgl.dispatch import call1, call2, call_view, defvjp, from_host, op, to_host
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.dtypes import element
from tensorgl.ops.shapes import (
    as_shape,
    is_contiguous,
    numpy_names,
    remembered,
    reshape_plan,
    resolved,
    strides_of,
    wrap_dim,
    wrap_dims,
)
from tensorgl.primitives import core

__all__ = [
    "adjoint",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "clone",
    "flatten",
    "flip",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]

Tensor = Any
Shape = tuple[int, ...]


@op
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own; the gradient goes back to `input`; see `layouts`."""
    return call1(p.copy, input)


defvjp(p.copy, input=lambda g: g)


@op
def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """`input` itself if its memory is in row-major order, else a copy that is; see `layouts`."""
    return input if is_contiguous(input) else clone(input)


@op
def view(input: Tensor, *size: int | Shape | dtype_type, dtype: dtype_type | None = None) -> Tensor:
    """The same memory in another shape, of which one size may be -1, or as another dtype.

    Raises:
        RuntimeError: the memory is not in an order that allows it, or the sizes do not fit; or the
            memory is not on cpu, or elements of the dtype are not of the same size.
    """
    kind: Any = size[0] if size and type(size[0]) is dtype_type else dtype
    if kind is not None:
        return _reinterpreted(input, kind)
    params, direct = reshape_plan(as_shape(size), input._aval.shape, strides_of(input))
    if not direct:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return call_view(p.reshape, input, params)


def _reinterpreted(input: Tensor, kind: dtype_type) -> Tensor:
    a = input._aval
    if kind is a.dtype:
        return view(input, a.shape)
    if a.device.type != "cpu" or kind.itemsize != a.dtype.itemsize:
        raise RuntimeError(
            "view(dtype): expected a tensor on cpu and a dtype of the same size, given "
            f"{a.dtype.name} on {a.device} and {kind.name}"
        )
    out = from_host(to_host(input).view(kind.name), kind, a.device)
    share(input)
    out._memory = input._memory
    return out


@op
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`input.view(other.shape)`."""
    return view(input, other._aval.shape)


@op
def reshape(input: Tensor, *sizes: int | Shape, shape: Shape | None = None) -> Tensor:
    """The same elements in another shape: a view where the memory allows it, else a copy."""
    new = as_shape(sizes if shape is None else (shape,))
    params, direct = reshape_plan(new, input._aval.shape, strides_of(input))
    return call_view(p.reshape, input if direct else clone(input), params)


defvjp(p.reshape, input=lambda g, shape: reshape(g, shape))


@op
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`input.reshape(other.shape)`."""
    return reshape(input, other._aval.shape)


@op
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dims from `start_dim` to `end_dim` as one; a 0-dim tensor gets one dim."""
    a, b = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if a == b and input.ndim:
        return input
    shape = tuple(input._aval.shape)
    return reshape(input, (*shape[:a], prod(shape[a : b + 1]), *shape[b + 1 :]))


@op
def unflatten(input: Tensor, dim: int, sizes: Shape) -> Tensor:
    """A view with `dim` split into dims of these sizes, of which one may be -1."""
    k = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    shape, parts = tuple(input._aval.shape), as_shape((sizes,))
    if not parts:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if prod(parts) != shape[k] and -1 not in parts:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {k} "
            f"({shape[k]}) in the input tensor"
        )
    return view(input, (*shape[:k], *resolved(parts, shape[k]), *shape[k + 1 :]))


@op
def ravel(input: Tensor) -> Tensor:
    """All elements in one dim: a view where the memory allows it, else a copy."""
    return reshape(input, (-1,))


@remembered
def _order(dims: Shape, ndim: int) -> tuple[Shape]:
    if len(dims) != ndim:
        raise RuntimeError(
            "permute: number of dimensions in the tensor input does not match the length of the "
            f"desired ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = "
            f"{len(dims)}"
        )
    wrapped = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"permute(): duplicate dims are not allowed, given {list(dims)}")
    return (wrapped,)


@op
def permute(input: Tensor, *order: int | Shape, dims: Shape | None = None) -> Tensor:
    """A view with the dims in this order."""
    wanted = as_shape(order if dims is None else (dims,))
    return call_view(p.permute, input, _order(wanted, input._aval.ndim))


def inverse(dims: Shape) -> Shape:
    """The permutation that undoes `dims`."""
    return tuple(dims.index(k) for k in range(len(dims)))


defvjp(p.permute, input=lambda g, dims: permute(g, inverse(dims)))


@remembered
def _swapped(ndim: int, dim0: int, dim1: int) -> tuple[Shape]:
    a, b = wrap_dim(dim0, ndim), wrap_dim(dim1, ndim)
    order = list(range(ndim))
    if ndim:
        order[a], order[b] = order[b], order[a]
    return (tuple(order),)


@op
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dims swapped."""
    return call_view(p.permute, input, _swapped(input._aval.ndim, dim0, dim1))


@op
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """A view with two dims swapped; `transpose` by numpy's name."""
    return transpose(input, axis0, axis1)


@op
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dims swapped; another name of `transpose`."""
    return transpose(input, dim0, dim1)


@op
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a view of a vector or scalar as it is."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, input.ndim - 1)


@op
def adjoint(input: Tensor) -> Tensor:
    """A view with the last two dims swapped."""
    if input.ndim == 1:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got "
            f"{input.ndim}-D tensor."
        )
    return transpose(input, -2, -1) if input.ndim else t(input)


@op
def movedim(input: Tensor, source: int | Shape, destination: int | Shape) -> Tensor:
    """A view with the dims at `source` moved to `destination`; the others keep their order."""
    n = input.ndim
    origins, places = as_shape((source,)), as_shape((destination,))
    if len(origins) != len(places):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({list(origins)} dims) should contain the same number of dims as destination "
            f"({list(places)} dims)"
        )
    origins = tuple(wrap_dim(d, n) for d in origins)
    places = tuple(wrap_dim(d, n) for d in places)
    for name, dims in (("source", origins), ("destination", places)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(dims)})")
    if n == 0:
        return permute(input, ())
    moved = dict(zip(places, origins, strict=True))
    rest = iter(k for k in range(n) if k not in origins)
    return permute(input, tuple(moved[k] if k in moved else next(rest) for k in range(n)))


@op
def moveaxis(input: Tensor, source: int | Shape, destination: int | Shape) -> Tensor:
    """`movedim` by numpy's name."""
    return movedim(input, source, destination)


@remembered
def _expanded(old: Shape, new: Shape) -> tuple[Shape]:
    lead = len(new) - len(old)
    if lead < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(new)}) must be greater or equal to the number "
            f"of dimensions in the tensor ({len(old)})"
        )
    for k, n in enumerate(new):
        if n < -1 or (n == -1 and k < lead):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing "
                f"dimension {k}"
            )
    resolved = tuple(old[k - lead] if n == -1 else n for k, n in enumerate(new))
    for k, n in enumerate(old):
        if n not in (1, resolved[k + lead]):
            raise RuntimeError(
                f"The expanded size of the tensor ({resolved[k + lead]}) must match the existing size "
                f"({n}) at non-singleton dimension {k + lead}.  Target sizes: {list(resolved)}.  "
                f"Tensor sizes: {list(old)}"
            )
    return (resolved,)


@op
def expand(input: Tensor, *sizes: int | Shape, size: Shape | None = None) -> Tensor:
    """A view that repeats dims of size 1 without memory; -1 keeps a size."""
    new = as_shape(sizes if size is None else (size,))
    return call_view(p.expand, input, _expanded(input._aval.shape, new))


defvjp(p.expand, input=lambda g: g)  # the engine sums what was broadcast


@op
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`input.expand(other.shape)`."""
    return expand(input, other._aval.shape)


@op
def broadcast_to(input: Tensor, size: Shape) -> Tensor:
    """A view that repeats dims of size 1 without memory; `expand` by numpy's name."""
    return expand(input, size)


@op
def broadcast_shapes(*shapes: int | Shape) -> Size:
    """The shape that tensors of these shapes broadcast to."""
    try:
        return Size(core.broadcast_shapes(*(as_shape((s,)) for s in shapes)))
    except RuntimeError as error:
        raise RuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {error}"
        ) from None


@op
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views of the tensors, all expanded to the shape that they broadcast to."""
    if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
        tensors = tuple(tensors[0])
    shape = core.broadcast_shapes(*(x._aval.shape for x in tensors))
    return tuple(expand(x, shape) for x in tensors)


@remembered
def _squeezed(shape: Shape, dims: Shape | None) -> tuple[Shape]:
    drop = range(len(shape)) if dims is None else [wrap_dim(d, len(shape)) for d in dims]
    return (tuple(n for k, n in enumerate(shape) if n != 1 or k not in drop),)


@op
@numpy_names
def squeeze(input: Tensor, dim: int | Shape | None = None) -> Tensor:
    """A view without dims of size 1: all of them, or those in `dim`."""
    dims = None if dim is None else as_shape((dim,))
    return call_view(p.reshape, input, _squeezed(input._aval.shape, dims))


@remembered
def _unsqueezed(shape: Shape, dim: int) -> tuple[Shape]:
    k = wrap_dim(dim, len(shape) + 1)
    return ((*shape[:k], 1, *shape[k:]),)


@op
@numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dim of size 1 put in at `dim`."""
    return call_view(p.reshape, input, _unsqueezed(input._aval.shape, dim))


def _atleast(tensors: tuple[Any, ...], shape_of: Any) -> Any:
    several = len(tensors) != 1 or isinstance(tensors[0], tuple | list)
    if several and len(tensors) == 1:
        tensors = tuple(tensors[0])
    out = tuple(reshape(x, shape_of(tuple(x._aval.shape))) for x in tensors)
    return out if several else out[0]


@op
def atleast_1d(*tensors: Tensor) -> Any:
    """Each tensor with at least one dim, as a view."""
    return _atleast(tensors, lambda s: s or (1,))


@op
def atleast_2d(*tensors: Tensor) -> Any:
    """Each tensor with at least two dims, as a view; a vector becomes a row."""
    return _atleast(tensors, lambda s: (1,) * (2 - len(s)) + s)


@op
def atleast_3d(*tensors: Tensor) -> Any:
    """Each tensor with at least three dims, as a view; a matrix gets a last dim."""
    return _atleast(tensors, lambda s: ((1,) * (2 - len(s)) + s + (1,)) if len(s) < 3 else s)


@op
def flip(input: Tensor, *order: int | Shape, dims: Shape | None = None) -> Tensor:
    """A copy with the order along `dims` reversed."""
    wanted = as_shape(order if dims is None else (dims,))
    return call1(p.flip, input, (wrap_dims(wanted, input.ndim) if wanted else (),))


defvjp(p.flip, input=lambda g, dims: call1(p.flip, g, (dims,)))


def sliced(input: Tensor, starts: Shape, stops: Shape, steps: Shape) -> Tensor:
    """A view of a box: `start:stop:step` along every dim, all in range, steps positive."""
    return call_view(p.slice, input, (starts, stops, steps))


def padded(input: Tensor, widths: tuple[tuple[int, int], ...], value: float = 0) -> Tensor:
    """`value` put around: (before, after) along every dim, not negative."""
    return call2(p.pad, input, element(value, input._aval.dtype), (widths,))


def _spread(g: Tensor, dim: int, step: int) -> Tensor:
    """`g` with step - 1 zeros behind every element along `dim`."""
    shape = tuple(g._aval.shape)
    g = unsqueeze(g, dim + 1)
    g = padded(g, tuple((0, (step - 1) * (k == dim + 1)) for k in range(g.ndim)))
    return reshape(g, (*shape[:dim], shape[dim] * step, *shape[dim + 1 :]))


def _slice_backward(g: Tensor, shape: Shape, starts: Shape, steps: Shape) -> Tensor:
    """Zeros of `shape` with `g` in the box."""
    for dim, step in enumerate(steps):
        if step > 1 and g.shape[dim] > 0:
            g = _spread(g, dim, step)
    room = tuple(min(m, n - a) for m, n, a in zip(g.shape, shape, starts, strict=True))
    if room != g.shape:  # the zeros behind the last element may stick out
        g = sliced(g, (0,) * g.ndim, room, (1,) * g.ndim)
    return padded(g, tuple((a, n - a - m) for a, n, m in zip(starts, shape, room, strict=True)))


defvjp(
    p.slice,
    input=lambda g, shape, starts, steps: _slice_backward(g, tuple(shape), starts, steps),
)


def _unpad(g: Tensor, widths: tuple[tuple[int, int], ...]) -> Tensor:
    stops = tuple(n - hi for n, (_, hi) in zip(g.shape, widths, strict=True))
    return sliced(g, tuple(lo for lo, _ in widths), stops, (1,) * g.ndim)


defvjp(p.pad, input=lambda g, widths: _unpad(g, widths))
