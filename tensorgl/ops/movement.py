"""Shapes and views: the same elements in another arrangement. Views share memory as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.backends import backend_of
from tensorgl.dispatch import call1, call2, call_view, defvjp, op

__all__ = [
    "clone",
    "contiguous",
    "expand",
    "flip",
    "permute",
    "reshape",
    "squeeze",
    "swapaxes",
    "t",
    "transpose",
    "unsqueeze",
    "view",
    "wrap_dim",
    "wrap_dims",
]

Tensor = Any
Shape = tuple[int, ...]


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
    if len(shape) == 1 and not isinstance(shape[0], int) and hasattr(shape[0], "__len__"):
        shape = tuple(shape[0])
    return tuple(n if type(n) is int else n.__index__() for n in shape)


def _resolved(shape: Shape, size: int) -> Shape:
    """`shape` with its -1 worked out."""
    if -1 in shape:
        known = prod(n for n in shape if n != -1)
        if shape.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
        if known == 0 or size % known:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
        return tuple(size // known if n == -1 else n for n in shape)
    if prod(shape) != size or min(shape, default=0) < 0:
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


def is_contiguous(input: Tensor) -> bool:
    """Whether the elements lie in memory in row-major order without gaps."""
    step = 1
    for n, s in zip(reversed(input._aval.shape), reversed(strides_of(input)), strict=True):
        if n != 1:
            if s != step:
                return input._aval.size == 0
            step *= n
    return True


@op
def clone(input: Tensor) -> Tensor:
    """A copy with memory of its own; the gradient goes back to `input`."""
    return call1(p.copy, input)


defvjp(p.copy, input=lambda g: g)


@op
def contiguous(input: Tensor) -> Tensor:
    """`input` itself if its memory is in row-major order, else a copy that is."""
    return input if is_contiguous(input) else clone(input)


@op
def view(input: Tensor, *shape: int | Shape) -> Tensor:
    """The same memory in another shape; one size may be -1.

    Raises:
        RuntimeError: the memory is not in an order that allows it, or the sizes do not fit.
    """
    new = _resolved(as_shape(shape), input._aval.size)
    if not is_viewable(input._aval.shape, strides_of(input), new):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return call_view(p.reshape, input, (new,))


@op
def reshape(input: Tensor, *shape: int | Shape) -> Tensor:
    """The same elements in another shape: a view where the memory allows it, else a copy."""
    new = _resolved(as_shape(shape), input._aval.size)
    if not is_contiguous(input) and not is_viewable(input._aval.shape, strides_of(input), new):
        input = clone(input)
    return call_view(p.reshape, input, (new,))


defvjp(p.reshape, input=lambda g, shape: reshape(g, shape))


@op
def permute(input: Tensor, *dims: int | Shape) -> Tensor:
    """A view with the dims in this order."""
    order = as_shape(dims)
    if len(order) != input.ndim:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length "
            f"of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to "
            f"len(dims) = {len(order)}".replace("permute(sparse_coo)", "permute")
        )
    wrapped = tuple(wrap_dim(d, input.ndim) for d in order)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"permute: repeated dim in {order}")
    return call_view(p.permute, input, (wrapped,))


defvjp(p.permute, input=lambda g, dims: permute(g, _inverse(dims)))


def _inverse(dims: Shape) -> Shape:
    return tuple(dims.index(k) for k in range(len(dims)))


@op
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dims swapped."""
    n = input.ndim
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    order = list(range(n))
    if n:
        order[a], order[b] = order[b], order[a]
    return call_view(p.permute, input, (tuple(order),))


swapaxes = transpose


@op
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or scalar as it is."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, 1) if input.ndim == 2 else input


