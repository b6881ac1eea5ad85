"""Tensors of values that exist already: numbers, sequences, arrays, buffers and what speaks DLPack."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgl import dispatch, dtypes
from tensorgl.avals import NUMBER, default_devices
from tensorgl.avals import device as device_type
from tensorgl.dtypes import as_dtype
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.primitives.core import promote
from tensorgl.tensor import Tensor

__all__ = [
    "as_tensor",
    "asarray",
    "from_dlpack",
    "from_numpy",
    "frombuffer",
    "is_complex",
    "is_floating_point",
    "is_nonzero",
    "is_tensor",
    "numel",
    "result_type",
    "tensor",
]

Place = str | device_type | None
Kind = dtype_type | type | None

_SEQUENCES = (list, tuple, range)
_NUMPY_KINDS = dtypes.BY_NAME | {"bool_": dtypes.bool}


def as_device(place: Place) -> device_type:
    """A device argument; None is the default device."""
    return default_devices[-1] if place is None else device_type(place)


def as_leaf(out: Tensor, requires_grad: bool) -> Tensor:
    """`out`, recorded from here on if asked for."""
    return out.requires_grad_() if requires_grad else out


def _kind_of(array: Any) -> dtype_type:
    """The dtype of a numpy array.

    Raises:
        TypeError: tensorgl has no such dtype.
    """
    kind = dtypes.BY_NAME.get(array.dtype.name)
    if kind is None:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype}. The only supported types are: "
            f"{', '.join(dtypes.BY_NAME)}."
        )
    return kind


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor on cpu that shares the array's memory.

    Raises:
        TypeError: it is no array, or tensorgl has no such dtype.
        ValueError: its strides are negative, or its bytes in the order of another machine.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    kind = _kind_of(ndarray)
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Convert it with "
            "array.astype(array.dtype.newbyteorder('='))."
        )
    if ndarray.strides and min(ndarray.strides) < 0:
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not supported. Make a copy of your array with array.copy()."
        )
    if not ndarray.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, so writing to the tensor will fail. Copy the array "
            "to protect its data, or use tensorgl.tensor.",
            UserWarning,
            stacklevel=2,
        )
    return dispatch.from_host(ndarray, kind, device_type("cpu"))


def tensor(
    data: Any,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new leaf with a copy of `data`: a number, nested sequences, an array or a tensor.

    Args:
        data: sequences may hold numbers, numpy's scalars and arrays, and tensors of one element.
        dtype: default: that of an array, scalar or tensor; else bool, int64 or the default float.
        device: default: that of a tensor, else the cpu.
        requires_grad: record ops on it.
        pin_memory: accepted and ignored, as no backend copies from pages.

    Raises:
        ValueError: sequences of one level differ in length, or an int does not fit into 64 bits.
        TypeError: it holds what is no number.
        RuntimeError: no dtype fits it, or a number does not fit the dtype asked for.
    """
    kind = as_dtype(dtype)
    if isinstance(data, Tensor):
        place = data.device if device is None else as_device(device)
        return as_leaf(data.detach().to(place, kind or data.dtype, copy=True), requires_grad)
    array, own = _array(data)
    kind = kind or own
    if not isinstance(data, np.ndarray | np.generic):
        _check_range(array, kind)
    array = np.array(array, dtype=kind.name, order="C")
    return as_leaf(dispatch.from_host(array, kind, as_device(device)), requires_grad)


def _array(data: Any) -> tuple[Any, dtype_type]:
    """`data` as a numpy array of whatever dtype, and the dtype that PyTorch gives it."""
    if isinstance(data, np.ndarray | np.generic):
        return np.asarray(data), _kind_of(data)
    if isinstance(data, str | bytes):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if isinstance(data, Sequence):
        data = data if isinstance(data, _SEQUENCES) else list(data)
        leaves = _leaf_types(data)
        if any(issubclass(t, Tensor) for t in leaves):
            data = _without_tensors(data)
            leaves = _leaf_types(data)
        return _numbers(data, leaves)
    if isinstance(data, bool | int | float):
        return _numbers(data, {type(data)})
    array = np.asarray(data)  # __array__ or a buffer
    if array.dtype == object:
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    return array, _kind_of(array)


def _leaf_types(data: Sequence[Any]) -> set[type]:
    """The types of what nested sequences hold."""
    types = set(map(type, data))
    if any(issubclass(t, _SEQUENCES) for t in types):
        for inner in data:
            if isinstance(inner, _SEQUENCES):
                types |= _leaf_types(inner)
    return {t for t in types if not issubclass(t, _SEQUENCES)}


def _without_tensors(data: Any) -> Any:
    """Nested sequences with numpy's scalars in the place of tensors."""
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return dispatch.to_host(data.detach()).reshape(-1)[0]
    return [_without_tensors(x) for x in data] if isinstance(data, _SEQUENCES) else data


def _numbers(data: Any, leaves: set[type]) -> tuple[Any, dtype_type]:
    """Numbers in nested sequences as an array, and the dtype that their types promote to."""
    try:
        array = np.asarray(data)
    except ValueError:
        _check_even([data])
        raise
    if any(issubclass(t, np.ndarray) for t in leaves):
        return array, _kind_of(array)
    kinds = [_kind_of_type(t) for t in leaves]
    return array, functools.reduce(dtypes.promote_types, kinds or [dtypes.get_default_dtype()])


