"""Products and functions of matrices and vectors, in the namespace `linalg`."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, factorial, isfinite, log2
from typing import Any

from tensorgl.dispatch import differentiable, op, to_host
from tensorgl.ops import diagonals
from tensorgl.ops.arithmetic import abs
from tensorgl.ops.diagonals import diag_embed
from tensorgl.ops.joining import cat
from tensorgl.ops.linalg import mm
from tensorgl.ops.movement import adjoint, clone, reshape, unsqueeze, wrap_dim
from tensorgl.ops.rearranging import roll
from tensorgl.ops.reduction import sum
from tensorgl.ops.slicing import narrow
from tensorgl.ops.solving import inv
from tensorgl.primitives.linalg import check_square

__all__ = [
    "cross",
    "diagonal",
    "matrix_exp",
    "matrix_power",
    "multi_dot",
    "vecdot",
]

Tensor = Any


@op("linalg.diagonal")
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of a batch of matrices, as the last dim."""
    return diagonals.diagonal(A, offset, dim1, dim2)


@op("linalg.vecdot")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The dot products of the vectors along `dim`; the other dims broadcast."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            "linalg.vecdot: Expected a floating point or complex tensor as input. "
            f"Got {x.dtype.title}"
        )
    if x.dtype is not y.dtype:
        raise RuntimeError(
            "linalg.vecdot: Expected x and y to have the same dtype, but found x of type "
            f"{x.dtype.title} and y of type {y.dtype.title} instead"
        )
    return sum(x * y, dim)


@op("linalg.cross")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of three elements along `dim`; the other dims broadcast."""
    if input.ndim != other.ndim:
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions, given "
            f"{input.ndim} and {other.ndim}"
        )
    k = wrap_dim(dim, input.ndim)
    if input.shape[k] != 3 or other.shape[k] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. "
            f"Got {input.shape[k]} and {other.shape[k]}"
        )
    return roll(input, -1, k) * roll(other, -2, k) - roll(input, -2, k) * roll(other, -1, k)


@op("linalg.multi_dot")
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of at least two matrices, in the order that takes the fewest multiplications.

    The first may be a vector, which counts as a row, and the last one, which counts as a column.
    """
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    matrices = list(tensors)
    for k in (0, -1):
        if matrices[k].ndim == 1:
            matrices[k] = unsqueeze(matrices[k], k)
    for k, x in enumerate(matrices):
        if x.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {k} must be 2D but got {tensors[k].ndim}D")
    for k in range(len(matrices) - 1):
        if matrices[k].shape[1] != matrices[k + 1].shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {k} and {k + 1} with shapes {list(tensors[k].shape)} and "
                f"{list(tensors[k + 1].shape)} cannot be multiplied"
            )
    out = _chain(matrices, _cuts([x.shape[0] for x in matrices] + [matrices[-1].shape[1]]))
    rows = out.shape[:1] if tensors[0].ndim == 2 else ()
    columns = out.shape[1:] if tensors[-1].ndim == 2 else ()
    return reshape(out, (*rows, *columns))


def _cuts(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to cut each run i .. j of matrices of `sizes[k]` x `sizes[k + 1]` in two.

    Source: Cormen et al., "Introduction to algorithms", matrix-chain multiplication.
    """
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    cuts = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], cuts[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return cuts


def _chain(matrices: list[Tensor], cuts: dict[tuple[int, int], int]) -> Tensor:
    def product(i: int, j: int) -> Tensor:
        if i == j:
            return matrices[i]
        return mm(product(i, cuts[i, j]), product(cuts[i, j] + 1, j))

    return product(0, len(matrices) - 1)


def _identity(A: Tensor) -> Tensor:
    return diag_embed(A.new_ones(A.shape[:-1]))


@op("linalg.matrix_power")
def matrix_power(A: Tensor, n: int) -> Tensor:
    """The product of `n` times A; of its inverse for a negative `n`, and the identity for 0."""
    if not isinstance(n, int):
        raise TypeError(f"linalg.matrix_power(): argument 'n' must be int, not {type(n).__name__}")
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            "linalg.matrix_power: A must be batches of square matrices, given shape "
            f"{tuple(A.shape)}"
        )
    if n < 0:
        A, n = inv(A), -n
    out = None
    while n:
        if n & 1:
            out = A if out is None else out @ A
        n >>= 1
        A = A @ A if n else A
    return _identity(A) if out is None else clone(out) if out is A else out


_TERMS = (
    16  # of the Taylor series: norms up to 1 leave an error of 1 / 17!, less than float64 shows
)


@op("linalg.matrix_exp")
@differentiable(A=lambda g, A: _matrix_exp_gradient(g, A))
def matrix_exp(A: Tensor) -> Tensor:
    """The matrix exponential: the sum of all `A^k / k!`.

    A Taylor series of the matrix scaled down by a power of two, squared up again.
    """
    check_square("linalg.matrix_exp", A._aval)
    if A.numel() == 0:
        return clone(A)
    size = float(to_host(sum(abs(A), -2)).max())
    doublings = max(0, ceil(log2(size))) if size > 0 and isfinite(size) else 0
    out = _series(A * 0.5**doublings)
    for _ in range(doublings):
        out = out @ out
    return out


def _series(A: Tensor) -> Tensor:
    """The sum of `A^k / k!` for k up to `_TERMS`, four powers at a time (Paterson-Stockmeyer)."""
    square = A @ A
    powers = (_identity(A), A, square, square @ A)
    fourth = square @ square
    out = powers[0] / factorial(_TERMS)
    for first in range(_TERMS - 4, -1, -4):
        out = out @ fourth
        for k, power in enumerate(powers):
            out = out + power / factorial(first + k)
    return out


def _matrix_exp_gradient(g: Tensor, A: Tensor) -> Tensor:
    """The upper right block of exp([[A^T, g], [0, A^T]]) (Mathias 1996, theorem 4.5)."""
    n = A.shape[-1]
    at = adjoint(A)
    upper, lower = cat((at, g), -1), cat((at * 0, at), -1)
    blocks = matrix_exp(cat((upper, lower), -2))
    return narrow(narrow(blocks, -2, 0, n), -1, n, n)
