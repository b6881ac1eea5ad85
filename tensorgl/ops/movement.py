"""Shapes and views: the same elements in another arrangement. Views share memory as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.avals import Size
from tensorgl.backends import backend_of
from tensorgl.dispatch import call1, call2, call_view, defvjp, op

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
    "fliplr",
    "flipud",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "rot90",
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
_remembered = lru_cache(maxsize=1 << 12)  # for shape arithmetic: the same few shapes come all the time


def wrap_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front.

    Raises:
        IndexError: it is not in [-ndim, ndim); a 0-dim tensor counts as one of one dim.
    """
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(dim: int | Sequence[int] | None, ndim: int) -> Shape:
    """Dims counted from the front, as a tuple; all of them for None or an empty sequence."""
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        return tuple(range(ndim))
    wrapped = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"dim {dims} appears multiple times in the list of dims")
    return wrapped if ndim else ()


def as_shape(shape: tuple[Any, ...]) -> Shape:
    """`f(2, 3)` and `f((2, 3))` alike, as a tuple of ints."""
    if len(shape) == 1 and type(shape[0]) is not int and hasattr(shape[0], "__len__"):
        shape = tuple(shape[0])
    for n in shape:
        if type(n) is not int:
            return tuple(n.__index__() for n in shape)
    return shape


