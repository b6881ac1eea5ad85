"""What is known of a tensor without its values: shape, dtype and device, as one interned object.

Equal avals are the same object, so that dispatch looks a call up by identity. Knows no backend.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any, ClassVar, SupportsIndex, overload
from weakref import WeakValueDictionary

from tensorgl import dtypes
from tensorgl.dtypes import dtype

__all__ = ["Aval", "Size", "aval", "default_devices", "device", "process_device"]

_DEVICE_TYPES = ("cpu", "gl", "meta")


_tuple: Any = tuple  # a type checker would not know its items


class Size(tuple[int, ...]):
    """A shape: a tuple of ints that also counts its elements."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements: the product of the sizes."""
        return prod(self)

    def __repr__(self) -> str:
        return f"tensorgl.Size({list(self)})"

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, key: slice) -> Size: ...

    def __getitem__(self, key: SupportsIndex | slice) -> int | Size:
        item = _tuple.__getitem__(self, key)
        return Size(item) if isinstance(key, slice) else item

    def __add__(self, other: tuple[int, ...]) -> Size:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Size((*self, *other))


class device:
    """Where a tensor lives: "cpu" (numpy), "gl" (OpenGL or WebGL2) or "meta" (shapes only)."""

    __slots__ = ("type",)
    _known: ClassVar[dict[str, device]] = {}
    type: str

    def __new__(cls, type: str | device = "cpu", index: int | None = None) -> device:
        """The one device of this type."""
        if isinstance(type, device):
            return type
        name, _, number = str(type).partition(":")
        if name not in _DEVICE_TYPES or (number or str(index or 0)) != "0":
            raise RuntimeError(
                f"device: expected one of {', '.join(_DEVICE_TYPES)} device types, given {type!r}"
                + (f", index {index}" if index else "")
            )
        known = cls._known.get(name)
        if known is None:
            known = cls._known[name] = object.__new__(cls)
            known.type = name
        return known

    @property
    def index(self) -> int | None:
        """None: there is one device of each type."""
        return None

    def __repr__(self) -> str:
        return f"device(type='{self.type}')"

    def __str__(self) -> str:
        return self.type

    def __reduce__(self) -> tuple[object, ...]:
        return device, (self.type,)

    def __enter__(self) -> device:
        """Until `__exit__`, new tensors are made here if no device is given."""
        default_devices.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        default_devices.pop()


def _process_device() -> device:
    name = os.environ.get("TENSORGL_DEVICE") or "cpu"
    if name not in ("cpu", "gl"):
        raise RuntimeError(f"TENSORGL_DEVICE: expected cpu or gl, given {name!r}")
    return device(name)


process_device = _process_device()
"""The device of new tensors if nothing else is said: `TENSORGL_DEVICE`, or cpu."""
default_devices = [process_device]
"""The device of new tensors: that of the process, then those of `with` blocks, innermost last."""


class Aval:
    """A shape, a dtype and a device. Made by `aval` only; compare by identity."""

    __slots__ = ("__weakref__", "device", "dtype", "ndim", "shape", "size")

    def __init__(self, shape: tuple[int, ...], dtype: dtype, device: device | None) -> None:
        self.shape = Size(shape)
        self.dtype = dtype
        self.device = device  # None for a Python number, which is at home on every device
        self.size = prod(shape)
        self.ndim = len(shape)

    def __repr__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}@{self.device or 'number'}"


_interned: WeakValueDictionary[tuple[object, ...], Aval] = WeakValueDictionary()


def aval(shape: tuple[int, ...], dtype: dtype, device: device | None) -> Aval:
    """The one Aval of this shape, dtype and device."""
    key = (shape, dtype, device)
    known = _interned.get(key)
    if known is None:
        known = _interned[key] = Aval(shape, dtype, device)
    return known


NUMBER: dict[Any, Aval] = {
    bool: aval((), dtypes.weak_bool, None),
    int: aval((), dtypes.weak_int, None),
    float: aval((), dtypes.weak_float, None),
}
"""The avals of Python numbers, which promote weakly."""
