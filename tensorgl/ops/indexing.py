"""`x[...]` and `x[...] = y`, with everything that PyTorch accepts.

A key is taken in two steps. Its basic parts (ints, slices, None, `...`) make a view. Its advanced
parts (index tensors, lists, masks) are worked out to one index into the dims that they address, laid
end to end, because one index into one dim is what a backend does fast.
"""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call2, call_view, calln, from_host, op, source, to_host
from tensorgl.inplace import inplace
from tensorgl.ops.casting import cast
from tensorgl.ops.movement import expand, inverse, permute, reshape, unsqueeze
from tensorgl.ops.slicing import strided_slice
from tensorgl.ops.writing import as_scalar, copy_

__all__ = ["index_put"]

Tensor = Any
Advanced = list[tuple[int, int, Any]]  # (first dim, number of dims, index or mask)
_INDEX = (dtypes.int64, dtypes.int32)
_ALL = slice(None)
_MASK = (dtypes.bool, dtypes.uint8)


@op("__getitem__")
def getitem(input: Tensor, key: Any) -> Tensor:
    """`input[key]`: a view for ints, slices, None and `...`, a copy for index tensors and masks."""
    view = _plain(input, key)
    if view is not None:
        return view
    if isinstance(key, TensorBase) and key._aval.dtype in _INDEX and key._aval.ndim and input.ndim:
        return call2(p.take, input, key, (0, True))
    view, advanced = _basic(input, key)
    if not advanced:
        return view
    x, index, dim, moved = _one_index(view, advanced)
    out = call2(p.take, x, index, (dim, True))
    return permute(out, _to_front(out.ndim, dim, moved)) if moved else out


@op("__setitem__")
def setitem(input: Tensor, key: Any, value: Any) -> None:
    """`input[key] = value`, with `value` broadcast; where an index comes twice, the last one counts.

    Raises:
        TypeError: `value` is neither a tensor nor a number.
        RuntimeError: its shape does not broadcast, or with index tensors its dtype differs.
    """
    view, advanced = _plain(input, key), []
    if view is None:
        view, advanced = _basic(input, key)
    value = value if isinstance(value, TensorBase) else _scalar(input, value)
    if not advanced:
        copy_(view, _without_leading_ones(value, view.ndim))
    elif len(advanced) == 1 and value.ndim == 0 and advanced[0][2].dtype is dtypes.bool:
        mask = _beside(advanced[0], view)
        inplace(view, calln(p.where, (mask, cast(value, input._aval.dtype), view)))
    else:
        inplace(view, _written(view, advanced, value, p.put))


def _scalar(like: Tensor, value: Any) -> Tensor:
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if not isinstance(value, int | float):
        raise TypeError(
            f"can't assign a {type(value).__name__} to a tensorgl.{like._aval.dtype.title}Tensor"
        )
    if like._aval.dtype is dtypes.float16:  # PyTorch lets it overflow here, and here only
        with np.errstate(over="ignore"):
            value = float(np.float16(value))
    return as_scalar("setitem", like, value)


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    shape = tuple(value._aval.shape)
    if len(shape) <= ndim:
        return value
    ones = 0
    while ones < len(shape) - ndim and shape[ones] == 1:
        ones += 1
    return reshape(value, shape[ones:])


def _at(x: Tensor, dim: int, index: int, place: int) -> Tensor:
    """A view of one place along `dim`; `place` is the dim that the user counts."""
    shape = x._aval.shape
    if not shape:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a Python number"
        )
    n = tuple.__getitem__(shape, dim)
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for dimension {place} with size {n}")
    return call_view(p.narrow, x, (dim, 1, True), index + n if index < 0 else index)


def _span(x: Tensor, dim: int, key: slice) -> Tensor:
    shape = x._aval.shape
    if not shape:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    start, stop, step = key.indices(tuple.__getitem__(shape, dim))
    if step == 1:
        length = stop - start if stop > start else 0
        return call_view(p.narrow, x, (dim, length, False), start)
    if step < 0:
        raise ValueError("step must be greater than zero")
    return strided_slice(x, dim, start, stop, step)


