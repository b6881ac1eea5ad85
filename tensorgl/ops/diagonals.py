"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.avals import default_devices
from tensorgl.avals import device as device_type
from tensorgl.dispatch import call_view, calln, defvjp, op, source
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.movement import (
    clone,
    inverse,
    padded,
    permute,
    reshape,
    unsqueeze,
    wrap_dim,
)
from tensorgl.ops.writing import fill_

__all__ = [
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "fill_diagonal_",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
]

Tensor = Any
Shape = tuple[int, ...]


def _two_dims(name: str, dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    a, b = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"{name}: dimensions cannot be identical {dim1}, {dim2}")
    return a, b


@op
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of the elements [i, i + offset] of two dims, as the last dim."""
    a, b = _two_dims("diagonal", dim1, dim2, input.ndim)
    return call_view(p.diagonal, input, (offset, a, b))


def _embedded(g: Tensor, shape: Shape, offset: int, dim1: int, dim2: int) -> Tensor:
    """Zeros of `shape` with the last dim of `g` on a diagonal of two dims: adjoint of `diagonal`."""
    lead, k = tuple(g._aval.shape[:-1]), g._aval.shape[-1]
    none = ((0, 0),) * len(lead)
    # With k zeros behind each element, a row of k elements begins one place further each time.
    g = padded(unsqueeze(g, -1), (*none, (0, 0), (0, k)))
    g = reshape(g, (*lead, k * (k + 1)))
    g = reshape(call_view(p.narrow, g, (len(lead), k * k, False), 0), (*lead, k, k))
    top, left = max(-offset, 0), max(offset, 0)
    rows, columns = (top, shape[dim1] - top - k), (left, shape[dim2] - left - k)
    if k == 0:  # the diagonal may begin outside of the matrix
        rows, columns = (0, shape[dim1]), (0, shape[dim2])
    g = padded(g, (*none, rows, columns))
    rest = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    return permute(g, inverse((*rest, dim1, dim2)))


defvjp(
    p.diagonal,
    input=lambda g, shape, offset, dim1, dim2: _embedded(g, tuple(shape), offset, dim1, dim2),
)


@op
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices, in dims `dim1` and `dim2`, with the last dim on a diagonal and zeros around."""
    n = input.ndim + 1
    a, b = _two_dims("diag_embed", dim1, dim2, n)
    side = input._aval.shape[-1] + abs(offset)
    rest = iter(input._aval.shape[:-1])
    shape = tuple(side if k in (a, b) else next(rest) for k in range(n))
    return _embedded(input, shape, offset, a, b)


@op
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A square matrix with a vector on its diagonal; or the diagonal of a matrix, as a copy."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return clone(_diagonal(input, diagonal))


_diagonal = diagonal  # diag has a parameter of that name


@op
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A square matrix with all elements of the input on its diagonal."""
    return diag_embed(reshape(input, -1), offset)


@op
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of `input` with `src` written on a diagonal of two dims."""
    out = clone(input)
    place = diagonal(out, offset, dim1, dim2)
    if place._aval.shape != src._aval.shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(place.shape)}"
        )
    place.copy_(src)
    return out


def _indices(size: int, place: device_type) -> Tensor:
    return source(p.arange, (0, 1), (size, dtypes.int32), place)


def _lower(rows: int, columns: int, diagonal: int, place: device_type) -> Tensor:
    """True at [i, j] where j - i <= diagonal."""
    return _indices(columns, place) <= unsqueeze(_indices(rows, place), 1) + diagonal


def _triangle(name: str, input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    rows, columns = input._aval.shape[-2:]
    if lower:
        mask = _lower(rows, columns, diagonal, input._aval.device)
        return calln(p.where, (mask, input, False))
    mask = _lower(rows, columns, diagonal - 1, input._aval.device)
    return calln(p.where, (mask, False, input))


@op
def fill_diagonal_(input: Tensor, fill_value: float | Tensor, wrap: bool = False) -> Tensor:
    """Write `fill_value` over the main diagonal, where all indices are equal.

    Args:
        input: a matrix, or more dims of one size.
        fill_value: a number or a 0-dim tensor.
        wrap: in a tall matrix, begin the diagonal again after each block of `columns + 1` rows.

    Raises:
        RuntimeError: there is one dim or none, or more than two of different sizes.
    """
    shape = input.shape
    if len(shape) < 2:
        raise RuntimeError("fill_diagonal_: dimensions must be larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError(
            f"fill_diagonal_: all dimensions of input must be of equal length, given {tuple(shape)}"
        )
    rows, block = shape[0], shape[1] + 1
    for top in range(0, rows, block if wrap and len(shape) == 2 else max(rows, 1)):
        view = input[top:]
        while view.ndim > 1:
            view = diagonal(view)
        fill_(view, fill_value)
    return input


@op
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, zeros above the diagonal `diagonal`."""
    return _triangle("tril", input, diagonal, lower=True)


@op
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, zeros below the diagonal `diagonal`."""
    return _triangle("triu", input, diagonal, lower=False)


@op
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype_type = dtypes.int64,
    device: str | device_type | None = None,
) -> Tensor:
    """The places in the lower triangle of a matrix, row by row: (2, number)."""
    mask = _lower(row, col, offset, device_type(device or default_devices[-1]))
    return mask.nonzero().t().contiguous().to(dtype)


@op
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype_type = dtypes.int64,
    device: str | device_type | None = None,
) -> Tensor:
    """The places in the upper triangle of a matrix, row by row: (2, number)."""
    mask = _lower(row, col, offset - 1, device_type(device or default_devices[-1])).logical_not()
    return mask.nonzero().t().contiguous().to(dtype)
