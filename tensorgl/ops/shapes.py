"""Shapes as arguments: numpy's keywords, dims counted from the front, sizes, memory seen anew."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

from tensorgl.autograd.graph import TensorBase
from tensorgl.backends import backend_of

__all__ = [
    "as_shape",
    "is_contiguous",
    "is_viewable",
    "numpy_names",
    "remembered",
    "reshape_plan",
    "resolved",
    "strides_of",
    "wrap_dim",
    "wrap_dims",
]

Tensor = Any
Shape = tuple[int, ...]
remembered = lru_cache(maxsize=1 << 12)
"""For functions of shapes: the same few come all the time."""


def numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let an op take `axis` for `dim` and `keepdims` for `keepdim`, as PyTorch does.

    A call that fails because its first argument is no tensor raises a TypeError that says so.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            if "axis" in kwargs:
                kwargs["dim"] = kwargs.pop("axis")
            if "keepdims" in kwargs:
                kwargs["keepdim"] = kwargs.pop("keepdims")
        try:
            return function(*args, **kwargs)
        except AttributeError:
            if not args or isinstance(args[0], TensorBase):
                raise
        raise TypeError(
            f"{function.__name__}(): argument 'input' (position 1) must be Tensor, not "
            f"{type(args[0]).__name__}"
        )

    return call


def wrap_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front.

    Raises:
        IndexError: it is not in [-ndim, ndim); a 0-dim tensor counts as one of one dim.
    """
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(dim: int | Sequence[int] | None, ndim: int) -> Shape:
    """Dims counted from the front, as a tuple; all of them for None or an empty sequence."""
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        return tuple(range(ndim))
    wrapped = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"dim {dims} appears multiple times in the list of dims")
    return wrapped if ndim else ()


def as_shape(shape: tuple[Any, ...]) -> Shape:
    """`f(2, 3)` and `f((2, 3))` alike, as a tuple of ints."""
    if len(shape) == 1 and type(shape[0]) is not int and hasattr(shape[0], "__len__"):
        shape = tuple(shape[0])
    for n in shape:
        if type(n) is not int:
            return tuple(n.__index__() for n in shape)
    return shape


def resolved(shape: Shape, size: int) -> Shape:
    """`shape` with its -1 worked out."""
    for n in shape:
        if n < -1:
            raise RuntimeError(f"invalid shape dimension {n}")
    if -1 in shape:
        known = prod(n for n in shape if n != -1)
        if shape.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
        if known == 0 and size == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if known == 0 or size % known:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
        return tuple(size // known if n == -1 else n for n in shape)
    if prod(shape) != size:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
    return shape


def is_viewable(shape: Shape, strides: Shape, new: Shape) -> bool:
    """Whether memory of this shape and these strides can be seen in shape `new` without a copy."""
    if prod(shape) == 0:
        return True
    # Merge neighbouring dims that lie one after the other into runs, then split runs into new dims.
    runs: list[int] = []
    run, expected = 1, None
    for n, s in reversed([(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]):
        if expected is not None and s != expected:
            runs.append(run)
            run = 1
        run, expected = run * n, s * n
    runs.append(run)
    sizes = [n for n in reversed(new) if n != 1]
    k = 0
    for run in runs:
        filled = 1
        while filled < run and k < len(sizes):
            filled *= sizes[k]
            k += 1
        if filled != run:
            return False
    return k == len(sizes)


def strides_of(input: Tensor) -> Shape:
    """How many elements apart neighbours along each dim lie in memory."""
    return backend_of(input._aval.device).strides(input._data, input._aval)


@remembered
def _is_row_major(shape: Shape, strides: Shape) -> bool:
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1:
            if s != step:
                return prod(shape) == 0
            step *= n
    return True


def is_contiguous(input: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in memory in row-major order without gaps; see `layouts`."""
    return _is_row_major(input._aval.shape, strides_of(input))


@remembered
def reshape_plan(new: Shape, shape: Shape, strides: Shape) -> tuple[tuple[Shape], bool]:
    """The reshape's params, and whether it needs no copy."""
    whole = resolved(new, prod(shape))
    return (whole,), is_viewable(shape, strides, whole)
