"""softmax and log_softmax, each one node that saves its result only, and what is made of them."""

from __future__ import annotations

import warnings
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, differentiable, op
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.dtypes import finfo
from tensorgl.ops.arithmetic import maximum, neg
from tensorgl.ops.movement import clone, reshape, wrap_dim
from tensorgl.ops.reduction import sum
from tensorgl.ops.sampling import uniform
from tensorgl.ops.shapes import numpy_names
from tensorgl.ops.support import computes_in_single, float_only, positions

__all__ = ["gumbel_softmax", "log_softmax", "softmax", "softmin"]

Tensor = Any


def _shifted(input: Tensor, dim: int) -> Tensor:
    """`input` less its maximum along `dim`, so that no exponential overflows."""
    return input - call1(p.amax, input, ((dim,), True))


@computes_in_single
@differentiable(input=lambda g, out, dim: (g - sum(g * out, dim, True)) * out)
def _softmax(input: Tensor, dim: int) -> Tensor:
    e = _shifted(input, dim).exp()
    return e / sum(e, dim, True)


@computes_in_single
@differentiable(input=lambda g, out, dim: g - out.exp() * sum(g, dim, True))
def _log_softmax(input: Tensor, dim: int) -> Tensor:
    shifted = _shifted(input, dim)
    return shifted - sum(shifted.exp(), dim, True).log()


def _along(function: Any, input: Tensor, dim: int, dtype: dtype_type | None) -> Tensor:
    """Apply `function` along `dim`; a 0-d input is a slice of one element."""
    dim = wrap_dim(dim, input.ndim)
    if dtype is not None:
        input = call1(p.cast, input, (dtype,))
    if input.ndim == 0:
        return reshape(function(reshape(input, (1,)), 0), ())
    if input.shape[dim] == 0:
        return clone(input)
    return function(input, dim)


@op
@numpy_names
def softmax(input: Tensor, dim: int, dtype: dtype_type | None = None) -> Tensor:
    """`exp(input)` divided by its sum along `dim`; NaN where a whole slice is -inf.

    Args:
        input: of any shape.
        dim: the dim along which the results add up to 1.
        dtype: cast the input to it first.

    Raises:
        NotImplementedError: the input has no floating-point dtype and none is asked for.
    """
    return _along(_softmax, input, dim, dtype)


@op
@numpy_names
def log_softmax(input: Tensor, dim: int, dtype: dtype_type | None = None) -> Tensor:
    """The logarithm of `softmax`, exact where that underflows."""
    return _along(_log_softmax, input, dim, dtype)


def implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    """The dim that nn.functional takes where none is given: 0 for 0-d, 1-d and 3-d inputs, else 1."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X "
        "as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


@op
def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype_type | None = None
) -> Tensor:
    """`softmax(-input)`."""
    if dim is None:
        dim = implicit_dim("softmin", input.ndim, _stacklevel)
    return softmax(neg(input), dim, dtype)


@op
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the Gumbel-softmax distribution (Jang et al. 2016, Maddison et al. 2016).

    Args:
        logits: unnormalised log-probabilities.
        tau: the temperature.
        hard: give a one-hot sample with the gradient of the soft one (straight through).
        eps: unused, as in PyTorch.
        dim: the dim of the classes.
    """
    float_only("gumbel_softmax", logits)
    u = uniform(tuple(logits.shape), logits.dtype, logits.device)
    # 1 - u is never 0; its logarithm may be, and the logarithm of that must be finite.
    exponential = maximum(-(-u).log1p(), finfo(logits.dtype).tiny)
    soft = softmax((logits - exponential.log()) / tau, dim)
    if not hard:
        return soft
    dim = wrap_dim(dim, logits.ndim)
    index = call1(p.argmax, soft.detach(), (dim, True))
    places = reshape(positions(soft.shape[dim], soft.device), (-1, *(1,) * (soft.ndim - dim - 1)))
    return (index == places).to(soft.dtype) - soft.detach() + soft
