"""Norms and condition numbers, in the namespace `linalg`."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl.dispatch import op
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.dtypes import promote_types
from tensorgl.ops import norm as norms
from tensorgl.ops.arithmetic import abs
from tensorgl.ops.casting import cast
from tensorgl.ops.comparison import where
from tensorgl.ops.decomposition import svdvals
from tensorgl.ops.diagonals import diag_embed
from tensorgl.ops.dims import Dims
from tensorgl.ops.extremum import amax, amin
from tensorgl.ops.movement import movedim, squeeze, unsqueeze, wrap_dim
from tensorgl.ops.reduction import sum
from tensorgl.ops.solving import inv, slogdet
from tensorgl.primitives.linalg import check_matrices, check_square

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]

Tensor = Any


def _check_dtype(name: str, x: Tensor, dtype: dtype_type | None) -> None:
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.title}"
        )
    if dtype is not None and promote_types(x.dtype, dtype) is not dtype:
        raise RuntimeError(
            f"{name}: the dtype of the input ({x.dtype.title}) should be convertible without "
            f"narrowing to the specified dtype ({dtype.title})"
        )


@op("linalg.vector_norm")
def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtype_type | None = None,
) -> Tensor:
    """The norm of order `ord` (any number, inf, -inf) over `dim` (default: all).

    Raises:
        RuntimeError: x is no floating-point tensor, `dtype` is narrower than its dtype, or a dim is
            empty and the order has no identity.
    """
    if isinstance(ord, str):
        raise TypeError(
            f"linalg.vector_norm(): argument 'ord' (position 2) must be Number, not {ord!r}"
        )
    _check_dtype("linalg.vector_norm", x, dtype)
    return norms.vector_norm(x, ord, dim, keepdim, dtype)


@op("linalg.matrix_norm")
def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtype_type | None = None,
) -> Tensor:
    """A norm of matrices, which lie in the two dims `dim`.

    Args:
        A: at least two dims.
        ord: "fro" for the root of the sum of squares, "nuc" for the sum of singular values, 2 or -2
            for the largest or smallest of them, 1 or -1 for the largest or smallest sum of
            magnitudes in a column, inf or -inf in a row.
        dim: where rows and columns are.
        keepdim: whether to keep `dim` with size 1.
        dtype: to cast to first; must not be narrower than A's.
    """
    if A.ndim < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions, given shape "
            f"{tuple(A.shape)}"
        )
    _check_dtype("linalg.matrix_norm", A, dtype)
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    rows, columns = (wrap_dim(d, A.ndim) for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}")
    if ord == "fro":
        return norms.vector_norm(A, 2, (rows, columns), keepdim, dtype)
    A = cast(A, dtype)
    if ord in ("nuc", 2, -2):
        values = svdvals(movedim(A, (rows, columns), (-2, -1)))
        out = sum(values, -1) if ord == "nuc" else _extreme(values, ord, -1)
        for d in sorted((rows, columns)) if keepdim else ():
            out = unsqueeze(out, d)
        return out
    if ord in (1, -1, inf, -inf):
        inner, outer = (rows, columns) if ord in (1, -1) else (columns, rows)
        out = _extreme(sum(abs(A), inner, True), ord, outer, True)
        return out if keepdim else squeeze(out, (rows, columns))
    raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")


def _extreme(x: Tensor, sign: float, dim: int, keepdim: bool = False) -> Tensor:
    """The largest along `dim`, or the smallest if `sign` is negative; 0 if there is none."""
    if x.shape[dim] == 0 and sign > 0:
        return sum(x, dim, keepdim)
    return (amax if sign > 0 else amin)(x, dim, keepdim)


@op("linalg.norm")
def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtype_type | None = None,
) -> Tensor:
    """`vector_norm` or `matrix_norm`, as `ord` and `dim` ask.

    A number `ord` with one dim, or with an A of one dim, is a vector norm; with two it is a matrix
    norm, as is a string. Without `ord` it is the 2-norm over `dim`, or over all of A.
    """
    dims = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if dims is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
                f"Got {A.ndim}D."
            )
        dims = tuple(range(A.ndim))
    if len(dims) not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}"
        )
    if isinstance(ord, str) or len(dims) == 2:
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)


@op("linalg.cond")
def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number for the norm `p`: `norm(A) * norm(inv(A))`, or inf where A is singular.

    Args:
        A: (*, N, N); with `p` None, 2 or -2, also (*, M, N).
        p: None (as 2) or an order of `matrix_norm`; -2 gives the inverse of the number for 2.
    """
    if p not in (None, 2, -2, 1, -1, inf, -inf, "fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if A.numel() == 0:
        return A.new_zeros(A.shape[:-2])
    (check_matrices if p in (None, 2, -2) else check_square)(f"linalg.cond(ord={p})", A._aval)
    if p in (None, 2, -2):
        values = svdvals(A)
        largest, smallest = amax(values, -1), amin(values, -1)
        return smallest / largest if p == -2 else largest / smallest
    singular = slogdet(A.detach()).sign == 0
    matrices = unsqueeze(unsqueeze(singular, -1), -1)
    regular = where(matrices, diag_embed(A.new_ones(A.shape[:-1])), A)
    return where(singular, inf, matrix_norm(A, p) * matrix_norm(inv(regular), p))
