"""Linear equations, inverses and determinants, in the namespace `linalg`."""

from __future__ import annotations

from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl import return_types
from tensorgl.dispatch import call1, call2, calln, defvjp, differentiable, op, to_host
from tensorgl.ops.comparison import where
from tensorgl.ops.diagonals import diag_embed, tril, triu
from tensorgl.ops.math import exp
from tensorgl.ops.movement import adjoint, permute, reshape, squeeze, unsqueeze, wrap_dim
from tensorgl.primitives.linalg import check_square

__all__ = [
    "det",
    "inv",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensorinv",
    "tensorsolve",
]

Tensor = Any


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether B is one vector for each matrix of A, and not a matrix."""
    return B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])


@op("linalg.solve")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with `A @ X = B`, or with `X @ A = B` if not `left`.

    Args:
        A: (*, N, N).
        B: (*, N, K), or (*, K, N) if not `left`, with batches that broadcast; or (*, N), a vector.
        left: on which side A is.

    Raises:
        LinAlgError: a matrix is singular.
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    vector = is_vector(A, B)
    if vector:
        if not left:
            raise RuntimeError("linalg.solve: expected matrices B for left=False, given vectors")
        B = unsqueeze(B, -1)
    X = call2(p.solve, A, B) if left else adjoint(call2(p.solve, adjoint(A), adjoint(B)))
    return squeeze(X, -1) if vector else X


defvjp(
    p.solve,
    input=lambda g, input, out: -(call2(p.solve, adjoint(input), g) @ adjoint(out)),
    other=lambda g, input: call2(p.solve, adjoint(input), g),
)


@op("linalg.solve_triangular")
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """`solve` for an upper or lower triangular A, of which only that triangle is read.

    A zero on the diagonal gives infinities or NaN. If `unitriangular`, the diagonal counts as ones.
    """
    if left:
        return call2(p.solve_triangular, A, B, (upper, unitriangular))
    X = call2(p.solve_triangular, adjoint(A), adjoint(B), (not upper, unitriangular))
    return adjoint(X)


def _triangular_gradient(
    g: Tensor, input: Tensor, out: Tensor, upper: bool, unitriangular: bool
) -> Tensor:
    back = call2(p.solve_triangular, adjoint(input), g, (not upper, unitriangular))
    full = -(back @ adjoint(out))
    return triu(full, int(unitriangular)) if upper else tril(full, -int(unitriangular))


defvjp(
    p.solve_triangular,
    input=_triangular_gradient,
    other=lambda g, input, upper, unitriangular: call2(
        p.solve_triangular, adjoint(input), g, (not upper, unitriangular)
    ),
)


@op("linalg.inv")
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices.

    Raises:
        LinAlgError: a matrix is singular.
    """
    return call1(p.inv, A)


defvjp(p.inv, input=lambda g, out: -(adjoint(out) @ g @ adjoint(out)))


@op("linalg.slogdet")
def slogdet(A: Tensor) -> Any:
    """The sign of the determinant and the logarithm of its magnitude: 0 and -inf where singular."""
    return return_types.linalg_slogdet(*calln(p.slogdet, (A,)))


def _spread(x: Tensor) -> Tensor:
    """With two dims of size 1 behind."""
    return reshape(x, (*x.shape, 1, 1))


defvjp(
    p.slogdet,
    input=lambda g, input: None if g[1] is None else _spread(g[1]) * adjoint(call1(p.inv, input)),
)


@op("linalg.det")
@differentiable(A=lambda g, A, out: _spread(g) * _cofactors(A, out))
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices; its gradient is right for singular ones too."""
    check_square("linalg.det", A._aval)
    sign, logabsdet = calln(p.slogdet, (A,))
    return sign * exp(logabsdet)


def _cofactors(A: Tensor, determinant: Tensor) -> Tensor:
    """The derivative of the determinant: `determinant * inv(A).mT`, or its limit for singular A."""
    singular = determinant == 0
    if not to_host(singular).any():
        return _spread(determinant) * adjoint(call1(p.inv, A))
    singular = _spread(singular)
    regular = where(singular, diag_embed(A.new_ones(A.shape[:-1])), A)
    cofactors = _spread(determinant) * adjoint(call1(p.inv, regular))
    return where(singular, _singular_cofactors(A), cofactors)


def _singular_cofactors(A: Tensor) -> Tensor:
    """det(U) det(Vh) U diag(products of all singular values but one) Vh (Higham 2020)."""
    u, s, vh = calln(p.svd, (A,), (False,))
    others = where(diag_embed(s * 0 + 1) == 1, 1, unsqueeze(s, -2)).prod(-1)
    return _spread(det(u) * det(vh)) * (u * unsqueeze(others, -2)) @ vh


@op("linalg.tensorinv")
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse under `tensordot` over `ind` dims: A's first `ind` dims come last.

    Raises:
        RuntimeError: `ind` is not positive, or the products of the sizes before and after differ.
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    before, after = A.shape[:ind], A.shape[ind:]
    _require_square("tensorinv", after, before)
    return reshape(inv(reshape(A, (prod(before), prod(after)))), (*after, *before))


@op("linalg.tensorsolve")
def tensorsolve(A: Tensor, B: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """The X with `tensordot(A, X, X.ndim) = B`; `dims` of A are moved to the end first."""
    if dims is not None:
        last = [wrap_dim(d, A.ndim) for d in dims]
        A = permute(A, (*(k for k in range(A.ndim) if k not in last), *last))
    shape = A.shape[B.ndim :]
    _require_square("tensorsolve", shape, A.shape[: B.ndim])
    return reshape(solve(reshape(A, (B.numel(), prod(shape))), reshape(B, (B.numel(),))), shape)


def _require_square(name: str, columns: tuple[int, ...], rows: tuple[int, ...]) -> None:
    if prod(columns) != prod(rows):
        raise RuntimeError(
            f"linalg.{name}: expected dims whose sizes have the same product, given {tuple(rows)} "
            f"and {tuple(columns)}: {prod(rows)} != {prod(columns)}"
        )
