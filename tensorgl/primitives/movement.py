"""Movement primitives: views (index arithmetic on the same memory), padding, joining, overlap-add.

Parameters arrive normalised: dims are not negative and in tuples, sizes are resolved.
"""

from __future__ import annotations

from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, broadcast_shapes, primitive, promote, shape_text

__all__ = [
    "as_strided",
    "cat",
    "diagonal",
    "expand",
    "flip",
    "narrow",
    "narrow_backward",
    "pad",
    "permute",
    "reshape",
    "slice",
    "unfold",
    "unfold_backward",
]


Avals = tuple[Aval, ...]


def _reshape(avals: Avals, shape: Shape) -> Result:
    return Result(shape, avals[0].dtype)


def _permute(avals: Avals, dims: Shape) -> Result:
    return Result(tuple(avals[0].shape[d] for d in dims), avals[0].dtype)


def _expand(avals: Avals, shape: Shape) -> Result:
    if broadcast_shapes(avals[0].shape, shape) != shape:
        raise RuntimeError(f"expand: cannot expand {shape_text(avals[0].shape)} to {shape}")
    return Result(shape, avals[0].dtype)


def _slice(avals: Avals, starts: Shape, stops: Shape, steps: Shape) -> Result:
    spans = zip(starts, stops, steps, strict=True)
    return Result(tuple(len(range(*span)) for span in spans), avals[0].dtype)


def _narrow(avals: Avals, dim: int, length: int, drop: bool) -> Result:
    """`length` places along `dim` from the number `start`; `drop` leaves a dim of length 1 out.

    Where it starts is an operand, so that a loop over rows or batches needs one kernel.
    """
    shape = avals[0].shape
    kept = () if drop else (length,)
    return Result((*shape[:dim], *kept, *shape[dim + 1 :]), avals[0].dtype)


def _narrow_backward(avals: Avals, dim: int, size: int, drop: bool) -> Result:
    """Adjoint of narrow: zeros, of `size` along `dim`, with the input written from `start` on."""
    shape = avals[0].shape
    return Result((*shape[:dim], size, *shape[dim + (not drop) :]), avals[0].dtype)


def _diagonal(avals: Avals, offset: int, dim1: int, dim2: int) -> Result:
    """The elements [i, i + offset] of two dims, as the last dim."""
    shape = avals[0].shape
    length = max(0, min(shape[dim1] + min(offset, 0), shape[dim2] - max(offset, 0)))
    rest = (n for k, n in enumerate(shape) if k not in (dim1, dim2))
    return Result((*rest, length), avals[0].dtype)


def _flip(avals: Avals, dims: Shape) -> Result:
    return Result(avals[0].shape, avals[0].dtype)


def _as_strided(avals: Avals, size: Shape, stride: Shape, offset: int) -> Result:
    """Of a 1-d input: element [i, j, …] is input[offset + i * stride[0] + j * stride[1] + …]."""
    return Result(size, avals[0].dtype)


def _unfold(avals: Avals, dim: int, size: int, step: int) -> Result:
    shape = list(avals[0].shape)
    shape[dim] = (shape[dim] - size) // step + 1
    return Result((*shape, size), avals[0].dtype)


def _unfold_backward(avals: Avals, dim: int, length: int, step: int) -> Result:
    """Adjoint of unfold: adds the windows (last dim) up along `dim`, whose size is `length`."""
    shape = list(avals[0].shape[:-1])
    shape[dim] = length
    return Result(tuple(shape), avals[0].dtype)


def _pad(avals: Avals, widths: tuple[tuple[int, int], ...]) -> Result:
    """`widths`: (before, after) of each dim, not negative; `value` is a number."""
    shape = tuple(n + lo + hi for n, (lo, hi) in zip(avals[0].shape, widths, strict=True))
    return Result(shape, avals[0].dtype)


def _cat(avals: Avals, dim: int, sizes: Shape) -> Result:
    """`sizes`: how long each input is along `dim`."""
    first = avals[0].shape
    for k, a in enumerate(avals):
        if a.ndim != len(first):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(first)} and {a.ndim}"
            )
        for d, (n, m) in enumerate(zip(first, a.shape, strict=True)):
            if n != m and d != dim:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {n} but "
                    f"got size {m} for tensor number {k} in the list."
                )
    d = promote(avals)
    return Result((*first[:dim], sum(sizes), *first[dim + 1 :]), d, d)


reshape = primitive("reshape", "input", "shape", _reshape, "view")
permute = primitive("permute", "input", "dims", _permute, "view")
expand = primitive("expand", "input", "shape", _expand, "view")
slice = primitive("slice", "input", "starts stops steps", _slice, "view")
narrow = primitive("narrow", "input start", "dim length drop", _narrow, "view")
narrow_backward = primitive(
    "narrow_backward", "input start", "dim size drop", _narrow_backward, "other"
)
diagonal = primitive("diagonal", "input", "offset dim1 dim2", _diagonal, "view")
as_strided = primitive("as_strided", "input", "size stride offset", _as_strided, "view")
unfold = primitive("unfold", "input", "dim size step", _unfold, "view")
unfold_backward = primitive(
    "unfold_backward", "input", "dim length step", _unfold_backward, "other"
)
flip = primitive("flip", "input", "dims", _flip, "other")
pad = primitive("pad", "input value", "widths", _pad, "other")
cat = primitive("cat", "inputs", "dim sizes", _cat, "other")
