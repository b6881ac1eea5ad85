"""Products of vectors and matrices. All come down to the one primitive `matmul`, or to `mul`."""

from __future__ import annotations

from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, call2, call_view, defvjp, op
from tensorgl.ops.arithmetic import add, mul
from tensorgl.ops.movement import (
    expand,
    permute,
    reshape,
    transpose,
    unsqueeze,
    wrap_dim,
)
from tensorgl.ops.reduction import sum
from tensorgl.primitives.core import shape_text

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "dot",
    "ger",
    "inner",
    "kron",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
    "vdot",
]

Tensor = Any


def expect_ndim(name: str, ndim: int, *tensors: Tensor) -> None:
    """Raise PyTorch's kind of error unless all are tensors of `ndim` dims."""
    for position, x in enumerate(tensors, 1):
        if not isinstance(x, TensorBase):
            raise TypeError(
                f"{name}(): argument at position {position} must be Tensor, not {type(x).__name__}"
            )
    if any(x._aval.ndim != ndim for x in tensors):
        raise RuntimeError(
            f"{name}: expected {ndim}D tensors, given {shape_text(*(x.shape for x in tensors))}"
        )


@op
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; 1-D operands as vectors, dims before the last two broadcast.

    Raises:
        RuntimeError: an operand is 0-D, or inner sizes or dtypes differ.
    """
    try:
        m, n = input._aval.ndim, other._aval.ndim
    except AttributeError:
        expect_ndim("matmul", 2, input, other)
        raise
    if m >= 2 and n >= 2:
        return call2(p.matmul, input, other)
    if m == 0 or n == 0:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {m}D and {n}D"
        )
    a = unsqueeze(input, 0) if m == 1 else input
    b = unsqueeze(other, 1) if n == 1 else other
    out = call2(p.matmul, a, b)
    # Reshaped by a plain call: nobody else has the product, so the result need not be its view.
    *batch, rows, columns = out.shape
    kept = (*batch, *((rows,) if m > 1 else ()), *((columns,) if n > 1 else ()))
    return call1(p.reshape, out, (kept,))


def _rows(x: Tensor) -> Tensor:
    """The rows of all matrices of a batch, as one matrix."""
    *rows, n = x.shape
    return reshape(x, (prod(rows), n))


def _input_gradient(g: Tensor, other: Tensor, shape: tuple[int, ...]) -> Tensor:
    other = transpose(other, -1, -2)
    if len(shape) == 2 < g.ndim:  # sums over the batch inside one product
        g, other = transpose(_rows(transpose(g, -1, -2)), 0, 1), _rows(other)
    return call2(p.matmul, g, other)


def _other_gradient(g: Tensor, input: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 2 < g.ndim:
        g, input = _rows(g), _rows(input)
    return call2(p.matmul, transpose(input, -1, -2), g)


defvjp(
    p.matmul,
    input=lambda g, other, shape: _input_gradient(g, other, shape),
    other=lambda g, input, shape: _other_gradient(g, input, shape),
)


@op
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices (N, K) and (K, M), without broadcasting."""
    expect_ndim("mm", 2, input, mat2)
    return call2(p.matmul, input, mat2)


@op
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices (B, N, K) and (B, K, M), without broadcasting."""
    expect_ndim("bmm", 3, input, mat2)
    if input.shape[0] != mat2.shape[0]:
        b, _, k = input.shape
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b}, {k}] but got: "
            f"{list(mat2.shape[:2])}."
        )
    return call2(p.matmul, input, mat2)


@op
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (N, K) and a vector (K)."""
    expect_ndim("mv", 2, input)
    expect_ndim("mv", 1, vec)
    return matmul(input, vec)


@op
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors of one size, as a 0-dim tensor."""
    expect_ndim("dot", 1, input, tensor)
    if input.shape != tensor.shape:
        n, m = input.shape[0], tensor.shape[0]
        raise RuntimeError(
            "dot: inconsistent tensor size, expected vectors with the same number of elements, but "
            f"got {n} and {m} elements respectively"
        )
    return matmul(input, tensor)


@op
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot`, which conjugates its first operand where that is complex."""
    return dot(input, other)


@op
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The dot products of all vectors along the last dims of both; `mul` if one is 0-dim."""
    if input.ndim == 0 or other.ndim == 0:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


@op
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of every element of one vector with every element of another."""
    expect_ndim("outer", 1, input, vec2)
    return mul(unsqueeze(input, 1), vec2)