@op
def expand(input: Tensor, *sizes: int | Shape) -> Tensor:
    """A view that repeats dims of size 1 without memory; -1 keeps a size."""
    new, old = as_shape(sizes), tuple(input._aval.shape)
    lead = len(new) - len(old)
    if lead < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(new)}) must be greater or equal to the number "
            f"of dimensions in the tensor ({len(old)})"
        )
    resolved = tuple(old[k - lead] if n == -1 and k >= lead else n for k, n in enumerate(new))
    for k, n in enumerate(old):
        if n not in (1, resolved[k + lead]):
            raise RuntimeError(
                f"The expanded size of the tensor ({resolved[k + lead]}) must match the existing size "
                f"({n}) at non-singleton dimension {k + lead}.  Target sizes: {list(resolved)}.  "
                f"Tensor sizes: {list(old)}"
            )
    return call_view(p.expand, input, (resolved,))


defvjp(p.expand, input=lambda g: g)  # the engine sums what was broadcast


@op
def squeeze(input: Tensor, dim: int | Shape | None = None) -> Tensor:
    """A view without dims of size 1: all of them, or those in `dim`."""
    drop = wrap_dims(dim, input.ndim) if dim is not None else tuple(range(input.ndim))
    shape = tuple(n for k, n in enumerate(input._aval.shape) if n != 1 or k not in drop)
    return call_view(p.reshape, input, (shape,))


@op
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dim of size 1 put in at `dim`."""
    k = wrap_dim(dim, input.ndim + 1)
    shape = tuple(input._aval.shape)
    return call_view(p.reshape, input, ((*shape[:k], 1, *shape[k:]),))


def sliced(input: Tensor, starts: Shape, stops: Shape, steps: Shape) -> Tensor:
    """A view of a box: `start:stop:step` along every dim, all in range, steps positive."""
    return call_view(p.slice, input, (starts, stops, steps))


def _slice_backward(g: Tensor, shape: Shape, starts: Shape, steps: Shape) -> Tensor:
    """Zeros of `shape` with `g` in the box."""
    for dim, step in enumerate(steps):  # put step - 1 zeros behind each element
        if step > 1 and g.shape[dim] > 0:
            sizes = tuple(g.shape)
            g = g.unsqueeze(dim + 1)
            g = call2(
                p.pad, g, 0, (tuple((0, (step - 1) * (k == dim + 1)) for k in range(g.ndim)),)
            )
            g = g.reshape(*sizes[:dim], sizes[dim] * step, *sizes[dim + 1 :])
            keep = min(g.shape[dim], shape[dim] - starts[dim])
            g = sliced(
                g,
                (0,) * g.ndim,
                tuple(keep if k == dim else n for k, n in enumerate(g.shape)),
                (1,) * g.ndim,
            )
    widths = tuple((a, n - a - m) for a, n, m in zip(starts, shape, g.shape, strict=True))
    return call2(p.pad, g, 0, (widths,))


defvjp(
    p.slice,
    input=lambda g, shape, starts, steps: _slice_backward(g, tuple(shape), starts, steps),
)


def _unpad(g: Tensor, widths: tuple[tuple[int, int], ...]) -> Tensor:
    stops = tuple(n - hi for n, (_, hi) in zip(g.shape, widths, strict=True))
    return sliced(g, tuple(lo for lo, _ in widths), stops, (1,) * g.ndim)


defvjp(p.pad, input=lambda g, widths: _unpad(g, widths))


@op
def flip(input: Tensor, *dims: int | Shape) -> Tensor:
    """A copy with the order along `dims` reversed."""
    return call1(p.flip, input, (wrap_dims(as_shape(dims), input.ndim),))


defvjp(p.flip, input=lambda g, dims: call1(p.flip, g, (dims,)))


def _cat_part(g: Tensor, i: int, dim: int, sizes: Shape) -> Tensor:
    start = sum(sizes[:i])
    stops = tuple(start + sizes[i] if k == dim else n for k, n in enumerate(g.shape))
    return sliced(g, tuple(start if k == dim else 0 for k in range(g.ndim)), stops, (1,) * g.ndim)


defvjp(p.cat, inputs=lambda g, i, dim, sizes: _cat_part(g, i, dim, sizes))
