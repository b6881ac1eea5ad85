"""How the numpy kernels are registered: one short function a primitive, by the primitive's name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl.avals import Aval

__all__ = [
    "KERNELS",
    "NUMPY_DTYPE",
    "Binary",
    "Kernel",
    "Ternary",
    "Unary",
    "factory",
    "kernel",
    "ufuncs",
]

# Arrays are Any: numpy's stubs leave the results of ufuncs, and much else, partly unknown.
Kernel = Callable[..., Any]
Unary = Callable[[Any], Any]
Binary = Callable[[Any, Any], Any]
Ternary = Callable[[Any, Any, Any], Any]
Factory = Callable[[tuple[Aval, ...], tuple[Any, ...], Any], Kernel]

NUMPY_DTYPE = {d: np.dtype(d.name) for d in dtypes.ALL}
KERNELS: dict[str, Factory] = {}


def kernel(function: Kernel) -> Kernel:
    """Register `name(*arrays, *params)`; the parameters are bound when the call is first seen."""

    def make(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any) -> Kernel:
        if not params:
            return function
        names = function.__code__.co_varnames[len(avals) : function.__code__.co_argcount]
        return partial(function, **dict(zip(names, params, strict=True)))

    KERNELS[function.__name__] = make
    return function


def factory(function: Factory) -> Factory:
    """Register `name(avals, params, out) -> kernel`, for a choice by shape or dtype."""
    KERNELS[function.__name__] = function
    return function


def ufuncs(**by_name: Kernel) -> None:
    """Register functions that take only the arrays, numpy's ufuncs among them."""
    for name, function in by_name.items():
        KERNELS[name] = lambda avals, params, out, function=function: function