def _plain(input: Tensor, key: Any) -> Tensor | None:
    """The view for an int, a slice or a tuple of them; None for any other key."""
    kind = type(key)
    if kind is int:
        return _at(input, 0, key, 0)
    if kind is slice:
        return _span(input, 0, key)
    if kind is not tuple or len(key) > input._aval.ndim:
        return None
    for k in key:
        if type(k) is not int and type(k) is not slice:
            return None
    view, dim = input, 0
    for place, k in enumerate(key):
        if type(k) is int:
            view = _at(view, dim, k, place)
        else:
            if k != _ALL:
                view = _span(view, dim, k)
            dim += 1
    return None if view is input else view


def _basic(input: Tensor, key: Any) -> tuple[Tensor, Advanced]:
    """A view by the basic parts of the key, and the advanced parts that are left for it."""
    items = [_item(input, k) for k in (key if _is_sequence_of_keys(key) else (key,))]
    rest = input.ndim - sum(_dims_of(k) for k in items)
    if rest < 0:
        raise IndexError(f"too many indices for tensor of dimension {input.ndim}")
    view, dim, place = input, 0, 0
    advanced: Advanced = []
    for item in items:
        if type(item) is int:
            view = _at(view, dim, item, place)
        elif type(item) is slice:
            if item != _ALL:
                view = _span(view, dim, item)
            dim += 1
        elif item is Ellipsis:
            dim += rest
            place += rest
            rest = 0
        elif item is None:
            view = unsqueeze(view, dim)
            dim += 1
        else:
            if item.ndim == 0:  # a mask of no dims is one of a new dim of size 1
                view, item = unsqueeze(view, dim), reshape(item, 1)
                place -= 1
            count = _dims_of(item)
            if item._aval.dtype is dtypes.bool:
                _check_mask(item, input, view, dim, place)
            advanced.append((dim, count, item))
            dim += count
        place += _dims_of(item)
    if view is input and not advanced:
        view = call_view(p.reshape, input, (tuple(input._aval.shape),))
    return view, advanced


def _is_sequence_of_keys(key: Any) -> bool:
    """Whether a key is one for each of several dims: a tuple, or for history's sake some lists."""
    if type(key) is tuple:
        return True
    parts = (tuple, list, range, slice, np.ndarray, TensorBase, type(None), type(Ellipsis))
    if type(key) is not list or len(key) >= 32 or not any(isinstance(k, parts) for k in key):
        return False
    warnings.warn(
        "Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] "
        "instead of x[seq], or x[tensor(seq)] for an index tensor.",
        UserWarning,
        stacklevel=4,
    )
    return True


def _item(input: Tensor, key: Any) -> Any:
    """One part of a key as an int, a slice, None, `...` or an index tensor."""
    if key is None or key is Ellipsis or type(key) in (int, slice):
        return key
    place = input._aval.device
    if isinstance(key, TensorBase):
        index: Any = key
    elif isinstance(key, bool | list | tuple | range | np.ndarray):
        array = np.array(key)  # a copy, since a gradient may need it later
        if array.size == 0 and not isinstance(key, np.ndarray):
            array = array.astype(np.int64)
        kind = dtypes.BY_NAME.get(array.dtype.name)
        if kind is None:
            raise IndexError(f"unsupported type of index: array of {array.dtype}")
        index = from_host(array, kind, place)
    elif hasattr(key, "__index__"):
        return key.__index__()
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
            f"indices (got {type(key).__name__})"
        )
    kind = index._aval.dtype
    if kind.category == dtypes.INT and kind is not dtypes.uint8 and index.ndim == 0 and input.ndim:
        return int(index.item())
    if kind not in (*_INDEX, *_MASK):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if kind is dtypes.uint8:
        warnings.warn(
            "indexing with dtype uint8 is now deprecated, please use a dtype bool instead.",
            UserWarning,
            stacklevel=5,
        )
        index = index != 0
    return index.to(place)


def _dims_of(item: Any) -> int:
    """How many dims of the tensor a part of a key is for."""
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, TensorBase) and item._aval.dtype is dtypes.bool:
        return item._aval.ndim
    return 1


def _check_mask(mask: Tensor, input: Tensor, view: Tensor, dim: int, place: int) -> None:
    for k, n in enumerate(mask._aval.shape):
        if view._aval.shape[dim + k] != n:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape of "
                f"the indexed tensor {list(input.shape)} at index {place + k}"
            )


