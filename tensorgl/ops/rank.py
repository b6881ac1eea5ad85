"""What rests on the rank of matrices, in the namespace `linalg`: pinv, lstsq, matrix_rank.

A singular value counts as zero up to a tolerance: `max(atol, rtol * the largest)`, where `rtol` is
eps times the larger side unless it, or a positive `atol`, is given.
"""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes, return_types
from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, differentiable, op, to_host
from tensorgl.ops.arithmetic import abs, maximum
from tensorgl.ops.comparison import gt, where
from tensorgl.ops.decomposition import eigh, eigvalsh, svd, svdvals
from tensorgl.ops.movement import adjoint, squeeze, unsqueeze
from tensorgl.ops.reduction import sum
from tensorgl.ops.solving import is_vector
from tensorgl.primitives.linalg import check_matrices, check_square

__all__ = ["lstsq", "matrix_rank", "pinv"]

Tensor = Any


def _counts(A: Tensor, values: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Which of the magnitudes of singular values or eigenvalues (*, K) are above the tolerance."""
    if rtol is None:
        rtol = max(A.shape[-2:]) * dtypes.finfo(A.dtype).eps
        if isinstance(atol, TensorBase):
            rtol = where(gt(atol, 0), 0.0, rtol)
        elif atol is not None and atol > 0:
            rtol = 0.0
    bound = rtol * call1(p.amax, values, ((values.ndim - 1,), False))
    if atol is not None:
        bound = maximum(bound, atol)
    return values > unsqueeze(bound, -1)


def _check(name: str, A: Tensor, hermitian: bool) -> None:
    (check_square if hermitian else check_matrices)(name, A._aval)


@op("linalg.pinv")
def pinv(
    A: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Tensor:
    """The Moore-Penrose inverse (*, N, M) of matrices (*, M, N).

    Args:
        A: the matrices.
        rcond: an older name of `rtol`.
        hermitian: whether A is symmetric, which is quicker.
        atol: see the module; a number or a tensor with an element a matrix.
        rtol: likewise.
    """
    _check("linalg.pinv", A, hermitian)
    return _pinv(A, atol, rcond if rtol is None else rtol, hermitian)


def _pinv_gradient(g: Tensor, A: Tensor, out: Tensor) -> Tensor:
    """Golub and Pereyra 1973, eq. 4.12, transposed."""
    gt, pt = adjoint(g), adjoint(out)
    first = gt @ out @ pt
    second = pt @ out @ gt
    return first - A @ (out @ first) + second - second @ out @ A - pt @ g @ pt


@differentiable(A=lambda g, A, out: _pinv_gradient(g, A, out))
def _pinv(A: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
    if A.numel() == 0:
        return A.new_zeros((*A.shape[:-2], A.shape[-1], A.shape[-2]))
    if hermitian:
        s, u = eigh(A)
        vh = adjoint(u)
    else:
        u, s, vh = svd(A, full_matrices=False)
    inverse = where(_counts(A, abs(s), atol, rtol), 1 / s, 0)
    return adjoint(vh) * unsqueeze(inverse, -2) @ adjoint(u)


@op("linalg.matrix_rank")
def matrix_rank(
    A: Tensor,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Tensor:
    """How many singular values of each matrix count as more than zero, as int64.

    Args:
        A: (*, M, N).
        tol: an older name of `atol` with an `rtol` of 0.
        hermitian: whether A is symmetric, which is quicker.
        atol: see the module; a number or a tensor with an element a matrix.
        rtol: likewise.
    """
    _check("linalg.matrix_rank", A, hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    A = A.detach()
    if A.numel() == 0:
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    values = abs(eigvalsh(A)) if hermitian else svdvals(A)
    return sum(_counts(A, values, atol, rtol), -1)


_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@op("linalg.lstsq")
def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """The X of least norm among those that minimise the norm of `A @ X - B`.

    The solution is differentiable. All drivers compute it from singular values; they differ in what
    else they return, as in LAPACK.

    Args:
        A: (*, M, N).
        B: (*, M, K), or (*, M) for a vector a matrix.
        rcond: singular values up to `rcond` times the largest count as zero; default as in `pinv`.
        driver: "gelsy" (the default), "gels", "gelsd" or "gelss".

    Returns:
        solution (*, N, K); residuals (*, K), the squared norms, if M > N and all have full rank, but
        not for "gelsy"; rank, but not for "gels"; singular_values, for "gelsd" and "gelss". What a
        driver does not give is empty.
    """
    driver = driver or "gelsy"
    if driver not in _DRIVERS:
        raise RuntimeError(
            f"linalg.lstsq: parameter `driver` should be one of {', '.join(_DRIVERS)}, not {driver}"
        )
    check_matrices("linalg.lstsq", A._aval)
    vector = is_vector(A, B)
    right = unsqueeze(B, -1) if vector else B
    if right.ndim < 2 or A.shape[-2] != right.shape[-2]:
        raise RuntimeError(
            "linalg.lstsq: input.size(-2) should match other.size(-2), given shapes "
            f"{tuple(A.shape)} and {tuple(B.shape)}"
        )
    solution = pinv(A, rcond) @ right
    m, n = A.shape[-2:]
    rank = matrix_rank(A, rtol=rcond)
    residuals = values = A.new_zeros(0)
    if driver != "gelsy" and m > n and (driver == "gels" or bool((to_host(rank) == n).all())):
        residuals = sum((A @ solution - right) ** 2, -2)
    if driver in ("gelsd", "gelss"):
        values = svdvals(A.detach())
    if driver == "gels":
        rank = A.new_zeros(0, dtype=dtypes.int64)
    solution = squeeze(solution, -1) if vector else solution
    return return_types.linalg_lstsq(solution, residuals, rank, values)
