"""Tensors put together and taken apart: cat, stack, split, grids …."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase, Vjp, mode, record
from tensorgl.dispatch import call2, call_view, calln, defvjp, op, source, to_host
from tensorgl.ops.movement import (
    as_shape,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    expand,
    padded,
    reshape,
    unsqueeze,
    wrap_dim,
)
from tensorgl.ops.shapes import numpy_names
from tensorgl.ops.slicing import zeros
from tensorgl.primitives import core

__all__ = [
    "block_diag",
    "cartesian_prod",
    "cat",
    "chunk",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "meshgrid",
    "row_stack",
    "split",
    "split_with_sizes",
    "stack",
    "tensor_split",
    "unbind",
    "vsplit",
    "vstack",
]

Tensor = Any
Tensors = Sequence[Any]
Shape = tuple[int, ...]


def _listed(tensors: Tensors) -> tuple[Any, ...]:
    tensors = tuple(tensors)
    for k, x in enumerate(tensors):
        if not isinstance(x, TensorBase):
            raise TypeError(
                f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}"
            )
    return tensors


@op
@numpy_names
def cat(tensors: Tensors, dim: int = 0) -> Tensor:
    """The tensors one after the other along `dim`; their dtypes promote.

    1-d tensors without elements are left out, whatever the shape of the others.

    Raises:
        TypeError: there is something else among them.
        ValueError: no tensors.
        RuntimeError: a 0-dim one, or sizes that differ in another dim.
    """
    tensors = _listed(tensors)
    if not tensors:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    kept = tensors
    for k, x in enumerate(tensors):
        shape = x._aval.shape
        if not shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {k}) cannot be concatenated")
        if shape == (0,):
            kept = tuple(t for t in tensors if t._aval.shape != (0,)) or tensors
    d = wrap_dim(dim, kept[0]._aval.ndim)
    if any(t._aval.ndim != kept[0]._aval.ndim for t in kept):
        d = 0  # the primitive says which tensor is wrong
    sizes = tuple(t._aval.shape[d] for t in kept)
    out = calln(p.cat, kept, (d, sizes))
    return out if kept is tensors else out.to(core.promote(tuple(t._aval for t in tensors)))


def _cat_part(g: Tensor, i: int, dim: int, sizes: Shape) -> Tensor:
    return call_view(p.narrow, g, (dim, sizes[i], False), sum(sizes[:i]))


defvjp(p.cat, inputs=_cat_part)


@op
@numpy_names
def concat(tensors: Tensors, dim: int = 0) -> Tensor:
    """Another name of `cat`."""
    return cat(tensors, dim)


@op
@numpy_names
def concatenate(tensors: Tensors, dim: int = 0) -> Tensor:
    """Another name of `cat`."""
    return cat(tensors, dim)


@op
@numpy_names
def stack(tensors: Tensors, dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dim, at `dim`."""
    tensors = _listed(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tuple(tensors[0]._aval.shape)
    for k, x in enumerate(tensors):
        if x._aval.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(x._aval.shape)} at entry {k}"
            )
    d = wrap_dim(dim, len(shape) + 1)
    if d == len(shape):
        return cat([unsqueeze(x, d) for x in tensors], d)
    # Along an old dim they lie in the same order as along a new one before it, and cost one op.
    return reshape(cat(tensors, d), (*shape[:d], len(tensors), *shape[d:]))


def _each(function: Any, tensors: Tensors) -> tuple[Any, ...]:
    return tuple(function(x) for x in tensors)


@op
def hstack(tensors: Tensors) -> Tensor:
    """The tensors side by side: along the second dim, or the first of vectors."""
    parts = _each(atleast_1d, tensors)
    if not parts:
        raise RuntimeError("hstack expects a non-empty TensorList")
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@op
def vstack(tensors: Tensors) -> Tensor:
    """The tensors one below the other; a vector is a row."""
    parts = _each(atleast_2d, tensors)
    if not parts:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat(parts, 0)