def _kind_of_type(t: type) -> dtype_type:
    """The dtype of a type of number."""
    if issubclass(t, np.generic) and t.__name__ in _NUMPY_KINDS:
        return _NUMPY_KINDS[t.__name__]
    if issubclass(t, bool):
        return dtypes.bool
    if issubclass(t, int):
        return dtypes.int64
    if issubclass(t, float):
        return dtypes.get_default_dtype()
    if issubclass(t, str):
        raise ValueError("too many dimensions 'str'")
    raise RuntimeError(f"Could not infer dtype of {t.__name__}")


def _check_even(level: list[Any], dim: int = 0) -> None:
    """Raise PyTorch's error at the first dim at which sequences differ in length, or in being some."""
    sequences = [x for x in level if isinstance(x, Sequence | np.ndarray)]
    if not sequences:
        return
    if len(sequences) < len(level):
        raise TypeError(
            f"expected only sequences or only numbers at dim {dim}, given both; a tensor has one shape"
        )
    for x in sequences:
        if len(x) != len(sequences[0]):
            raise ValueError(
                f"expected sequence of length {len(sequences[0])} at dim {dim} (got {len(x)})"
            )
    _check_even([y for x in sequences for y in x], dim + 1)


def _check_range(array: Any, kind: dtype_type) -> None:
    """Refuse Python numbers that an integer dtype cannot hold; negative ones wrap in uint8."""
    if kind.category != dtypes.INT or array.size == 0:
        return
    if array.dtype == object or array.dtype == np.uint64:
        raise ValueError("Overflow when unpacking long: a Python int does not fit into 64 bits")
    limits = dtypes.iinfo(kind)
    lowest = limits.min if kind.is_signed else -limits.max
    if not (lowest <= array.min() and array.max() <= limits.max):
        raise RuntimeError(
            f"value cannot be converted to type {kind.name} without overflow: the values are from "
            f"{array.min()} to {array.max()}"
        )


def as_tensor(data: Any, dtype: Kind = None, device: Place = None) -> Tensor:
    """`data` as a tensor, sharing its memory and history where dtype and device allow it."""
    if isinstance(data, np.ndarray):
        data = from_numpy(data)
    elif not isinstance(data, Tensor):
        return tensor(data, dtype=dtype, device=device)
    return data.to(data.device if device is None else device, as_dtype(dtype, data.dtype))


def asarray(
    obj: Any,
    *,
    dtype: Kind = None,
    device: Place = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`obj` as a tensor.

    Args:
        obj: a tensor, an array, what speaks DLPack, or what `tensor` takes.
        dtype: default: its own.
        device: default: its own.
        copy: None copies only where it must, False raises instead, True always copies.
        requires_grad: record ops on it.

    Raises:
        ValueError: `copy` is false and a copy is needed.
    """
    if not isinstance(obj, Tensor | np.ndarray) and hasattr(obj, "__dlpack__"):
        obj = from_dlpack(obj)
    if copy:
        return tensor(obj, dtype=dtype, device=device, requires_grad=requires_grad)
    out = as_tensor(obj, dtype, device)
    if copy is False:
        if not isinstance(obj, Tensor | np.ndarray):
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        own = obj.dtype if isinstance(obj, Tensor) else _kind_of(obj)
        if out.dtype is not own:
            raise ValueError(
                f"can't alias tensor with dtype '{own.title}' into dtype '{out.dtype.title}'."
            )
    if not requires_grad:
        return out.detach()
    return out if out._requires_grad else as_leaf(out.detach(), True)


def frombuffer(
    buffer: Any,
    *,
    dtype: dtype_type,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> Tensor:
    """A 1-d tensor over the memory of `buffer`: `count` elements (-1: all), from byte `offset`.

    Raises:
        ValueError: the buffer is empty, or too short, or ends in part of an element.
    """
    length, each = memoryview(buffer).nbytes, dtype.itemsize
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({length} bytes) minus 1"
        )
    if count < 0 and (length - offset) % each:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple "
            f"of element size ({each})"
        )
    if count > 0 and offset + count * each > length:
        raise ValueError(
            f"requested buffer length ({count} * {each} bytes) after offset ({offset} bytes) must not "
            f"be greater than actual buffer length ({length} bytes)"
        )
    return as_leaf(from_numpy(np.frombuffer(buffer, dtype.name, count, offset)), requires_grad)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor on cpu over the memory of another library's tensor."""
    if isinstance(ext_tensor, Tensor):
        ext_tensor = ext_tensor.numpy()
    if not isinstance(ext_tensor, np.ndarray):  # before 2.3 numpy makes what it imports read-only
        ext_tensor = np.from_dlpack(ext_tensor)
    return from_numpy(ext_tensor)


def is_tensor(obj: Any) -> bool:
    """Whether it is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype of a tensor is a floating-point one."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """False: no dtype is complex."""
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element of a tensor differs from 0."""
    return bool(input)


def numel(input: Tensor) -> int:
    """The number of elements of a tensor."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> dtype_type:
    """The dtype of an arithmetic result of two tensors or numbers."""
    return promote(
        tuple(x._aval if isinstance(x, Tensor) else NUMBER[type(x)] for x in (tensor1, tensor2))
    )
