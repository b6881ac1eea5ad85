"""Kernels that make arrays from numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Binary, Unary, factory


@factory
def full(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Unary:
    shape, d = tuple(out.shape), NUMPY_DTYPE[out.dtype]
    if avals[0].dtype.name == "float":  # -0.0 is false too, and its bits are not all zero
        return lambda value: np.full(shape, value, d)
    return lambda value: np.full(shape, value, d) if value else np.zeros(shape, d)


@factory
def arange(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    d = NUMPY_DTYPE[out.dtype]
    wide = np.int64 if all(a.dtype.name == "int" for a in avals) else np.float64
    return lambda start, step: (start + step * np.arange(out.size, dtype=wide)).astype(d)
