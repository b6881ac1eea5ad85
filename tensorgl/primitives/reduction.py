"""Reductions, scans and sorting. `dim` is a tuple of dims for reductions, one dim for the others."""

from __future__ import annotations

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, primitive, to_float

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "argsort",
    "cumargmax",
    "cumargmin",
    "cumprod",
    "cumsum",
    "logcumsumexp",
    "prod",
    "sum",
]


Avals = tuple[Aval, ...]


def reduced_shape(shape: Shape, dim: Shape, keepdim: bool) -> Shape:
    """The shape that is left after reducing over `dim`."""
    if keepdim:
        return tuple(1 if k in dim else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in dim)


def _sum(avals: Avals, dim: Shape, keepdim: bool) -> Result:
    (a,) = avals
    d = a.dtype if a.dtype.is_floating_point else dtypes.int64
    return Result(reduced_shape(a.shape, dim, keepdim), d, d)


def _extremum(avals: Avals, dim: Shape, keepdim: bool) -> Result:
    (a,) = avals
    for d in dim:
        if a.shape[d] == 0:
            raise IndexError(
                f"amax/amin: expected reduction dim {d} to have non-zero size, given shape {tuple(a.shape)}"
            )
    return Result(reduced_shape(a.shape, dim, keepdim), a.dtype)


def _arg_extremum(avals: Avals, dim: int, keepdim: bool) -> Result:
    (a,) = avals
    if a.shape[dim] == 0:
        raise IndexError(
            f"argmax/argmin: expected reduction dim {dim} to have non-zero size, given shape "
            f"{tuple(a.shape)}"
        )
    return Result(reduced_shape(a.shape, (dim,), keepdim), dtypes.int64)


def _scan(avals: Avals, dim: int) -> Result:
    (a,) = avals
    d = a.dtype if a.dtype.is_floating_point else dtypes.int64
    return Result(a.shape, d, d)


def _float_scan(avals: Avals, dim: int) -> Result:
    d = to_float(avals[0].dtype)
    return Result(avals[0].shape, d, d)


def _arg_scan(avals: Avals, dim: int) -> Result:
    return Result(avals[0].shape, dtypes.int64)


def _argsort(avals: Avals, dim: int, descending: bool) -> Result:
    return Result(avals[0].shape, dtypes.int64)


sum = primitive("sum", "input", "dim keepdim", _sum, "reduce")
prod = primitive("prod", "input", "dim keepdim", _sum, "reduce")
amax = primitive("amax", "input", "dim keepdim", _extremum, "reduce")
amin = primitive("amin", "input", "dim keepdim", _extremum, "reduce")
argmax = primitive("argmax", "input", "dim keepdim", _arg_extremum, "reduce")
argmin = primitive("argmin", "input", "dim keepdim", _arg_extremum, "reduce")
cumsum = primitive("cumsum", "input", "dim", _scan, "other")
cumprod = primitive("cumprod", "input", "dim", _scan, "other")
logcumsumexp = primitive("logcumsumexp", "input", "dim", _float_scan, "other")
cumargmax = primitive("cumargmax", "input", "dim", _arg_scan, "other")
cumargmin = primitive("cumargmin", "input", "dim", _arg_scan, "other")
argsort = primitive("argsort", "input", "dim descending", _argsort, "other")
