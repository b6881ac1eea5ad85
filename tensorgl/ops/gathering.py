"""Elements chosen by index tensors or masks: gather, scatter, index_*, masked_*, take …."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call2, calln, defvjp, from_host, op, source, to_host
from tensorgl.dtypes import element
from tensorgl.ops.movement import broadcast_tensors, expand, padded, reshape, wrap_dim
from tensorgl.ops.slicing import zeros
from tensorgl.ops.writing import as_scalar
from tensorgl.primitives import core

__all__ = [
    "argwhere",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "put",
    "scatter",
    "scatter_add",
    "take",
    "take_along_dim",
    "unravel_index",
]

Tensor = Any
Shape = tuple[int, ...]


# An index was in range when it was first used, so the rules need not ask again whether it may wrap.
defvjp(
    p.take,
    input=lambda g, index, shape, dim: calln(
        p.put_add, (zeros(g, tuple(shape)), index, g), (dim, True)
    ),
)
defvjp(
    p.put_add,
    input=lambda g: g,
    source=lambda g, index, dim: call2(p.take, g, index, (dim, True)),
)


def _without(g: Tensor, index: Tensor, dim: int) -> Tensor:
    """`g` with zeros at the index."""
    a = g._aval
    shape = (*a.shape[:dim], *index._aval.shape, *a.shape[dim + 1 :])
    return calln(p.put, (g, index, zeros(g, shape)), (dim, True))


defvjp(
    p.put,
    input=_without,
    source=lambda g, index, dim: call2(p.take, g, index, (dim, True)),
)
defvjp(
    p.gather,
    input=lambda g, index, shape, dim: calln(
        p.scatter_add, (zeros(g, tuple(shape)), index, g), (dim,)
    ),
)


def _gathered(g: Tensor, index: Tensor, shape: Shape, dim: int) -> Tensor:
    """`g` at the index, as the gradient of a source of `shape`, of which only a part may count."""
    part = call2(p.gather, g, index, (dim,))
    room = tuple((0, n - m) for n, m in zip(shape, index._aval.shape, strict=True))
    return padded(part, room) if any(hi for _, hi in room) else part


defvjp(p.scatter_add, input=lambda g: g, source=_gathered)
defvjp(
    p.scatter,
    input=lambda g, index, dim: calln(
        p.scatter, (g, index, zeros(g, tuple(index._aval.shape))), (dim,)
    ),
    source=_gathered,
)


def _one_dim(x: Tensor) -> Tensor:
    """A 0-dim tensor counts as a vector of one element."""
    return x if x._aval.ndim else reshape(x, 1)


def _same_dtype(name: str, input: Tensor, src: Tensor) -> None:
    if input._aval.dtype is not src._aval.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, given "
            f"{input._aval.dtype.name} and {src._aval.dtype.name}"
        )


@op
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on; of the shape of `index`.

    Raises:
        RuntimeError: an index is out of range or negative, or the shapes do not fit.
    """
    k = wrap_dim(dim, input.ndim)
    out = call2(p.gather, _one_dim(input), _one_dim(index), (k,))
    return out if index.ndim else reshape(out, ())


def scattered(
    primitive: p.Primitive, input: Tensor, dim: int, index: Tensor, src: Tensor, *params: Any
) -> Tensor:
    _same_dtype(primitive.name, input, src)
    k = wrap_dim(dim, input.ndim)
    out = calln(primitive, (_one_dim(input), _one_dim(index), _one_dim(src)), (k, *params))
    return out if input.ndim else reshape(out, ())


@op
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """A copy with src[i][j] written at [index[i][j]][j] for dim 0, and so on; the last write counts.

    `src` is a tensor at least as large as `index`, or a number, which may also be given as `value`.
    With `reduce` "add" or "multiply" it is added or multiplied instead.
    """
    what = value if src is None else src
    if not isinstance(what, TensorBase):
        what = expand(as_scalar("scatter", input, what), index._aval.shape)
    if reduce is None:
        return scattered(p.scatter, input, dim, index, what)
    if reduce == "add":
        return scatter_add(input, dim, index, what)
    if reduce == "multiply":
        return scattered(p.scatter_reduce, input, dim, index, what, "prod")
    raise RuntimeError("reduce argument must be either add or multiply.")


@op
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with src[i][j] added at [index[i][j]][j] for dim 0, and so on."""
    return scattered(p.scatter_add, input, dim, index, src)


def as_vector(name: str, index: Tensor) -> Tensor:
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim}")
    return _one_dim(index)


@op
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The places along `dim` that a vector of indices names, as a copy.

    Raises:
        IndexError: an index is negative or out of range.
    """
    k, places = wrap_dim(dim, input.ndim), as_vector("index_select", index)
    if input.ndim == 0:
        return reshape(call2(p.take, reshape(input, 1), places, (0, False)), ())
    return call2(p.take, input, places, (k, False))


def _put_along(
    name: str, primitive: p.Primitive, input: Tensor, dim: int, index: Tensor, src: Tensor
) -> Tensor:
    k, places = wrap_dim(dim, input.ndim), as_vector(name, index)
    _same_dtype(name, input, src)
    if input.ndim == 0:
        return reshape(calln(primitive, (_one_dim(input), places, _one_dim(src)), (0, False)), ())
    if src.ndim == 0:
        src = expand(src, (*input._aval.shape[:k], 1, *input._aval.shape[k + 1 :]))
    return calln(primitive, (input, places, src), (k, False))


