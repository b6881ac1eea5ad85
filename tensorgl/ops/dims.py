"""What ops that work along dims share: 0-dim inputs, and choosing along a dim."""

from __future__ import annotations

from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2
from tensorgl.ops.movement import clone, permute, reshape, squeeze, wrap_dim
from tensorgl.ops.shapes import numpy_names

__all__ = ["along", "count", "flattened", "numpy_names", "pick", "squeezed", "unreduced"]

Tensor = Any
Dims = int | tuple[int, ...] | None


def unreduced(x: Tensor, shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """A tensor reduced from `shape` over `dim`, in a shape that broadcasts to that again."""
    if keepdim or x.ndim == 0:
        return x
    return reshape(x, tuple(1 if k in dim else n for k, n in enumerate(shape)))


def count(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    """How many elements a reduction over `dim` takes together."""
    return prod(shape[k] for k in dim)


def along(primitive: Any, input: Tensor, dim: int, *params: Any) -> Tensor:
    """Run a primitive that works along one dim; a 0-dim input counts as one of one element.

    The primitive's parameters are `dim` and then `params`.
    """
    dim = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        return reshape(call1(primitive, reshape(input, (1,)), (dim, *params)), ())
    return call1(primitive, input, (dim, *params))


def pick(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The elements at `index` along `dim`: gather, of 0-dim inputs too."""
    if input.ndim == 0:
        return clone(input)
    return call2(p.gather, input, index, (wrap_dim(dim, input.ndim),))


def squeezed(x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """A reduced tensor without the reduced dim, unless it is to be kept."""
    return x if keepdim else squeeze(x, dim)


def flattened(input: Tensor, dim: tuple[int, ...]) -> Tensor:
    """The tensor with `dim` moved to the end and merged into one."""
    shape = tuple(input.shape)
    kept = tuple(k for k in range(len(shape)) if k not in dim)
    return reshape(permute(input, (*kept, *dim)), (*(shape[k] for k in kept), count(shape, dim)))
