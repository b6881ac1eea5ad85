"""Element types, their limits, and PyTorch's promotion table.

Knows nothing of tensors, shapes or backends. A Python number takes part in promotion as one of the
three `weak` dtypes: it decides the result only where its category is higher than the tensors'.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "bool",
    "can_cast",
    "double",
    "dtype",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "half",
    "iinfo",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "long",
    "promote_types",
    "set_default_dtype",
    "short",
    "uint8",
]

BOOL, INT, FLOAT = 0, 1, 2  # categories, in the order in which they win


class dtype:
    """An element type: `name`, `itemsize` in bytes, and its category. Compare by identity."""

    __slots__ = ("category", "is_floating_point", "is_signed", "itemsize", "name", "title", "weak")

    def __init__(
        self,
        name: str,
        title: str,
        category: builtins.int,
        itemsize: builtins.int,
        weak: builtins.bool = False,
    ) -> None:
        self.name: Final = name
        self.title: Final = title  # as PyTorch's messages spell it: "Float", "Long"
        self.category: Final = category
        self.itemsize: Final = itemsize
        self.weak: Final = weak
        self.is_floating_point: Final = category == FLOAT
        self.is_signed: Final = category != BOOL and name != "uint8"

    @property
    def is_complex(self) -> builtins.bool:
        """False: there are none."""
        return False

    def __repr__(self) -> str:
        return f"tensorgl.{self.name}"

    def __reduce__(self) -> str:  # pickled and copied by name, so that identity survives
        return self.name

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: object) -> dtype:
        return self


float64 = double = dtype("float64", "Double", FLOAT, 8)
float32 = dtype("float32", "Float", FLOAT, 4)
float16 = half = dtype("float16", "Half", FLOAT, 2)
int64 = long = dtype("int64", "Long", INT, 8)
int32 = dtype("int32", "Int", INT, 4)
int16 = short = dtype("int16", "Short", INT, 2)
int8 = dtype("int8", "Char", INT, 1)
uint8 = dtype("uint8", "Byte", INT, 1)
bool = dtype("bool", "Bool", BOOL, 1)
float, int = float32, int32

weak_bool = dtype("bool", "bool", BOOL, 1, weak=True)
weak_int = dtype("int", "int", INT, 8, weak=True)
weak_float = dtype("float", "float", FLOAT, 8, weak=True)

ALL: Final = (float64, float32, float16, int64, int32, int16, int8, uint8, bool)
BY_NAME: Final = {d.name: d for d in ALL}

_default = float32
on_default_change: list[Callable[[], None]] = []
"""Called when the default dtype changes, as promotions that were memoised no longer hold."""


def get_default_dtype() -> dtype:
    """The floating-point dtype of new tensors; float32 unless changed."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make `d`, a floating-point dtype, the dtype of new floating-point tensors."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"only floating-point types are supported as the default type, given {d!r}")
    _default = d
    for forget in on_default_change:
        forget()


def strong(d: dtype) -> dtype:
    """The dtype that a Python number alone has: bool, int64, or the default float."""
    if not d.weak:
        return d
    return (bool, int64, _default)[d.category]


_PYTHON = {builtins.float: float64, builtins.int: int64, builtins.bool: bool}


def as_dtype(kind: Any, default: Any = None) -> Any:
    """A dtype argument; None is the default, Python's types are float64, int64 and bool.

    Raises:
        TypeError: it is no dtype.
    """
    if isinstance(kind, dtype):
        return kind
    if kind is None:
        return default
    for python, own in _PYTHON.items():
        if kind is python:
            return own
    raise TypeError(f"argument 'dtype' must be tensorgl.dtype, not {type(kind).__name__}: {kind}")


def of_number(value: Any) -> dtype:
    """The dtype of a Python number alone."""
    if isinstance(value, builtins.bool):
        return bool
    return int64 if isinstance(value, builtins.int) else _default


def element(value: Any, d: dtype) -> Any:
    """A Python number as an element of dtype `d`; a negative int wraps in uint8.

    Raises:
        RuntimeError: it is too large for the dtype, or no number of its category.
    """
    if d.category == BOOL:
        return value != 0
    if d.category == FLOAT:
        if not math.isfinite(value) or abs(value) <= finfo(d).max:
            return value
    elif math.isfinite(value):
        limits = iinfo(d)
        if limits.min <= value <= limits.max:
            return builtins.int(value)
        if isinstance(value, builtins.int) and not d.is_signed and -limits.max <= value < 0:
            return value % (limits.max + 1)
    raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that holds both, by PyTorch's table."""
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.is_signed != b.is_signed:  # uint8 with a signed integer: the signed one, but never int8
        signed = a if a.is_signed else b
        return int16 if signed is int8 else signed
    return a if a.itemsize > b.itemsize else b


def result_type(dimensioned: list[dtype], zero_dim: list[dtype], numbers: list[dtype]) -> dtype:
    """Promotion over operands of three priorities: tensors with dims, 0-dim tensors, Python numbers.

    A lower priority counts only where its category is higher than that of all above it.
    """
    best: dtype | None = None
    for group in (dimensioned, zero_dim, numbers):
        top: dtype | None = None
        for d in group:
            d = strong(d)
            top = d if top is None else promote_types(top, d)
        if top is not None and (best is None or top.category > best.category):
            best = top
    assert best is not None
    return best


def can_cast(from_: dtype, to: dtype) -> builtins.bool:
    """Whether PyTorch lets an in-place op store a `from_` result in a `to` tensor."""
    return from_.category <= to.category


class iinfo:
    """Limits of an integer dtype: `bits`, `min`, `max`."""

    def __init__(self, d: dtype) -> None:
        if d.category != INT:
            raise TypeError(
                f"iinfo() requires an integer input type, given {d}; use finfo for floats"
            )
        self.dtype = d.name
        self.bits = d.itemsize * 8
        self.min = -(1 << (self.bits - 1)) if d.is_signed else 0
        self.max = (1 << (self.bits - d.is_signed)) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


_FORMATS: Final = {2: (10, 15, 3), 4: (23, 127, 6), 8: (52, 1023, 15)}
"""Bits of mantissa, largest exponent and decimal digits, by bytes."""


class finfo:
    """Limits of a floating-point dtype (IEEE 754): `bits eps min max tiny smallest_normal resolution`."""

    def __init__(self, d: dtype | None = None) -> None:
        d = d or _default
        if not d.is_floating_point:
            raise TypeError(
                f"finfo() requires a floating point input type, given {d}; use iinfo for integers"
            )
        mantissa, exponent, digits = _FORMATS[d.itemsize]
        self.dtype = d.name
        self.bits = d.itemsize * 8
        self.eps = 2.0**-mantissa
        self.max = (2.0 - self.eps) * 2.0**exponent
        self.min = -self.max
        self.tiny = self.smallest_normal = 2.0 ** (1 - exponent)
        self.resolution = 10.0**-digits

    def __repr__(self) -> str:
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return (
            f"finfo({', '.join(f'{f}={getattr(self, f):g}' for f in fields)}, dtype={self.dtype})"
        )
