"""Copies with the elements in another order, or several times: flipped, turned, rolled, repeated."""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import call_view, from_host, op, to_host
from tensorgl.ops.joining import cat
from tensorgl.ops.movement import clone, expand, flip, reshape, transpose, unsqueeze
from tensorgl.ops.shapes import as_shape, numpy_names, wrap_dim

__all__ = ["fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile"]

Tensor = Any
Shape = tuple[int, ...]


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


@op
def roll(input: Tensor, shifts: int | Shape, dims: int | Shape | None = None) -> Tensor:
    """A copy with the elements moved on along dims (default: as if flat); the last come first."""
    amounts, along = as_shape((shifts,)), () if dims is None else as_shape((dims,))
    if not along:
        if len(amounts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(amounts)}, dims:0")
        return reshape(roll(reshape(input, -1), amounts, 0), input._aval.shape)
    if len(amounts) != len(along):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(amounts)}, dims:{len(along)}"
        )
    out = input
    for amount, dim in zip(amounts, along, strict=True):
        k = wrap_dim(dim, input.ndim)
        if input.ndim == 0:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        n = out._aval.shape[k]
        cut = -amount % n if n else 0
        if cut:
            first = call_view(p.narrow, out, (k, cut, False), 0)
            out = cat((call_view(p.narrow, out, (k, n - cut, False), cut), first), k)
    return clone(input) if out is input else out


@op
def repeat(input: Tensor, *sizes: int | Shape, repeats: Shape | None = None) -> Tensor:
    """The tensor again and again along its dims; more numbers than dims add dims in front."""
    counts = as_shape(sizes if repeats is None else (repeats,))
    shape = tuple(input._aval.shape)
    lead = len(counts) - len(shape)
    if lead < 0:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if min(counts, default=0) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(counts)}")
    shape = (1,) * lead + shape
    apart = expand(
        reshape(input, tuple(m for n in shape for m in (1, n))),
        tuple(m for c, n in zip(counts, shape, strict=True) for m in (c, n)),
    )
    return reshape(clone(apart), tuple(c * n for c, n in zip(counts, shape, strict=True)))


@op
def tile(input: Tensor, *counts: int | Shape, dims: Shape | None = None) -> Tensor:
    """`repeat` that also takes fewer numbers than dims, for the last ones."""
    repeats = as_shape(counts if dims is None else (dims,))
    return repeat(input, (1,) * (input.ndim - len(repeats)) + repeats)


@op
@numpy_names
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Every place along `dim` (default: every element) `repeats` times, one after the other.

    With one argument, the indices that do that: `repeat_interleave(tensor([1, 2]))` is [0, 1, 1].
    """
    if repeats is None:
        return _places(to_host(input), output_size, input)
    x, k = (reshape(input, -1), 0) if dim is None else (input, wrap_dim(dim, input.ndim))
    shape = tuple(x._aval.shape)
    if not isinstance(repeats, int):
        counts = to_host(repeats)
        if counts.size != 1:
            if counts.shape != shape[k : k + 1]:
                raise RuntimeError("repeats must have the same size as input along dim")
            return x.index_select(k, _places(counts, output_size, x))
        repeats = int(counts.item())
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    apart = expand(unsqueeze(x, k + 1), (*shape[: k + 1], repeats, *shape[k + 1 :]))
    return reshape(clone(apart), (*shape[:k], shape[k] * repeats, *shape[k + 1 :]))


def _places(counts: Any, size: int | None, like: Tensor) -> Tensor:
    """Index k counts[k] times, for every k, in order."""
    if counts.ndim != 1 or counts.dtype.kind != "i":
        raise RuntimeError(
            "repeat_interleave: expected repeats to be a 1-d tensor of int64 or int32"
        )
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeats can not be negative")
    places = counts.cumsum().searchsorted(range(counts.sum()), side="right")
    if size is not None and size != places.size:
        raise RuntimeError(
            f"repeat_interleave: output_size is {size}, but repeats sum to {places.size}"
        )
    return from_host(places, dtypes.int64, like._aval.device)
