"""PyTorch's names for orders of memory. All tensors are made in row-major order here.

A format is a hint for speed, never part of a result, so every function that PyTorch gives a
`memory_format` takes one and ignores it.
"""

from __future__ import annotations

__all__ = [
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "memory_format",
    "preserve_format",
]


class memory_format:  # noqa: N801 (PyTorch's name)
    """The name of an order of memory."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"tensorgl.{self._name}"


channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
