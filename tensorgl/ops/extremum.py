"""The extreme elements over dims, and where they are."""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes, return_types
from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import call1, defvjp, differentiable, op
from tensorgl.ops.arithmetic import maximum, minimum
from tensorgl.ops.comparison import eq, isnan, where
from tensorgl.ops.dims import Dims, along, numpy_names, pick, squeezed, unreduced
from tensorgl.ops.movement import reshape, wrap_dims
from tensorgl.ops.reduction import sum

__all__ = ["amax", "amin", "aminmax", "argmax", "argmin", "max", "min"]

Tensor = Any


def _checked_dims(name: str, input: Tensor, dim: Dims) -> tuple[int, ...]:
    """The dims to reduce over.

    Raises:
        RuntimeError: that is all of them, and there is no element.
    """
    if input._aval.size == 0 and (dim is None or dim in ((), [])):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    return wrap_dims(dim, input.ndim)


@op
@numpy_names
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The greatest element over `dim` (default: all); NaN wins. Equal ones share the gradient."""
    return call1(p.amax, input, (_checked_dims("amax", input, dim), keepdim))


@op
@numpy_names
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The least element over `dim` (default: all); NaN wins. Equal ones share the gradient."""
    return call1(p.amin, input, (_checked_dims("amin", input, dim), keepdim))


def _shared(
    g: Tensor, input: Tensor, out: Tensor, shape: Any, dim: tuple[int, ...], keepdim: bool
) -> Tensor:
    """The gradient in equal parts for all elements that equal the result."""
    hit = eq(input, unreduced(out, shape, dim, keepdim))
    return unreduced(g, shape, dim, keepdim) / sum(hit, dim, keepdim=True) * hit


for _primitive in (p.amax, p.amin):
    defvjp(
        _primitive,
        input=lambda g, input, out, shape, dim, keepdim: _shared(
            g, input, out, shape, dim, keepdim
        ),
    )


@op
@numpy_names
def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False
) -> return_types.aminmax:
    """The least and the greatest element over `dim` (default: all)."""
    if dim is None and input._aval.size == 0:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity; pass a dim that is not empty"
        )
    return return_types.aminmax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def _shared_by_all(g: Tensor, input: Tensor, out: Tensor) -> Tensor:
    """As `_shared`, over the whole tensor; where the result is NaN, for every NaN."""
    hit = where(isnan(out), isnan(input), eq(input, out))
    return g / sum(hit) * hit


@differentiable(input=lambda g, input, out: _shared_by_all(g, input, out))
def chosen(input: Tensor, choose: Any) -> Tensor:
    """`choose(input)`, a 0-dim tensor equal to one element or several, which share the gradient."""
    return choose(input)


@op
@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor = None) -> Any:
    """The greatest elements; NaN wins.

    `max(input)` is the greatest of all; equal ones share the gradient. `max(input, dim, keepdim)` is
    `(values, indices)` along a dim; the gradient goes to the index. `max(input, other)` is `maximum`.
    """
    if other is not None or isinstance(dim, TensorBase):
        return maximum(input, dim if other is None else other)
    if dim is None:
        _checked_dims("max", input, dim)
        return chosen(input, amax)
    return return_types.max(*_extreme(p.argmax, input, dim, keepdim))


@op
@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor = None) -> Any:
    """The least elements; NaN wins. Forms as for `max`: of all, along a dim, of two tensors."""
    if other is not None or isinstance(dim, TensorBase):
        return minimum(input, dim if other is None else other)
    if dim is None:
        _checked_dims("min", input, dim)
        return chosen(input, amin)
    return return_types.min(*_extreme(p.argmin, input, dim, keepdim))


def _extreme(primitive: Any, input: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    index = along(primitive, input, dim, True)
    values = pick(input, dim, index)
    return squeezed(values, dim, keepdim), squeezed(index, dim, keepdim)


@op
@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first greatest element along `dim` (default: in the flattened tensor)."""
    return _arg("argmax", p.argmax, input, dim, keepdim)


@op
@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first least element along `dim` (default: in the flattened tensor)."""
    return _arg("argmin", p.argmin, input, dim, keepdim)


def _arg(name: str, primitive: Any, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if input.dtype is dtypes.bool:
        raise RuntimeError(f"{name}(): does not support bool input; cast it with .int()")
    if dim is not None:
        return along(primitive, input, dim, keepdim)
    if input._aval.size == 0:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0; pass dim."
        )
    index = call1(primitive, reshape(input, (-1,)), (0, False))
    return reshape(index, (1,) * input.ndim) if keepdim else index
