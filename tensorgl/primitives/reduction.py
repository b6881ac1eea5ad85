"""Reductions, scans and sorting. `dim` is a tuple of dims for reductions, one dim for the others."""

from __future__ import annotations

from collections.abc import Callable

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, primitive, to_float

__all__ = [
    "amax",
    "amin",
    "argkth",
    "argmax",
    "argmin",
    "argsort",
    "argtopk",
    "cumargmax",
    "cumargmin",
    "cumprod",
    "cumsum",
    "logcumsumexp",
    "prod",
    "searchsorted",
    "sum",
    "var_mean",
]


Avals = tuple[Aval, ...]


def reduced_shape(shape: Shape, dim: Shape, keepdim: bool) -> Shape:
    """The shape that is left after reducing over `dim`."""
    if keepdim:
        return tuple(1 if k in dim else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in dim)


def _accumulated(a: Aval) -> dtypes.dtype:
    """What sums and products of elements are held in: integers and bools in int64."""
    return a.dtype if a.dtype.is_floating_point else dtypes.int64


def _sum(avals: Avals, dim: Shape, keepdim: bool) -> Result:
    """Kernels convert integers and bools to int64 as they read, so that none copies them first."""
    (a,) = avals
    return Result(reduced_shape(a.shape, dim, keepdim), _accumulated(a))


def check_not_empty(name: str, shape: Shape, dim: Shape) -> None:
    """Reject a reduction that has no value for an empty dim.

    Raises:
        IndexError: a dim in `dim` has size 0.
    """
    for d in dim:
        if d < len(shape) and shape[d] == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim {d} to have non-zero size, given shape {tuple(shape)}."
            )


def _extremum(name: str) -> Callable[..., Result]:
    def infer(avals: Avals, dim: Shape, keepdim: bool) -> Result:
        (a,) = avals
        check_not_empty(name, a.shape, dim)
        return Result(reduced_shape(a.shape, dim, keepdim), a.dtype)

    return infer


def _arg_extremum(name: str) -> Callable[..., Result]:
    """The index of the first extreme element, of the first NaN where there is one."""

    def infer(avals: Avals, dim: int, keepdim: bool) -> Result:
        (a,) = avals
        check_not_empty(name, a.shape, (dim,))
        return Result(reduced_shape(a.shape, (dim,), keepdim), dtypes.int64)

    return infer


def _var_mean(avals: Avals, dim: Shape, correction: float, keepdim: bool) -> Result:
    """Two results: the sum of squared deviations divided by (count - correction), and the mean."""
    (a,) = avals
    if not a.dtype.is_floating_point:
        raise RuntimeError(
            f"std and var only support floating point dtypes, given {a.dtype.name}; cast with .float()"
        )
    shape = reduced_shape(a.shape, dim, keepdim)
    return Result([shape, shape], [a.dtype, a.dtype])


def _scan(avals: Avals, dim: int) -> Result:
    d = _accumulated(avals[0])
    return Result(avals[0].shape, d, d)


def _float_scan(avals: Avals, dim: int) -> Result:
    d = to_float(avals[0].dtype)
    return Result(avals[0].shape, d, d)


def _arg_scan(avals: Avals, dim: int) -> Result:
    """The index of the latest extreme element so far; NaN wins."""
    return Result(avals[0].shape, dtypes.int64)


def _argsort(avals: Avals, dim: int, descending: bool) -> Result:
    """Stable in both directions; NaN counts as the greatest value."""
    return Result(avals[0].shape, dtypes.int64)


def _argtopk(avals: Avals, dim: int, k: int, largest: bool) -> Result:
    """The first k of argsort."""
    shape = avals[0].shape
    return Result((*shape[:dim], k, *shape[dim + 1 :]), dtypes.int64)


def _argkth(avals: Avals, dim: int, k: int) -> Result:
    """The index of an element that argsort could put at place k (from 0); keeps the dim."""
    (a,) = avals
    return Result(reduced_shape(a.shape, (dim,), True), dtypes.int64)


def _searchsorted(avals: Avals, right: bool) -> Result:
    """How many elements of a sorted last dim are below (`right`: or equal to) each of the values.

    The sorted sequence is 1-D, or has the shape of `input` but for the last dim.
    """
    return Result(avals[1].shape, dtypes.int64)


sum = primitive("sum", "input", "dim keepdim", _sum, "reduce")
prod = primitive("prod", "input", "dim keepdim", _sum, "reduce")
amax = primitive("amax", "input", "dim keepdim", _extremum("amax"), "reduce")
amin = primitive("amin", "input", "dim keepdim", _extremum("amin"), "reduce")
argmax = primitive("argmax", "input", "dim keepdim", _arg_extremum("argmax"), "reduce")
argmin = primitive("argmin", "input", "dim keepdim", _arg_extremum("argmin"), "reduce")
var_mean = primitive("var_mean", "input", "dim correction keepdim", _var_mean, "reduce")
cumsum = primitive("cumsum", "input", "dim", _scan, "other")
cumprod = primitive("cumprod", "input", "dim", _scan, "other")
logcumsumexp = primitive("logcumsumexp", "input", "dim", _float_scan, "other")
cumargmax = primitive("cumargmax", "input", "dim", _arg_scan, "other")
cumargmin = primitive("cumargmin", "input", "dim", _arg_scan, "other")
argsort = primitive("argsort", "input", "dim descending", _argsort, "other")
argtopk = primitive("argtopk", "input", "dim k largest", _argtopk, "other")
argkth = primitive("argkth", "input", "dim k", _argkth, "other")
searchsorted = primitive("searchsorted", "sorted_sequence input", "right", _searchsorted, "other")