@op
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """A copy with the slices of `source` along `dim` added, times `alpha`, at the indices."""
    if alpha != 1:
        kind = source._aval.dtype
        source = (source * (alpha if kind.is_floating_point else int(alpha))).to(kind)
    return _put_along("index_add", p.put_add, input, dim, index, source)


@op
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with the slices of `source` along `dim` written at the indices.

    Raises:
        IndexError: `source` has not as many dims as `input`, or not as many slices as there are indices.
    """
    if input.ndim and source.ndim:
        if input.ndim != source.ndim:
            raise IndexError(
                "index_copy_(): When source and destination are not scalars, their dimensionality must "
                f"match. Source dimensionality ({source.ndim}), destination dimensionality ({input.ndim})"
            )
        if index.numel() != source.shape[dim]:
            raise IndexError(
                f"index_copy_(): Number of indices ({index.numel()}) should be equal to "
                f"source.size(dim) ({source.shape[dim]})"
            )
    return _put_along("index_copy", p.put, input, dim, index, source)


@op
def index_fill(input: Tensor, dim: int, index: Tensor, value: float | Tensor) -> Tensor:
    """A copy with `value`, a number or 0-dim tensor, at the indices along `dim`."""
    a, filler = input._aval, as_scalar("index_fill_", input, value)
    x, places = _one_dim(input), as_vector("index_fill", index)
    k = wrap_dim(dim, input.ndim)
    n = x._aval.shape[k]
    false, true = (source(p.full, (v,), ((), dtypes.bool), a.device) for v in (False, True))
    chosen = calln(
        p.put, (expand(false, (n,)), places, expand(true, places._aval.shape)), (0, True)
    )
    mask = reshape(chosen, (n, *(1,) * (x.ndim - 1 - k)))
    return reshape(calln(p.where, (mask, filler, x)), a.shape)


@op
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at flat positions, which may be negative; of the shape of `index`."""
    out = call2(p.take, reshape(input, -1), _one_dim(index), (0, True))
    return out if index.ndim else reshape(out, ())


@op
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with the elements of `source` written, or added, at flat positions."""
    _same_dtype("put", input, source)
    if index.numel() != source.numel():
        raise RuntimeError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    parts = (reshape(input, -1), reshape(index, -1), reshape(source, -1))
    out = calln(p.put_add if accumulate else p.put, parts, (0, True))
    return reshape(out, input._aval.shape)


@op
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with `indices` and `input` broadcast in the other dims; flat without `dim`.

    With `dim`, negative indices count from the end.
    """
    if dim is None:
        return gather(reshape(input, -1), 0, reshape(indices, -1))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    k = wrap_dim(dim, input.ndim)
    x, i = input._aval.shape, indices._aval.shape
    indices = calln(p.where, (indices < 0, indices + x[k], indices))
    both = core.broadcast_shapes((*x[:k], 1, *x[k + 1 :]), (*i[:k], 1, *i[k + 1 :]))
    return gather(
        expand(input, (*both[:k], x[k], *both[k + 1 :])),
        k,
        expand(indices, (*both[:k], i[k], *both[k + 1 :])),
    )


def _bool_mask(name: str, mask: Tensor) -> None:
    if mask._aval.dtype is not dtypes.bool:
        raise RuntimeError(
            f"{name}: expected BoolTensor for mask, but got {mask._aval.dtype.title}Tensor"
        )


@op
def masked_fill(input: Tensor, mask: Tensor, value: float | Tensor) -> Tensor:
    """`value`, a number or 0-dim tensor, where the bool `mask` is true, else `input`."""
    _bool_mask("masked_fill", mask)
    kind = input._aval.dtype
    if isinstance(value, float | int) and kind.is_floating_point:
        value = element(value, kind)
    else:
        value = as_scalar("masked_fill", input, value)  # which does not promote
    return calln(p.where, (mask, value, input))


def _where_true(mask: Tensor) -> Tensor:
    """The flat positions of True."""
    return from_host(np.flatnonzero(to_host(mask)), dtypes.int64, mask._aval.device)


@op
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the bool `mask` is true, as a vector; the two broadcast."""
    _bool_mask("masked_select", mask)
    x, m = broadcast_tensors(input, mask)
    return call2(p.take, reshape(x, -1), _where_true(m), (0, False))


@op
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the elements of `source`, in order, where the bool `mask` is true."""
    _bool_mask("masked_scatter", mask)
    _same_dtype("masked_scatter", input, source)
    x, m = broadcast_tensors(input, mask)
    places = _where_true(m)
    count = places.numel()
    if count > source.numel():
        raise RuntimeError(
            f"masked_scatter: expected at least {count} elements in source, given {source.numel()}"
        )
    values = reshape(source, -1).narrow(0, 0, count)
    return reshape(calln(p.put, (reshape(x, -1), places, values), (0, False)), x._aval.shape)


@op
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where the elements are not zero: a row of indices each, or with `as_tuple` a vector a dim."""
    host, place = to_host(input), input._aval.device
    if not as_tuple:
        return from_host(np.argwhere(host), dtypes.int64, place)
    found = np.nonzero(np.atleast_1d(host))
    return tuple(from_host(index, dtypes.int64, place) for index in found)


@op
def argwhere(input: Tensor) -> Tensor:
    """Where the elements are not zero, a row of indices each."""
    return nonzero(input)


@op
def unravel_index(indices: Tensor, shape: int | Shape) -> tuple[Tensor, ...]:
    """Flat positions in a tensor of `shape` as one index for each dim."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    out, rest = [], indices
    for n in reversed(sizes):
        out.append(call2(p.remainder, rest, n))
        rest = call2(p.floor_divide, rest, n)
    return tuple(reversed(out))
