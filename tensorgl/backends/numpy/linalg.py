"""Linear algebra kernels: LAPACK through numpy, which computes in double precision throughout.

numpy says only that some matrix of a batch failed; which one, and why, is worked out afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgl.backends.numpy.kernels import kernel
from tensorgl.errors import LinAlgError


def _first(matrices: Any, fails: Callable[[Any], bool]) -> tuple[str, Any]:
    """The first matrix of a batch that fails, and how an error message names it."""
    batch = matrices.reshape(-1, *matrices.shape[-2:])
    index = next((k for k, matrix in enumerate(batch) if fails(matrix)), 0)
    return f"(Batch element {index}): " if matrices.ndim > 2 else "", batch[index]


def _raising(function: Callable[..., Any], x: Any, *others: Any, **options: Any) -> Any:
    """Call numpy where LAPACK may fail: in WebAssembly too.

    numpy learns of a failure from the processor's flags, which WebAssembly has not. There the NaN that
    it fills the results with tell, unless they are those of `inv` and `solve`, which let NaN pass.
    """
    out = function(x, *others, **options)
    if sys.platform == "emscripten":
        passes = function in (np.linalg.inv, np.linalg.solve)
        operands = (x, *others) if passes else ()
        parts = out if isinstance(out, tuple) else (out,)
        if any(np.isnan(part).any() for part in parts) and all(
            np.isfinite(operand).all() for operand in operands
        ):
            raise np.linalg.LinAlgError
    return out


def _is_singular(matrix: Any) -> bool:
    return bool(np.linalg.slogdet(matrix)[0] == 0)


def _is_indefinite(matrix: Any) -> bool:
    try:
        return bool(np.isnan(np.linalg.cholesky(matrix)).any())
    except np.linalg.LinAlgError:
        return True


def _is_not_finite(matrix: Any) -> bool:
    return not np.isfinite(matrix).all()


def _not_converged(name: str, x: Any) -> LinAlgError:
    where, matrix = _first(x, _is_not_finite)
    reason = (
        "contained non-finite values"
        if _is_not_finite(matrix)
        else "is ill-conditioned or has too many repeated eigenvalues or singular values"
    )
    return LinAlgError(
        f"{name}: {where}The algorithm failed to converge because the input matrix {reason}."
    )


@kernel
def cholesky(x: Any) -> Any:
    try:
        out = np.linalg.cholesky(x)
        if not np.isnan(out[..., -1:, -1:]).any():  # LAPACK may let NaN pass, down to the last row
            return out
    except np.linalg.LinAlgError:
        pass
    where, matrix = _first(x, _is_indefinite)
    order = next(k for k in range(1, len(matrix) + 1) if _is_indefinite(matrix[:k, :k]))
    raise LinAlgError(
        f"linalg.cholesky: {where}The factorization could not be completed because the input is "
        f"not positive-definite (the leading minor of order {order} is not positive-definite)."
    )


@kernel
def inv(x: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return _raising(np.linalg.inv, x)
    except np.linalg.LinAlgError:
        where, matrix = _first(x, _is_singular)
        n = len(matrix)
        dependent = (k for k in range(1, n) if np.linalg.matrix_rank(matrix[:, :k]) < k)
        raise LinAlgError(
            f"linalg.inv: {where}The diagonal element {next(dependent, n)} is zero, the inversion "
            "could not be completed because the input matrix is singular."
        ) from None


@kernel
def solve(a: Any, b: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return _raising(np.linalg.solve, a, b)
    except np.linalg.LinAlgError:
        where, _ = _first(a, _is_singular)
        raise LinAlgError(
            f"linalg.solve: {where}The solver failed because the input matrix is singular."
        ) from None


@kernel
def solve_triangular(a: Any, b: Any, upper: Any, unitriangular: Any) -> Any:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.array(np.broadcast_to(b, (*batch, *b.shape[-2:])), order="C")
    if x.size:
        with np.errstate(all="ignore"):
            _substitute(a, x, upper, unitriangular)
    return x


_LEAF = 32  # the side up to which one general solve is quicker than many small steps


def _substitute(a: Any, x: Any, upper: bool, unit: bool) -> None:
    """Put the solution y of a @ y = x over x, half by half, so that products do the work."""
    n = a.shape[-1]
    if n == 1:
        if not unit:
            x /= a
        return
    if n <= _LEAF:
        triangle = np.triu(a, int(unit)) if upper else np.tril(a, -int(unit))
        try:
            x[...] = _raising(np.linalg.solve, triangle + np.eye(n) if unit else triangle, x)
            return
        except np.linalg.LinAlgError:  # a zero on the diagonal, which divides
            pass
    first, second = slice(0, n // 2), slice(n // 2, n)
    if upper:
        first, second = second, first
    _substitute(a[..., first, first], x[..., first, :], upper, unit)
    x[..., second, :] -= a[..., second, first] @ x[..., first, :]
    _substitute(a[..., second, second], x[..., second, :], upper, unit)


@kernel
def qr(x: Any, complete: Any) -> Any:
    return tuple(np.linalg.qr(x, "complete" if complete else "reduced"))


@kernel
def svd(x: Any, full_matrices: Any) -> Any:
    try:
        return tuple(_raising(np.linalg.svd, x, full_matrices))
    except np.linalg.LinAlgError:
        raise _not_converged("linalg.svd", x) from None


@kernel
def svdvals(x: Any) -> Any:
    try:
        return _raising(np.linalg.svd, x, compute_uv=False)
    except np.linalg.LinAlgError:
        raise _not_converged("linalg.svd", x) from None


@kernel
def eigh(x: Any, upper: Any) -> Any:
    try:
        return tuple(_raising(np.linalg.eigh, x, "U" if upper else "L"))
    except np.linalg.LinAlgError:
        raise _not_converged("linalg.eigh", x) from None


@kernel
def eigvalsh(x: Any, upper: Any) -> Any:
    try:
        return _raising(np.linalg.eigvalsh, x, "U" if upper else "L")
    except np.linalg.LinAlgError:
        raise _not_converged("linalg.eigh", x) from None


@kernel
def slogdet(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return tuple(np.asarray(part) for part in np.linalg.slogdet(x))
