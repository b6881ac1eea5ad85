"""New tensors: from values, from numpy, filled, and ranges."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from tensorgl import dispatch, dtypes
from tensorgl import primitives as p
from tensorgl.avals import device as device_type
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.movement import as_shape
from tensorgl.tensor import Tensor

__all__ = ["arange", "from_numpy", "full", "ones", "tensor", "zeros"]

Place = str | device_type | None


def _device(place: Place) -> device_type:
    return device_type("cpu" if place is None else place)


def from_numpy(array: Any) -> Tensor:
    """A tensor on cpu that shares the array's memory.

    Raises:
        TypeError: it is no array, or tensorgl has no such dtype.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    kind = dtypes.BY_NAME.get(array.dtype.name)
    if kind is None:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype}. The only supported types are: "
            f"{', '.join(dtypes.BY_NAME)}."
        )
    return dispatch.from_host(array, kind, device_type("cpu"))


def tensor(
    data: Any,
    *,
    dtype: dtype_type | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """A new leaf with a copy of `data`: numbers, nested sequences, arrays or tensors.

    Args:
        dtype: default: the array's own; for Python numbers bool, int64 or the default float.
    """
    if isinstance(data, Tensor):
        array, kind = dispatch.to_host(data), data.dtype
    else:
        array = np.asarray(data)
        kind = dtypes.BY_NAME.get(array.dtype.name)
        if not isinstance(data, np.ndarray | np.generic) and array.dtype == np.float64:
            kind = dtypes.get_default_dtype()
        if kind is None:
            raise TypeError(
                f"tensor: could not infer a dtype of {type(data).__name__} {array.dtype}"
            )
    kind = dtype or kind
    out = dispatch.from_host(np.array(array, dtype=kind.name, order="C"), kind, _device(device))
    return out.requires_grad_() if requires_grad else out


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: dtype_type | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of shape `size` in which every element is `fill_value`."""
    if dtype is None:
        dtype = {bool: dtypes.bool, int: dtypes.int64}.get(
            type(fill_value), dtypes.get_default_dtype()
        )
    out = dispatch.source(p.full, (fill_value,), (as_shape((size,)), dtype), _device(device))
    return out.requires_grad_() if requires_grad else out


def zeros(
    *size: Any,
    dtype: dtype_type | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of zeros of shape `size`."""
    return full(
        as_shape(size),
        0,
        dtype=dtype or dtypes.get_default_dtype(),
        device=device,
        requires_grad=requires_grad,
    )


def ones(
    *size: Any,
    dtype: dtype_type | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones of shape `size`."""
    return full(
        as_shape(size),
        1,
        dtype=dtype or dtypes.get_default_dtype(),
        device=device,
        requires_grad=requires_grad,
    )


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: dtype_type | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`start`, `start + step`, … below `end`; `arange(n)` counts from 0."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None:
        floats = any(isinstance(x, float) for x in (start, end, step))
        dtype = dtypes.get_default_dtype() if floats else dtypes.int64
    size = ceil((end - start) / step)
    out = dispatch.source(p.arange, (start, step), (size, dtype), _device(device))
    return out.requires_grad_() if requires_grad else out


def new_full(self: Tensor, size: Any, fill_value: Any, **kwargs: Any) -> Tensor:
    """`full` with this tensor's dtype and device unless told otherwise."""
    return full(size, fill_value, **{"dtype": self.dtype, "device": self.device} | kwargs)


def new_zeros(self: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    """`zeros` with this tensor's dtype and device unless told otherwise."""
    return new_full(self, as_shape(size), 0, **kwargs)


def new_ones(self: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    """`ones` with this tensor's dtype and device unless told otherwise."""
    return new_full(self, as_shape(size), 1, **kwargs)


# tensor.py is below this module, so the creating methods are given to the class here.
for _method in (new_full, new_zeros, new_ones):
    setattr(Tensor, _method.__name__, _method)
