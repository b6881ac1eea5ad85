"""Decompositions of matrices, in the namespace `linalg`: cholesky, qr, svd, eigh; their gradients.

Every function takes batches of float32 or float64 matrices. Signs and bases that a decomposition
leaves open are LAPACK's, and gradients hold for functions that do not depend on them.

Sources of the gradients: Giles 2008, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation"; Seeger et al. 2017, "Auto-differentiating linear algebra".
"""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import primitives as p
from tensorgl import return_types
from tensorgl.dispatch import call1, call2, calln, defvjp, op
from tensorgl.ops.diagonals import diag_embed, tril, triu
from tensorgl.ops.joining import cat
from tensorgl.ops.movement import adjoint, unsqueeze
from tensorgl.ops.slicing import narrow

__all__ = ["cholesky", "eigh", "eigvalsh", "qr", "svd", "svdvals"]

Tensor = Any


@op("linalg.cholesky")
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with a positive diagonal and `A = L @ L.mT`; its transpose if `upper`.

    Only the lower triangle of `A` (the upper one if `upper`) is read.

    Raises:
        LinAlgError: a matrix is not positive definite.
    """
    return adjoint(call1(p.cholesky, adjoint(A))) if upper else call1(p.cholesky, A)


def _cholesky_gradient(g: Tensor, out: Tensor) -> Tensor:
    """L^-T S L^-1 / 2, S being the lower triangle of L^T g, mirrored (Murray 2016, eq. 10)."""
    s = tril(adjoint(out) @ g)
    s = s + adjoint(tril(s, -1))
    half = call2(p.solve_triangular, adjoint(out), s, (True, False))
    return 0.5 * call2(p.solve_triangular, adjoint(out), adjoint(half), (True, False))


defvjp(p.cholesky, input=lambda g, out: _cholesky_gradient(g, out))


@op("linalg.qr")
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """`A = Q @ R` with orthonormal columns in Q and an upper triangular R.

    Args:
        A: (*, M, N).
        mode: "reduced" for Q (*, M, K) and R (*, K, N) with K = min(M, N); "complete" for a square
            Q and R of A's shape; "r" for the reduced R and an empty Q.

    Raises:
        RuntimeError: in backward, if the mode is "complete" and M > N.
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    q, r = calln(p.qr, (A,), (mode == "complete",))
    return return_types.linalg_qr(A.new_zeros(0) if mode == "r" else q, r)


def _qr_gradient(g: Any, input: Tensor, out: Any, complete: bool) -> Tensor:
    (gq, gr), (q, r) = g, out
    m, n = input.shape[-2:]
    if complete and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols; "
            "use mode='reduced'"
        )
    if m >= n:
        return _square_qr_gradient(gq, gr, q, r)
    # A = [A1 A2] with A1 = Q R1 square, and R = [R1 R2] with R2 = Q^T A2.
    if gr is None:
        first, rest = None, input.new_zeros((*input.shape[:-1], n - m))
    else:
        first, rest = narrow(gr, -1, 0, m), q @ narrow(gr, -1, m, n - m)
        through_r2 = narrow(input, -1, m, n - m) @ adjoint(narrow(gr, -1, m, n - m))
        gq = through_r2 if gq is None else gq + through_r2
    return cat((_square_qr_gradient(gq, first, q, narrow(r, -1, 0, m)), rest), -1)


