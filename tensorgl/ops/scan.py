"""Running sums, products and extremes along a dim, differences, and integrals by trapezoids."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import dtypes, return_types
from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, calln, defvjp, op
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.casting import cast
from tensorgl.ops.comparison import eq, ne, where
from tensorgl.ops.dims import along, numpy_names, pick
from tensorgl.ops.movement import clone, flip, reshape, sliced, wrap_dim
from tensorgl.ops.reduction import products_before, sum

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "diff",
    "logcumsumexp",
    "trapezoid",
    "trapz",
]

Tensor = Any


def part(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """A view of `start` to `stop` along one dim; `stop` counts from the end, 0 being the end."""
    n = x.shape[dim]
    start = min(start, n)
    stop = max(n + stop, start)
    starts = tuple(start if k == dim else 0 for k in range(x.ndim))
    stops = tuple(stop if k == dim else m for k, m in enumerate(x.shape))
    return sliced(x, starts, stops, (1,) * x.ndim)


@op
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: dtype_type | None = None) -> Tensor:
    """The sum of the elements up to each one along `dim`; integers and bools in int64, or `dtype`."""
    return cast(along(p.cumsum, cast(input, dtype), dim), dtype)


defvjp(p.cumsum, input=lambda g, dim: flip(along(p.cumsum, flip(g, dim), dim), dim))


@op
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: dtype_type | None = None) -> Tensor:
    """The product of the elements up to each one along `dim`; integers and bools in int64, or `dtype`."""
    return cast(along(p.cumprod, cast(input, dtype), dim), dtype)


def _recurrence(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """The s with s[k] = b[k] + a[k] * s[k + 1]; `a` is one shorter than `b`.

    By doubling: log2(n) steps, no division, so that zeros in `a` and every order of gradient are
    right. Source: Hillis & Steele 1986, "Data parallel algorithms".
    """
    n, step = b.shape[dim], 1
    while step < n:
        widths = tuple((0, step * (k == dim)) for k in range(b.ndim))
        b = b + call2(p.pad, a * part(b, dim, step, 0), 0, (widths,))
        a = part(a, dim, 0, -step) * part(a, dim, step, 0)
        step *= 2
    return b


defvjp(
    p.cumprod,
    input=lambda g, input, dim: (
        products_before(input, dim) * _recurrence(part(input, dim, 1, 0), g, dim)
    ),
)


@op
@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """The logarithm of the sum of exponentials up to each element along `dim`.

    Raises:
        NotImplementedError: no floating-point tensor.
    """
    if not input.dtype.is_floating_point:
        raise NotImplementedError(
            f"logcumsumexp(): not implemented for '{input.dtype.title}'; cast it with .float()"
        )
    return along(p.logcumsumexp, input, dim)


def _logcumsumexp_backward(g: Tensor, input: Tensor, out: Tensor, dim: int) -> Tensor:
    """Exponents are of differences that are never positive, so that nothing overflows."""
    now, later = part(out, dim, 0, -1), part(out, dim, 1, 0)
    decay = call1(p.exp, where(eq(now, later), 0, now - later))  # the difference of infinities too
    weight = call1(p.exp, where(eq(input, -inf), input, input - out))
    return weight * _recurrence(decay, g, dim)


defvjp(
    p.logcumsumexp,
    input=lambda g, input, out, dim: _logcumsumexp_backward(g, input, out, dim),
)


@op
@numpy_names
def cummax(input: Tensor, dim: int) -> return_types.cummax:
    """`(values, indices)` of the greatest element up to each one along `dim`; the latest of equals."""
    index = along(p.cumargmax, input, dim)
    return return_types.cummax(pick(input, dim, index), index)


@op
@numpy_names
def cummin(input: Tensor, dim: int) -> return_types.cummin:
    """`(values, indices)` of the least element up to each one along `dim`; the latest of equals."""
    index = along(p.cumargmin, input, dim)
    return return_types.cummin(pick(input, dim, index), index)


@op
@numpy_names
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The difference of neighbours along `dim`, `n` times over; of bools, whether they differ.

    Raises:
        RuntimeError: the input is 0-dim, or `n` is negative.
    """
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if n == 0:
        return clone(input)
    dim = wrap_dim(dim, input.ndim)
    pieces = [x for x in (prepend, input, append) if x is not None]
    if len(pieces) > 1:
        input = calln(p.cat, pieces, (dim, tuple(x.shape[dim] for x in pieces)))
    difference = ne if input.dtype is dtypes.bool else (lambda a, b: a - b)
    for _ in range(min(n, input.shape[dim])):
        input = difference(part(input, dim, 1, 0), part(input, dim, 0, -1))
    return input


def _areas(y: Tensor, x: Tensor | None, dx: float, dim: int) -> tuple[Tensor, int]:
    """The areas of the trapezoids between neighbours along `dim`, and `dim` from the front."""
    dim = wrap_dim(dim, y.ndim)
    n = y.shape[dim]
    pair = part(y, dim, 1, 0) + part(y, dim, 0, -1)
    if x is None:
        return pair * (dx / 2), dim
    if x.shape[-1 if x.ndim == 1 else dim - y.ndim] != n:
        raise RuntimeError(
            f"trapezoid(): There must be one `x` value for each sample point, given {tuple(x.shape)} "
            f"for {n} along dim {dim} of {tuple(y.shape)}"
        )
    if x.ndim == 1:
        x = reshape(x, tuple(n if k == dim else 1 for k in range(y.ndim)))
    return pair * diff(x, dim=dim - y.ndim) / 2, dim


@op
@numpy_names
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of samples along `dim` by the trapezoidal rule.

    Args:
        y: the samples.
        x: where the samples were taken: 1-D, or of a shape that broadcasts with y's.
        dx: how far apart samples are, without `x`.
        dim: the dim to integrate along.

    Raises:
        RuntimeError: `x` does not have one value for each sample.
    """
    areas, dim = _areas(y, x, dx, dim)
    return sum(areas, dim)


@op
@numpy_names
def trapz(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The old name of `trapezoid`."""
    return trapezoid(y, x, dx=dx, dim=dim)


@op
@numpy_names
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1
) -> Tensor:
    """The integral up to each sample but the first; arguments as for `trapezoid`."""
    areas, dim = _areas(y, x, dx, dim)
    return cumsum(areas, dim)
