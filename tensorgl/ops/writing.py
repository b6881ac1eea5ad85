"""Writes over whole tensors: `copy_`, `fill_`, `zero_`."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import op, source
from tensorgl.dtypes import element
from tensorgl.inplace import inplace
from tensorgl.ops.casting import cast
from tensorgl.ops.movement import clone, expand

__all__ = ["fill"]

Tensor = Any


def as_scalar(name: str, like: Tensor, value: Any) -> Tensor:
    """A number or 0-dim tensor as a 0-dim tensor of the dtype and device of `like`."""
    a = like._aval
    if not isinstance(value, TensorBase):
        return source(p.full, (element(value, a.dtype),), ((), a.dtype), a.device)
    x: Any = value
    if x.ndim:
        raise RuntimeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with {x.ndim} "
            "dimension(s)."
        )
    return cast(x.to(a.device), a.dtype)


@op
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write `src`, broadcast and cast, over `input`; the gradient goes to `src`."""
    a = input._aval
    if src._aval.device is not a.device:
        src = src.to(a.device)
    return inplace(input, expand(cast(src, a.dtype), a.shape))


@op
def fill(input: Tensor, value: float | Tensor) -> Tensor:
    """A tensor like `input` with `value`, a number or 0-dim tensor, everywhere."""
    return fill_(clone(input), value)


@op
def fill_(input: Tensor, value: float | Tensor) -> Tensor:
    """Write `value`, a number or 0-dim tensor, over every element."""
    return inplace(input, expand(as_scalar("fill_", input, value), input._aval.shape))


@op
def zero_(input: Tensor) -> Tensor:
    """Write zeros over every element."""
    return fill_(input, 0)