@op
def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """`outer`, by its BLAS name."""
    return outer(input, vec2)


def _combined(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """`beta * input + alpha * product`, of the product's shape; beta 0 drops NaN in input."""
    input = expand(input, product.shape)
    if alpha != 1:
        product = mul(product, alpha)
    if beta == 0:
        return product
    return add(product, input if beta == 1 else mul(input, beta))


def _combined_alike(name: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """`_combined` of one dtype; integers cut the factors down to integers."""
    if input.dtype is not product.dtype:
        raise RuntimeError(
            f"{name}: expected operands of one dtype, given {input.dtype.name} and "
            f"{product.dtype.name}; cast one with .to(dtype)"
        )
    if not product.dtype.is_floating_point:
        beta, alpha = int(beta), int(alpha)
    return _combined(input, product, beta, alpha)


@op
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`; input broadcasts to the product."""
    return _combined_alike("addmm", input, mm(mat1, mat2), beta, alpha)


@op
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * (mat @ vec)`; input broadcasts to the product."""
    return _combined_alike("addmv", input, mv(mat, vec), beta, alpha)


@op
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """`beta * input + alpha * (batch1 @ batch2)`, matrix by matrix; input broadcasts."""
    return _combined_alike("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@op
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """`beta * input + alpha * sum(batch1 @ batch2)`, summed over the batch; input broadcasts."""
    return _combined_alike("addbmm", input, sum(bmm(batch1, batch2), 0), beta, alpha)


@op
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`; input broadcasts, dtypes promote."""
    return _combined(input, outer(vec1, vec2), beta, alpha)


@op
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over `dims`: the result has a's other dims, then b's.

    `dims` is how many of a's last and b's first dims to pair, or a list of a's dims and one of b's
    that pair up in order. A dim of size 1 broadcasts.

    Raises:
        RuntimeError: paired sizes differ, dims repeat, or dtypes differ.
    """
    left, right = _paired_dims(a, b, dims)
    if a.dtype is not b.dtype:
        raise RuntimeError("both inputs should have same dtype")
    for i, j in zip(left, right, strict=True):
        if a.shape[i] != b.shape[j]:
            if a.shape[i] != 1 != b.shape[j]:
                raise RuntimeError(
                    f"contracted dimensions need to match, but first has size {a.shape[i]} in dim "
                    f"{i} and second has size {b.shape[j]} in dim {j}"
                )
            a, b = (sum(a, i, True), b) if b.shape[j] == 1 else (a, sum(b, j, True))
    rows = [k for k in range(a.ndim) if k not in left]
    columns = [k for k in range(b.ndim) if k not in right]
    inner_size = prod(a.shape[k] for k in left)
    row_sizes, column_sizes = [a.shape[k] for k in rows], [b.shape[k] for k in columns]
    x = reshape(permute(a, (*rows, *left)), (prod(row_sizes), inner_size))
    y = reshape(permute(b, (*right, *columns)), (inner_size, prod(column_sizes)))
    return reshape(call2(p.matmul, x, y), (*row_sizes, *column_sizes))


def _paired_dims(a: Tensor, b: Tensor, dims: Any) -> tuple[list[int], list[int]]:
    """The dims of a and those of b that tensordot sums over, counted from the front."""
    if isinstance(dims, TensorBase):
        dims = dims.tolist()  # type: ignore[attr-defined]
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got {dims=}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got {dims=}")
        return list(range(a.ndim - dims, a.ndim)), list(range(dims))
    first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    left = [wrap_dim(d, a.ndim) for d in first]
    right = [wrap_dim(d, b.ndim) for d in second]
    for side in (left, right):
        for d in side:
            if side.count(d) > 1:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return left, right


@op
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: `other` times every element of `input`, laid out in blocks."""
    n = max(input.ndim, other.ndim)
    a = (*(1,) * (n - input.ndim), *input.shape)
    b = (*(1,) * (n - other.ndim), *other.shape)
    blocks = reshape(input, tuple(size for k in a for size in (k, 1)))
    inside = reshape(other, tuple(size for k in b for size in (1, k)))
    return reshape(mul(blocks, inside), tuple(i * j for i, j in zip(a, b, strict=True)))


@op
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    expect_ndim("trace", 2, input)
    return sum(call_view(p.diagonal, input, (0, 0, 1)))
