"""The older names, at the top level and as methods, of what the namespace `linalg` does."""

from __future__ import annotations

from math import nan
from typing import Any

from tensorgl import primitives as p
from tensorgl import return_types
from tensorgl.dispatch import call2, op
from tensorgl.ops import decomposition, matrices, rank, solving
from tensorgl.ops.comparison import where
from tensorgl.ops.diagonals import diag_embed
from tensorgl.ops.movement import adjoint, clone

__all__ = [
    "chain_matmul",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "cross",
    "det",
    "inverse",
    "logdet",
    "matrix_exp",
    "matrix_power",
    "pinverse",
    "qr",
    "slogdet",
    "svd",
]

Tensor = Any


@op
def chain_matmul(*matrices_: Tensor) -> Tensor:
    """The product of matrices; see `linalg.multi_dot`, which also takes vectors."""
    for x in matrices_:
        if x.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {x.ndim}, expected 2 instead.")
    return clone(matrices_[0]) if len(matrices_) == 1 else matrices.multi_dot(matrices_)


@op
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return decomposition.cholesky(input, upper=upper)


@op
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with `A @ X = B` for the A that has the Cholesky factor `L`."""
    lower = adjoint(L) if upper else L
    half = call2(p.solve_triangular, lower, B, (False, False))
    return call2(p.solve_triangular, adjoint(lower), half, (True, False))


@op
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of the matrix that has the Cholesky factor `L`."""
    return cholesky_solve(diag_embed(L.new_ones(L.shape[:-1])), L, upper)


@op
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """`linalg.cross` along `dim`; by default the first dim of size 3."""
    if dim is None:
        if 3 not in input.shape:
            raise RuntimeError("no dimension of size 3 in input")
        dim = input.shape.index(3)
    return matrices.cross(input, other, dim=dim)


@op
def det(input: Tensor) -> Tensor:
    """`linalg.det`."""
    return solving.det(input)


@op
def slogdet(input: Tensor) -> Any:
    """`linalg.slogdet`."""
    return return_types.slogdet(*solving.slogdet(input))


@op
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: -inf where that is 0, NaN where it is negative."""
    sign, logabsdet = solving.slogdet(input)
    return where(sign == -1, nan, logabsdet)


@op
def inverse(input: Tensor) -> Tensor:
    """`linalg.inv`."""
    return solving.inv(input)


@op
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv`, with another default tolerance."""
    return rank.pinv(input, rcond)


@op
def matrix_power(input: Tensor, n: int) -> Tensor:
    """`linalg.matrix_power`."""
    return matrices.matrix_power(input, n)


@op
def matrix_exp(input: Tensor) -> Tensor:
    """`linalg.matrix_exp`."""
    return matrices.matrix_exp(input)


@op
def qr(input: Tensor, some: bool = True) -> Any:
    """`linalg.qr`, reduced if `some`, else complete."""
    return return_types.qr(*decomposition.qr(input, "reduced" if some else "complete"))


@op
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """`linalg.svd`, reduced if `some`, with V instead of its transpose.

    Without `compute_uv`, U and V are square, and zeros.
    """
    if not compute_uv:
        values = decomposition.svdvals(input)
        (*batch, m, n) = input.shape
        return return_types.svd(
            input.new_zeros((*batch, m, m)), values, input.new_zeros((*batch, n, n))
        )
    u, s, vh = decomposition.svd(input, not some)
    return return_types.svd(u, s, adjoint(vh))
