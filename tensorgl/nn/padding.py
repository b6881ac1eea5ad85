"""Padding of the last one, two or three dims by a constant or by the input itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tensorgl.nn import functional as F
from tensorgl.nn.module import Module
from tensorgl.tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """`padding` is one width, or a pair (before, after) for each dim, the last dim first."""

    dims: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.dims) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads the last dim with `value`."""

    dims = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dims with `value`."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dims with `value`."""

    dims = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Pads the last dim with zeros."""

    dims = 1


class ZeroPad2d(_ZeroPad):
    """Pads the last two dims with zeros."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """Pads the last three dims with zeros."""

    dims = 3


class _ReflectionPad(_Pad):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Pads the last dim with its mirror image; the edge is not repeated."""

    dims = 1


class ReflectionPad2d(_ReflectionPad):
    """Pads the last two dims with their mirror image; the edge is not repeated."""

    dims = 2


class ReflectionPad3d(_ReflectionPad):
    """Pads the last three dims with their mirror image; the edge is not repeated."""

    dims = 3


class _ReplicationPad(_Pad):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Pads the last dim with its edge."""

    dims = 1


class ReplicationPad2d(_ReplicationPad):
    """Pads the last two dims with their edges."""

    dims = 2


class ReplicationPad3d(_ReplicationPad):
    """Pads the last three dims with their edges."""

    dims = 3


class _CircularPad(_Pad):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.dims + 1, self.dims + 2):
            raise ValueError(
                f"expected {self.dims + 1}D or {self.dims + 2}D input (got {input.ndim}D input)"
            )
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Pads the last dim with its other end."""

    dims = 1


class CircularPad2d(_CircularPad):
    """Pads the last two dims with their other ends."""

    dims = 2


class CircularPad3d(_CircularPad):
    """Pads the last three dims with their other ends."""

    dims = 3
