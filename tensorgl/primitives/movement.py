"""Movement primitives: views (index arithmetic on the same memory), padding, joining, overlap-add.

Parameters arrive normalised: dims are not negative and in tuples, sizes are resolved.
"""

from __future__ import annotations

from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, broadcast_shapes, primitive, promote, shape_text

__all__ = [
    "as_strided",
    "cat",
    "expand",
    "flip",
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


def _flip(avals: Avals, dims: Shape) -> Result:
    return Result(avals[0].shape, avals[0].dtype)


def _as_strided(avals: Avals, size: Shape, stride: Shape, offset: int) -> Result:
    """In elements of the memory that the input's own first element lies in."""
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
    shapes = [a.shape[:dim] + a.shape[dim + 1 :] for a in avals]
    if any(s != shapes[0] for s in shapes):
        raise RuntimeError(
            f"Sizes of tensors must match except in dimension {dim}. Given "
            f"{shape_text(*(a.shape for a in avals))}"
        )
    d = promote(avals)
    first = avals[0].shape
    return Result((*first[:dim], sum(sizes), *first[dim + 1 :]), d, d)


reshape = primitive("reshape", "input", "shape", _reshape, "view")
permute = primitive("permute", "input", "dims", _permute, "view")
expand = primitive("expand", "input", "shape", _expand, "view")
slice = primitive("slice", "input", "starts stops steps", _slice, "view")
as_strided = primitive("as_strided", "input", "size stride offset", _as_strided, "view")
unfold = primitive("unfold", "input", "dim size step", _unfold, "view")
unfold_backward = primitive(
    "unfold_backward", "input", "dim length step", _unfold_backward, "other"
)
flip = primitive("flip", "input", "dims", _flip, "other")
pad = primitive("pad", "input value", "widths", _pad, "other")
cat = primitive("cat", "inputs", "dim sizes", _cat, "other")
