"""Indexing primitives. Indices are int64 or int32; a backend may check their range, ops do not.

`take` and `put_add` are adjoint, as are `gather` and `scatter_add`. With `wrap`, an index counts from
the end where it is negative; without, it may not be negative.
"""

from __future__ import annotations

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, broadcast_shapes, primitive

__all__ = [
    "gather",
    "put",
    "put_add",
    "ravel_index",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take",
]


Avals = tuple[Aval, ...]


def _check_index(name: str, index: Aval) -> None:
    if index.dtype.name not in ("int64", "int32"):
        raise RuntimeError(
            f"{name}(): Expected dtype int32/int64 for index, given {index.dtype.name}"
        )


def _take(avals: Avals, dim: int, wrap: bool) -> Result:
    """Input with `dim` replaced by the dims of the index."""
    x, index = avals
    _check_index("index_select", index)
    return Result((*x.shape[:dim], *index.shape, *x.shape[dim + 1 :]), x.dtype)


def _put(avals: Avals, dim: int, wrap: bool) -> Result:
    """Input with source's slices added to (`put_add`) or written over (`put`) those at index."""
    x, index, source = avals
    _check_index("index_add", index)
    expected = (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
    if tuple(source.shape) != expected:
        raise RuntimeError(
            f"index_add/index_copy: expected a source of shape {expected}, given {tuple(source.shape)}"
        )
    return Result(x.shape, x.dtype, (None, None, x.dtype))


def _ravel_index(avals: Avals, sizes: Shape, dims: Shape) -> Result:
    """One index into dims of these `sizes` laid end to end, from one index of each; they wrap.

    `dims` says for error messages which dims of the user's tensor they are.
    """
    for a in avals:
        _check_index("index", a)
    try:
        shape = broadcast_shapes(*(a.shape for a in avals))
    except RuntimeError:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(str(list(a.shape)) for a in avals)
        ) from None
    return Result(shape, dtypes.int64)


def _gather(avals: Avals, dim: int) -> Result:
    """out[i][j] = input[index[i][j]][j] for dim 0: PyTorch's gather."""
    x, index = avals
    _check_index("gather", index)
    _check_sizes("gather", x, index, dim)
    return Result(index.shape, x.dtype)


def _scatter(avals: Avals, dim: int) -> Result:
    """Input with source[i][j] added to (`scatter_add`) or written at (`scatter`) [index[i][j]][j]."""
    x, index, source = avals
    _check_index("scatter", index)
    _check_sizes("scatter", x, index, dim)
    if index.ndim != source.ndim or any(
        i > s for i, s in zip(index.shape, source.shape, strict=True)
    ):
        raise RuntimeError(
            f"scatter: expected index {tuple(index.shape)} to be no larger than src {tuple(source.shape)}"
        )
    return Result(x.shape, x.dtype, (None, None, x.dtype))


def _scatter_reduce(avals: Avals, dim: int, reduce: str) -> Result:
    """Like `scatter_add`, with "prod", "amax" or "amin" instead of the sum."""
    return _scatter(avals, dim)


def _check_sizes(name: str, x: Aval, index: Aval, dim: int) -> None:
    if x.ndim != index.ndim:
        raise RuntimeError(
            f"{name}: Index tensor must have the same number of dimensions as input tensor: "
            f"{index.ndim} and {x.ndim}"
        )
    for d, (i, n) in enumerate(zip(index.shape, x.shape, strict=True)):
        if d != dim and i > n:
            raise RuntimeError(
                f"{name}: Size does not match at dimension {d}: expected index "
                f"{list(index.shape)} to be no larger than self {list(x.shape)} apart from dimension {dim}"
            )


take = primitive("take", "input index", "dim wrap", _take, "index")
put_add = primitive("put_add", "input index source", "dim wrap", _put, "index")
put = primitive("put", "input index source", "dim wrap", _put, "index")
ravel_index = primitive("ravel_index", "inputs", "sizes dims", _ravel_index, "elementwise")
gather = primitive("gather", "input index", "dim", _gather, "index")
scatter_add = primitive("scatter_add", "input index source", "dim", _scatter, "index")
scatter = primitive("scatter", "input index source", "dim", _scatter, "index")
scatter_reduce = primitive(
    "scatter_reduce", "input index source", "dim reduce", _scatter_reduce, "index"
)