def _square_qr_gradient(gq: Tensor, gr: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """(gq + Q S) R^-T, S being the upper triangle of gr R^T - Q^T gq, mirrored."""
    s = 0 if gr is None else gr @ adjoint(r)
    s = triu(s if gq is None else s - adjoint(q) @ gq)
    left = q @ (s + adjoint(triu(s, 1)))
    left = left if gq is None else left + gq
    return adjoint(call2(p.solve_triangular, r, adjoint(left), (True, False)))


defvjp(
    p.qr,
    input=lambda g, input, out, complete: _qr_gradient(g, input, out, complete),
)


def _gaps(values: Tensor) -> Tensor:
    """[i, j]: value j less value i; infinite for i = j, so that what is divided by it vanishes."""
    return unsqueeze(values, -2) - unsqueeze(values, -1) + diag_embed(values * 0 + inf)


def _skew(x: Tensor) -> Tensor:
    return x - adjoint(x)


@op("linalg.svd")
def svd(A: Tensor, full_matrices: bool = True) -> Any:
    """`A = U @ diag(S) @ Vh` with orthonormal U and Vh, and S descending.

    The gradient is finite only where singular values are distinct; the columns of U and rows of Vh
    that only `full_matrices` has get none.

    Args:
        A: (*, M, N).
        full_matrices: whether U and Vh are square, rather than (*, M, K) and (*, K, N) with
            K = min(M, N).

    Raises:
        LinAlgError: a matrix has values that are not finite.
    """
    return return_types.linalg_svd(*calln(p.svd, (A,), (full_matrices,)))


def _svd_gradient(g: Any, out: Any) -> Tensor:
    (gu, gs, gvh), (u, s, vh) = g, out
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    u, vh = narrow(u, -1, 0, k), narrow(vh, -2, 0, k)
    row, column = unsqueeze(s, -2), unsqueeze(s, -1)
    inner = 0 if gs is None else diag_embed(gs)
    outer = 0
    if gu is not None:
        gu = narrow(gu, -1, 0, k)
        inside = adjoint(u) @ gu
        inner = inner + _skew(inside) / _gaps(s * s) * row
        if m > k:
            outer = outer + ((gu - u @ inside) / row) @ vh
    if gvh is not None:
        gvh = narrow(gvh, -2, 0, k)
        inside = gvh @ adjoint(vh)
        inner = inner - column * _skew(inside) / _gaps(s * s)
        if n > k:
            outer = outer + u @ ((gvh - inside @ vh) / column)
    return u @ inner @ vh + outer


defvjp(p.svd, input=lambda g, out: _svd_gradient(g, out))


@op("linalg.svdvals")
def svdvals(A: Tensor) -> Tensor:
    """The singular values, descending."""
    return call1(p.svdvals, A)


def _svdvals_gradient(g: Tensor, input: Tensor) -> Tensor:
    u, _, vh = calln(p.svd, (input,), (False,))
    return u * unsqueeze(g, -2) @ vh


defvjp(p.svdvals, input=lambda g, input: _svdvals_gradient(g, input))


def _is_upper(triangle: str) -> bool:
    if triangle.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {triangle}")
    return triangle.upper() == "U"


@op("linalg.eigh")
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, and orthonormal eigenvectors, as columns, of symmetric matrices.

    Only the triangle that `UPLO` names (lower or upper) is read; the gradient is symmetric. That of
    the eigenvectors is finite only where eigenvalues are distinct.
    """
    return return_types.linalg_eigh(*calln(p.eigh, (A,), (_is_upper(UPLO),)))


def _symmetric(x: Tensor) -> Tensor:
    return (x + adjoint(x)) / 2


def _eigh_gradient(g: Any, out: Any) -> Tensor:
    (gl, gv), (values, v) = g, out
    inner = 0 if gl is None else diag_embed(gl)
    if gv is not None:
        inner = inner + adjoint(v) @ gv / _gaps(values)
    return v @ _symmetric(inner) @ adjoint(v)


defvjp(p.eigh, input=lambda g, out: _eigh_gradient(g, out))


@op("linalg.eigvalsh")
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending; see `eigh`."""
    return call1(p.eigvalsh, A, (_is_upper(UPLO),))


def _eigvalsh_gradient(g: Tensor, input: Tensor, upper: bool) -> Tensor:
    _, v = calln(p.eigh, (input,), (upper,))
    return _symmetric(v * unsqueeze(g, -2) @ adjoint(v))


defvjp(p.eigvalsh, input=lambda g, input, upper: _eigvalsh_gradient(g, input, upper))