@op
def row_stack(tensors: Tensors) -> Tensor:
    """Another name of `vstack`."""
    return vstack(tensors)


@op
def dstack(tensors: Tensors) -> Tensor:
    """The tensors along the third dim."""
    return cat(_each(atleast_3d, tensors), 2)


@op
def column_stack(tensors: Tensors) -> Tensor:
    """The tensors side by side; a vector is a column."""
    return cat([reshape(x, (x.numel(), 1)) if x.ndim < 2 else x for x in tensors], 1)


_split = Vjp(
    "split",
    ("input", "dim", "sizes"),
    (),
    {"input": lambda g, shape, dim, sizes: _joined(g, tuple(shape), dim, sizes)},
)
_unbind = Vjp(
    "unbind",
    ("input", "dim"),
    (),
    {"input": lambda g, shape, dim: _stacked(g, tuple(shape), dim)},
)


def _joined(parts: list[Any], shape: Shape, dim: int, sizes: Shape) -> Tensor:
    """The gradients of all parts as one; None, for a part that was not used, is zeros."""
    like = next(g for g in parts if g is not None)
    return cat(
        [
            zeros(like, (*shape[:dim], n, *shape[dim + 1 :])) if g is None else g
            for g, n in zip(parts, sizes, strict=True)
        ],
        dim,
    )


def _stacked(parts: list[Any], shape: Shape, dim: int) -> Tensor:
    like = next(g for g in parts if g is not None)
    none = zeros(like, shape[:dim] + shape[dim + 1 :])
    return stack([none if g is None else g for g in parts], dim)


def _parts(input: Tensor, dim: int, sizes: Shape) -> tuple[Tensor, ...]:
    """Views of these sizes, one after the other along `dim`.

    They are recorded as one node, so that their gradients meet in one `cat` and not in a sum of as
    many padded tensors.
    """
    starts = (0, *accumulate(sizes))
    out = tuple(
        call_view(p.narrow, input, (dim, n, False), a) for n, a in zip(sizes, starts, strict=False)
    )
    if input._requires_grad and mode.grad and out:
        record(_split, (input, dim, sizes), (), out)
    return out


@op
def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views of parts along `dim`: all of one size (the last may be smaller), or of given sizes."""
    if not isinstance(split_size_or_sections, int):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    size = split_size_or_sections
    if tensor.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    k = wrap_dim(dim, tensor.ndim)
    n = tensor._aval.shape[k]
    if size == 0 and n:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        )
    count = max(1, -(-n // size)) if size else 1
    return _parts(tensor, k, (*(size,) * (count - 1), n - size * (count - 1)))


@op
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts of these sizes along `dim`."""
    if input.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    k, sizes = wrap_dim(dim, input.ndim), as_shape((split_sizes,))
    if min(sizes, default=0) < 0:
        raise RuntimeError(
            "split_with_sizes expects split_sizes have only non-negative entries, but got "
            f"split_sizes={list(sizes)}"
        )
    n = input._aval.shape[k]
    if sum(sizes) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {k}), but got split_sizes={list(sizes)}"
        )
    return _parts(input, k, sizes)


