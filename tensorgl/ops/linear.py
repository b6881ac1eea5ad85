"""Affine maps: linear and bilinear."""

from __future__ import annotations

from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, differentiable, op
from tensorgl.ops.linalg import matmul
from tensorgl.ops.movement import permute, reshape, t, unsqueeze

__all__ = ["bilinear", "linear"]

Tensor = Any


def _rows(x: Tensor) -> Tensor:
    """All leading dims as one."""
    return x if x.ndim == 2 else reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _folded(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight` as a single product of matrices, whatever the leading dims of `x`."""
    out = call2(p.matmul, _rows(x), weight)
    # Reshaped by a plain call, so that it counts as no view: the caller may write over it.
    return out if x.ndim == 2 else call1(p.reshape, out, ((*x.shape[:-1], weight.shape[1]),))


@differentiable(
    input=lambda g, weight: _folded(g, weight),
    weight=lambda g, input: matmul(t(_rows(g)), _rows(input)),
    bias=lambda g: g,
)
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = _folded(input, t(weight))
    return out if bias is None else out + bias


@op
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`.

    Args:
        input: (*, in_features), with any number of leading dims.
        weight: (out_features, in_features), or (in_features,) for a result of shape (*).
        bias: (out_features,) or ().

    Raises:
        RuntimeError: sizes or dtypes differ, or an operand is 0-d.
    """
    if input.ndim == 0 or weight.ndim == 0:
        raise RuntimeError(
            "both arguments to linear need to be at least 1D, but they are "
            f"{input.ndim}D and {weight.ndim}D"
        )
    if weight.ndim == 2:
        return _linear(input, weight, bias)
    out = matmul(input, t(weight))
    return out if bias is None else out + bias


@op
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input1 @ weight[k] @ input2 + bias[k]` for every k.

    Args:
        input1: (*, in1).
        input2: (*, in2), with the same leading dims.
        weight: (out, in1, in2).
        bias: (out,).
    """
    lead = tuple(input1.shape[:-1])
    if tuple(input2.shape[:-1]) != lead:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got "
            f"{list(input1.shape)} and {list(input2.shape)}"
        )
    features, n1, n2 = weight.shape
    if (input1.shape[-1], input2.shape[-1]) != (n1, n2):
        raise RuntimeError(
            f"bilinear(): a weight of size {list(weight.shape)} expects inputs of sizes {n1} and {n2}, "
            f"got {input1.shape[-1]} and {input2.shape[-1]}"
        )
    flat = reshape(permute(weight, (1, 0, 2)), (n1, features * n2))
    half = reshape(matmul(_rows(input1), flat), (prod(lead), features, n2))
    out = reshape(matmul(half, unsqueeze(_rows(input2), -1)), (*lead, features))
    return out if bias is None else out + bias
