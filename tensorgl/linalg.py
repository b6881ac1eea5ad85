"""PyTorch's namespace `torch.linalg`: norms, decompositions, equations, inverses, determinants."""

from tensorgl.errors import LinAlgError
from tensorgl.ops.decomposition import cholesky, eigh, eigvalsh, qr, svd, svdvals
from tensorgl.ops.linalg import matmul
from tensorgl.ops.matrices import cross, diagonal, matrix_exp, matrix_power, multi_dot, vecdot
from tensorgl.ops.matrix_norm import cond, matrix_norm, norm, vector_norm
from tensorgl.ops.rank import lstsq, matrix_rank, pinv
from tensorgl.ops.solving import (
    det,
    inv,
    slogdet,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vecdot",
    "vector_norm",
]
