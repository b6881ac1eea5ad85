"""Normalisations: to mean 0 and variance 1 over some dims, to a norm of 1, or by neighbours.

`_standardize` is the one node under all of them; it saves its result and two small tensors. Scale and
shift are plain arithmetic after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.engine import no_grad
from tensorgl.dispatch import call1, call2, differentiable, inplace, op
from tensorgl.dtypes import finfo, float16, float32
from tensorgl.ops.movement import reshape
from tensorgl.ops.reduction import mean, sum
from tensorgl.ops.support import computes_in_single, float_only

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]

Tensor = Any
Dims = tuple[int, ...]


def _standardize_backward(g: Any, out: Any, dims: Dims, eps: float) -> Tensor:
    g, g_mean, g_var = g
    scaled, _, var = out
    scale = (var + eps).rsqrt()
    total: Any = 0
    if g is not None:
        total = (g - mean(g, dims, True) - scaled * mean(g * scaled, dims, True)) * scale
    count = prod(scaled.shape[d] for d in dims)
    if g_mean is not None:
        total = total + g_mean / count
    if g_var is not None:
        total = total + scaled * (g_var / scale * (2 / count))
    return total


@differentiable(input=_standardize_backward)
def _standardize(input: Tensor, dims: Dims, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The input with mean 0 and variance 1 over `dims`; its mean; its variance (biased)."""
    centre = mean(input, dims, True)
    centred = input - centre
    var = mean(centred * centred, dims, True)
    return centred * (var + eps).rsqrt(), centre, var


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias
