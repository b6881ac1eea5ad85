"""Decompositions of matrices, and solving with them. Dims before the last two are a batch.

Of a symmetric or triangular input only one triangle counts: the lower one for `cholesky`, the
one that is named for `eigh` and `solve_triangular`.
"""

from __future__ import annotations

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, broadcast_shapes, primitive

__all__ = [
    "cholesky",
    "eigh",
    "eigvalsh",
    "inv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
]


Avals = tuple[Aval, ...]


def check_matrices(name: str, a: Aval, argument: str = "A") -> None:
    """Raise PyTorch's error unless `a` is a batch of float32 or float64 matrices."""
    if a.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, given "
            f"shape {tuple(a.shape)}"
        )
    if not a.dtype.is_floating_point:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {a.dtype.title}"
        )
    if a.dtype is dtypes.float16:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got Half; use .float()")


def check_square(name: str, a: Aval) -> None:
    """Raise PyTorch's error unless `a` is a batch of square float32 or float64 matrices."""
    check_matrices(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are "
            f"{a.shape[-2]} by {a.shape[-1]} matrices"
        )


def _cholesky(avals: Avals) -> Result:
    check_square("linalg.cholesky", avals[0])
    return Result(avals[0].shape, avals[0].dtype)


def _inv(avals: Avals) -> Result:
    check_square("linalg.inv", avals[0])
    return Result(avals[0].shape, avals[0].dtype)


def _solved(name: str, avals: Avals) -> Result:
    """The shape of X in AX = B; the batches of A and B broadcast."""
    a, b = avals
    check_square(name, a)
    check_matrices(name, b, "B")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {a.dtype.title} "
            f"and B of type {b.dtype.title} instead"
        )
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation AX = B "
            f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )
    return Result((*broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b.dtype)


def _solve(avals: Avals) -> Result:
    return _solved("linalg.solve", avals)


def _solve_triangular(avals: Avals, upper: bool, unitriangular: bool) -> Result:
    """Zeros on the diagonal are divided by, and not looked at if `unitriangular`."""
    return _solved("linalg.solve_triangular", avals)


def _qr(avals: Avals, complete: bool) -> Result:
    """Q (*, M, K) and upper triangular R (*, K, N), K = M if complete, else min(M, N)."""
    (a,) = avals
    check_matrices("linalg.qr", a)
    *batch, m, n = a.shape
    k = m if complete else min(m, n)
    return Result([(*batch, m, k), (*batch, k, n)], [a.dtype] * 2)


def _svd(avals: Avals, full_matrices: bool) -> Result:
    """U, S descending, and V transposed: U (*, M, M) and V (*, N, N) if full."""
    (a,) = avals
    check_matrices("linalg.svd", a)
    *batch, m, n = a.shape
    k = min(m, n)
    u, vh = ((m, m), (n, n)) if full_matrices else ((m, k), (k, n))
    return Result([(*batch, *u), (*batch, k), (*batch, *vh)], [a.dtype] * 3)


def _svdvals(avals: Avals) -> Result:
    (a,) = avals
    check_matrices("linalg.svdvals", a)
    return Result((*a.shape[:-2], min(a.shape[-2:])), a.dtype)


def _vector_shape(a: Aval) -> Shape:
    return tuple(a.shape[:-1])


def _eigh(avals: Avals, upper: bool) -> Result:
    """Eigenvalues ascending, and eigenvectors as columns, of a symmetric matrix."""
    (a,) = avals
    check_square("linalg.eigh", a)
    return Result([_vector_shape(a), a.shape], [a.dtype] * 2)


def _eigvalsh(avals: Avals, upper: bool) -> Result:
    check_square("linalg.eigvalsh", avals[0])
    return Result(_vector_shape(avals[0]), avals[0].dtype)


def _slogdet(avals: Avals) -> Result:
    """The determinant's sign (0 if singular), and the logarithm of its magnitude."""
    (a,) = avals
    check_square("linalg.slogdet", a)
    return Result([a.shape[:-2]] * 2, [a.dtype] * 2)


cholesky = primitive("cholesky", "input", "", _cholesky, "linalg")
inv = primitive("inv", "input", "", _inv, "linalg")
solve = primitive("solve", "input other", "", _solve, "linalg")
solve_triangular = primitive(
    "solve_triangular", "input other", "upper unitriangular", _solve_triangular, "linalg"
)
qr = primitive("qr", "input", "complete", _qr, "linalg")
svd = primitive("svd", "input", "full_matrices", _svd, "linalg")
svdvals = primitive("svdvals", "input", "", _svdvals, "linalg")
eigh = primitive("eigh", "input", "upper", _eigh, "linalg")
eigvalsh = primitive("eigvalsh", "input", "upper", _eigvalsh, "linalg")
slogdet = primitive("slogdet", "input", "", _slogdet, "linalg")
