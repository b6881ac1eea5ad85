"""Exchange of memory with other libraries, by DLPack."""

from __future__ import annotations

from typing import Any

from tensorgl.tensor import Tensor
from tensorgl.values import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of the memory of a tensor on cpu."""
    return tensor.__dlpack__()
