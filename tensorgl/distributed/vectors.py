"""Tensors as a flat vector, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tensorgl.autograd.modes import no_grad
from tensorgl.dispatch import to_host
from tensorgl.dtypes import float32
from tensorgl.ops.joining import cat
from tensorgl.tensor import Tensor
from tensorgl.values import from_numpy

__all__ = ["gather", "scatter"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


def gather(tensors: Sequence[Tensor]) -> Array:
    """All elements as float32, one tensor after the other; there is at least one tensor."""
    with no_grad():
        flat = [t.detach().reshape(-1).to(float32) for t in tensors]
        return np.array(to_host(cat(flat) if len(flat) > 1 else flat[0]), np.float32)


def scatter(values: Array, tensors: Sequence[Tensor]) -> None:
    """Give tensors the values that `gather` had of them; `values` may go on."""
    at = 0
    with no_grad():
        for t in tensors:
            part = values[at : at + t.numel()].reshape(t.shape)
            t.copy_(from_numpy(part.copy()))  # a backend may read it later
            at += t.numel()
