"""The eager numpy backend, device "cpu": the reference semantics of every primitive.

A handle is an ndarray. Views are numpy's views. numpy's own warnings about overflow, division by
zero and invalid values are filtered for this package only: PyTorch does not give them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.base import Backend, Handle, unsupported
from tensorgl.backends.numpy import (
    contraction,
    conv,
    elementwise,
    indexing,
    linalg,
    movement,
    pooling,
    random,
    reduction,
    scan,
    sorting,
    source,
    special,
)
from tensorgl.backends.numpy.allocator import keep_freed_memory
from tensorgl.backends.numpy.kernels import KERNELS, NUMPY_DTYPE
from tensorgl.dtypes import int64
from tensorgl.primitives import Primitive

__all__ = ["NumpyBackend", "create"]

_FAMILIES = (
    contraction,
    conv,
    elementwise,
    indexing,
    linalg,
    movement,
    pooling,
    random,
    reduction,
    scan,
    sorting,
    source,
    special,
)
"""Importing them registered their kernels."""

warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"tensorgl\.")
keep_freed_memory()

_NARROW_INDICES = np.dtype(np.intp).itemsize < 8
"""Whether the indices that numpy gives are int32, as in a browser."""


class NumpyBackend(Backend):
    """Runs every primitive at once, in numpy."""

    name = "numpy"

    def bind(
        self, primitive: Primitive, avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any
    ) -> Callable[..., Any]:
        make = KERNELS.get(primitive.name)
        if make is None:
            raise unsupported(self.name, primitive, avals)
        run = make(avals, params, out)
        if isinstance(out, Aval) and out.ndim == 0:
            return _as_array(run, NUMPY_DTYPE[out.dtype])
        if _NARROW_INDICES and isinstance(out, Aval) and out.dtype is int64:
            return lambda *handles: run(*handles).astype(np.int64, copy=False)
        return run

    def upload(self, array: Any, aval: Aval) -> Handle:
        if _NARROW_INDICES and aval.dtype is int64:
            return array.astype(np.int64, copy=False)
        return array

    def download(self, handle: Handle, aval: Aval) -> Any:
        return handle

    def assign(self, target: Handle, source: Handle, aval: Aval) -> None:
        target[...] = source

    def strides(self, handle: Handle, aval: Aval) -> tuple[int, ...]:
        return _in_elements(handle.strides, handle.itemsize)

    def synchronize(self) -> None:
        pass

    def counters(self) -> dict[str, int]:
        return {}


@lru_cache(maxsize=1 << 12)
def _in_elements(strides: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(s // itemsize for s in strides)


def _as_array(run: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """Numpy gives scalars where a 0-d array is meant."""
    asarray = np.asarray
    return lambda *handles: asarray(run(*handles), dtype)


def create() -> Backend:
    """The backend, for the registry."""
    return NumpyBackend()