def _one_index(view: Tensor, advanced: Advanced) -> tuple[Tensor, Tensor, int, int]:
    """The view with the addressed dims as one, its index, that dim, and how many dims are to move.

    Dims that lie between the addressed ones are addressed too, each by a range of its own. PyTorch
    puts the dims of the index first then: so many have to move from that dim to the front.
    """
    shape = tuple(view._aval.shape)
    indices = [_flat_nonzero(i) if i._aval.dtype is dtypes.bool else i for _, _, i in advanced]
    begin = advanced[0][0]
    end = advanced[-1][0] + advanced[-1][1]
    if len(advanced) == 1:
        index, moved = indices[0], 0
    else:
        index, moved = _raveled(view, advanced, indices, range(begin, end))
    if end - begin > 1:
        view = reshape(view, (*shape[:begin], prod(shape[begin:end]), *shape[end:]))
    return view, index, begin, moved


def _raveled(view: Tensor, advanced: Advanced, indices: list[Any], span: range) -> tuple[Any, int]:
    """One index into all dims of the span, and how many of its dims go to the front."""
    shape = view._aval.shape
    found = {d: (n, i) for (d, n, _), i in zip(advanced, indices, strict=True)}
    between = len(span) - sum(n for _, n, _ in advanced)
    parts, sizes, firsts, after = [], [], [], between
    d = span.start
    while d < span.stop:
        count, index = found.get(d, (1, None))
        sizes.append(prod(shape[d : d + count]))
        firsts.append(d)
        if index is None:
            after -= 1
            index = source(p.arange, (0, 1), (sizes[-1], dtypes.int64), view._aval.device)
            parts.append(reshape(index, (-1, *(1,) * after)))
        else:
            parts.append(reshape(index, (*index._aval.shape, *(1,) * between)))
        d += count
    out = calln(p.ravel_index, parts, (tuple(sizes), tuple(firsts)))
    return out, out.ndim - between if between and span.start else 0


def _flat_nonzero(mask: Tensor) -> Tensor:
    """The positions of True in a mask, as if it were flat."""
    return from_host(np.flatnonzero(to_host(mask)), dtypes.int64, mask._aval.device)


def _beside(part: tuple[int, int, Tensor], view: Tensor) -> Tensor:
    """A mask so that it broadcasts to the view whose dims it is for."""
    dim, count, mask = part
    return reshape(mask, (*mask._aval.shape, *(1,) * (view.ndim - dim - count)))


def _written(view: Tensor, advanced: Advanced, value: Tensor, primitive: p.Primitive) -> Tensor:
    """The view with `value` written (`put`) or added (`put_add`) where the index says."""
    a = view._aval
    if value._aval.dtype is not a.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{a.dtype.title} for the destination and {value._aval.dtype.title} for the source."
        )
    x, index, dim, moved = _one_index(view, advanced)
    shape = (*x._aval.shape[:dim], *index._aval.shape, *x._aval.shape[dim + 1 :])
    order = _to_front(len(shape), dim, moved)
    result = tuple(shape[d] for d in order)
    value = _without_leading_ones(value, len(shape))
    try:
        value = expand(value, result)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            f"indexing result of shape {list(result)}"
        ) from None
    if moved:
        value = permute(value, inverse(order))
    return reshape(calln(primitive, (x, index, value), (dim, True)), a.shape)


def _to_front(ndim: int, dim: int, count: int) -> tuple[int, ...]:
    """The order of dims that has `count` of them, from `dim` on, first."""
    return (*range(dim, dim + count), *range(dim), *range(dim + count, ndim))


@op
def index_put(
    input: Tensor, indices: tuple[Tensor | None, ...], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of `input` with `values` written, or with `accumulate` added, at `input[indices]`.

    None among the indices leaves a whole dim, as `:` does.
    """
    key = tuple(slice(None) if i is None else reshape(i, 1) if i.ndim == 0 else i for i in indices)
    view, advanced = _basic(input, key)
    if not advanced:
        raise IndexError("index_put: expected at least one index tensor")
    return _written(view, advanced, values, p.put_add if accumulate else p.put)