@op
@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views along `dim`, of one size but for the last."""
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._aval.shape[wrap_dim(dim, input.ndim)]
    if n == 0:
        return split_with_sizes(input, (0,) * chunks, dim)
    return split(input, -(-n // chunks), dim)


@op
@numpy_names
def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0
) -> tuple[Tensor, ...]:
    """Views along `dim`: as many as said and as even as may be, or cut at given indices."""
    if input.ndim == 0:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    k, where = wrap_dim(dim, input.ndim), indices_or_sections
    n = input._aval.shape[k]
    if isinstance(where, TensorBase):
        where = to_host(where).tolist()
    if isinstance(where, int):
        if where <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {where}")
        return _parts(input, k, tuple(n // where + (j < n % where) for j in range(where)))
    spans = [slice(a, b).indices(n) for a, b in zip((0, *where), (*where, None), strict=True)]
    if all(a <= b for a, b, _ in spans) and sum(b - a for a, b, _ in spans) == n:
        return _parts(input, k, tuple(b - a for a, b, _ in spans))
    return tuple(call_view(p.narrow, input, (k, max(0, b - a), False), a) for a, b, _ in spans)


def _split_along(name: str, least: int, input: Tensor, where: Any, dim: int) -> tuple[Any, ...]:
    if input.ndim < least:
        raise RuntimeError(
            f"{name} requires a tensor with at least {least} dimension"
            f"{'s' * (least > 1)}, but got a tensor with {input.ndim} dimensions!"
        )
    n = input._aval.shape[dim]
    if isinstance(where, int) and (where <= 0 or n % where):
        raise RuntimeError(
            f"{name} attempted to split along dimension {dim}, but the size of the dimension {n} is "
            f"not divisible by the split_size {where}!"
        )
    return tensor_split(input, where, dim)


@op
def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` into even parts along the second dim, or the first of a vector."""
    return _split_along("hsplit", 1, input, indices_or_sections, int(input.ndim > 1))


@op
def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` into even parts along the first dim."""
    return _split_along("vsplit", 2, input, indices_or_sections, 0)


@op
def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` into even parts along the third dim."""
    return _split_along("dsplit", 3, input, indices_or_sections, 2)


@op
@numpy_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all places along `dim`, each without that dim."""
    if input.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    k = wrap_dim(dim, input.ndim)
    out = tuple(call_view(p.narrow, input, (k, 1, True), j) for j in range(input._aval.shape[k]))
    if input._requires_grad and mode.grad and out:
        record(_unbind, (input, k), (), out)
    return out


@op
def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Views of vectors as coordinates on a grid; "xy" swaps the first two dims of the grid."""
    if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    for x in tensors:
        if x.ndim > 1:
            raise RuntimeError(f"meshgrid: Expected 0D or 1D tensor in the tensor list, got {x}")
        if x._aval.dtype is not tensors[0]._aval.dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    n = len(tensors)
    places = list(range(n))
    if indexing == "xy" and n > 1:
        places[:2] = 1, 0
    sizes = {k: x.numel() for k, x in zip(places, tensors, strict=True)}
    grid = tuple(sizes[k] for k in range(n))
    return tuple(
        expand(reshape(x, (-1, *(1,) * (n - 1 - k))), grid)
        for k, x in zip(places, tensors, strict=True)
    )


@op
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All ways to take one element of each vector, a row each."""
    for x in tensors:
        if x.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(x, -1) for x in meshgrid(*tensors)], 1)


@op
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ways to take `r` elements of a vector, in its order, a row each."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return source(p.full, (0,), ((0,), input._aval.dtype), input._aval.device)
    n = input._aval.shape[0]
    along = source(p.arange, (0, 1), (n, dtypes.int64), input._aval.device)
    places = [reshape(along, (n, *(1,) * (r - 1 - k))) for k in range(r)]
    chosen = expand(places[0] >= 0, (n,) * r)
    for a, b in pairwise(places):
        chosen = chosen & (a <= b if with_replacement else a < b)
    return call2(p.take, input, chosen.nonzero(), (0, False))


@op
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one matrix, zeros elsewhere; a vector is a row."""
    if not tensors:
        raise RuntimeError("block_diag: expected at least one tensor")
    for k, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError(
                "block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{k} has {x.ndim} dimensions"
            )
    blocks = _each(atleast_2d, tensors)
    width, left, rows = sum(x._aval.shape[1] for x in blocks), 0, []
    for x in blocks:
        n = x._aval.shape[1]
        rows.append(padded(x, ((0, 0), (left, width - left - n))))
        left += n
    return cat(rows, 0)