def _resolved(shape: Shape, size: int) -> Shape:
    """`shape` with its -1 worked out."""
    for n in shape:
        if n < -1:
            raise RuntimeError(f"invalid shape dimension {n}")
    if -1 in shape:
        known = prod(n for n in shape if n != -1)
        if shape.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
        if known == 0 and size == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if known == 0 or size % known:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
        return tuple(size // known if n == -1 else n for n in shape)
    if prod(shape) != size:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
    return shape


def is_viewable(shape: Shape, strides: Shape, new: Shape) -> bool:
    """Whether memory of this shape and these strides can be seen in shape `new` without a copy."""
    if prod(shape) == 0:
        return True
    # Merge neighbouring dims that lie one after the other into runs, then split runs into new dims.
    runs: list[int] = []
    run, expected = 1, None
    for n, s in reversed([(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]):
        if expected is not None and s != expected:
            runs.append(run)
            run = 1
        run, expected = run * n, s * n
    runs.append(run)
    sizes = [n for n in reversed(new) if n != 1]
    k = 0
    for run in runs:
        filled = 1
        while filled < run and k < len(sizes):
            filled *= sizes[k]
            k += 1
        if filled != run:
            return False
    return k == len(sizes)


def strides_of(input: Tensor) -> Shape:
    """How many elements apart neighbours along each dim lie in memory."""
    return backend_of(input._aval.device).strides(input._data, input._aval)


@_remembered
def _is_row_major(shape: Shape, strides: Shape) -> bool:
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1:
            if s != step:
                return prod(shape) == 0
            step *= n
    return True


def is_contiguous(input: Tensor) -> bool:
    """Whether the elements lie in memory in row-major order without gaps."""
    return _is_row_major(input._aval.shape, strides_of(input))


@op
def clone(input: Tensor) -> Tensor:
    """A copy with memory of its own; the gradient goes back to `input`."""
    return call1(p.copy, input)


defvjp(p.copy, input=lambda g: g)


@op("Tensor.contiguous")
def contiguous(input: Tensor) -> Tensor:
    """`input` itself if its memory is in row-major order, else a copy that is."""
    return input if is_contiguous(input) else clone(input)


@_remembered
def _reshape_plan(new: Shape, shape: Shape, strides: Shape) -> tuple[tuple[Shape], bool]:
    """The reshape's params, and whether it needs no copy."""
    resolved = _resolved(new, prod(shape))
    return (resolved,), is_viewable(shape, strides, resolved)


@op("Tensor.view")
def view(input: Tensor, *size: int | Shape) -> Tensor:
    """The same memory in another shape; one size may be -1.

    Raises:
        RuntimeError: the memory is not in an order that allows it, or the sizes do not fit.
    """
    params, direct = _reshape_plan(as_shape(size), input._aval.shape, strides_of(input))
    if not direct:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return call_view(p.reshape, input, params)


@op("Tensor.view_as")
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`input.view(other.shape)`."""
    return view(input, other._aval.shape)


@op
def reshape(input: Tensor, *sizes: int | Shape, shape: Shape | None = None) -> Tensor:
    """The same elements in another shape: a view where the memory allows it, else a copy."""
    new = as_shape(sizes if shape is None else (shape,))
    params, direct = _reshape_plan(new, input._aval.shape, strides_of(input))
    return call_view(p.reshape, input if direct else clone(input), params)


defvjp(p.reshape, input=lambda g, shape: reshape(g, shape))


@op("Tensor.reshape_as")
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
    return view(input, (*shape[:k], *_resolved(parts, shape[k]), *shape[k + 1 :]))


@op
def ravel(input: Tensor) -> Tensor:
    """All elements in one dim: a view where the memory allows it, else a copy."""
    return reshape(input, (-1,))


@_remembered
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


@_remembered
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


@_remembered
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


@op("Tensor.expand")
def expand(input: Tensor, *sizes: int | Shape, size: Shape | None = None) -> Tensor:
    """A view that repeats dims of size 1 without memory; -1 keeps a size."""
    new = as_shape(sizes if size is None else (size,))
    return call_view(p.expand, input, _expanded(input._aval.shape, new))


defvjp(p.expand, input=lambda g: g)  # the engine sums what was broadcast


@op("Tensor.expand_as")
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
        return Size(p.core.broadcast_shapes(*(as_shape((s,)) for s in shapes)))
    except RuntimeError as error:
        raise RuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {error}"
        ) from None


@op
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views of the tensors, all expanded to the shape that they broadcast to."""
    if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
        tensors = tuple(tensors[0])
    shape = p.core.broadcast_shapes(*(x._aval.shape for x in tensors))
    return tuple(expand(x, shape) for x in tensors)


@_remembered
def _squeezed(shape: Shape, dims: Shape | None) -> tuple[Shape]:
    drop = range(len(shape)) if dims is None else [wrap_dim(d, len(shape)) for d in dims]
    return (tuple(n for k, n in enumerate(shape) if n != 1 or k not in drop),)


@op
def squeeze(input: Tensor, dim: int | Shape | None = None) -> Tensor:
    """A view without dims of size 1: all of them, or those in `dim`."""
    dims = None if dim is None else as_shape((dim,))
    return call_view(p.reshape, input, _squeezed(input._aval.shape, dims))


@_remembered
def _unsqueezed(shape: Shape, dim: int) -> tuple[Shape]:
    k = wrap_dim(dim, len(shape) + 1)
    return ((*shape[:k], 1, *shape[k:]),)


@op
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


@op
def fliplr(input: Tensor) -> Tensor:
    """A copy with the second dim reversed."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@op
def flipud(input: Tensor) -> Tensor:
    """A copy with the first dim reversed."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@op
def rot90(input: Tensor, k: int = 1, dims: Shape = (0, 1)) -> Tensor:
    """A copy turned by `k` quarters in the plane of two dims, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (wrap_dim(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    quarter = k % 4
    if quarter == 1:
        return transpose(flip(input, b), a, b)
    if quarter == 2:
        return flip(input, (a, b))
    if quarter == 3:
        return transpose(flip(input, a), a, b)
    return clone(input)


def sliced(input: Tensor, starts: Shape, stops: Shape, steps: Shape) -> Tensor:
    """A view of a box: `start:stop:step` along every dim, all in range, steps positive."""
    return call_view(p.slice, input, (starts, stops, steps))


def padded(input: Tensor, widths: tuple[tuple[int, int], ...], value: float = 0) -> Tensor:
    """`value` put around: (before, after) along every dim, not negative."""
    return call2(p.pad, input, value, (widths,))


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
