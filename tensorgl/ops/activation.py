"""Smooth activations, each a node that saves its input only; straight pieces are in `rectifier`.

In gradients, `where` picks between branches only after each was made finite on the whole line: a
branch that overflows where it is not taken would make NaN of the second gradient.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

from tensorgl.dispatch import differentiable, op
from tensorgl.ops.arithmetic import minimum
from tensorgl.ops.comparison import where
from tensorgl.ops.movement import sliced, wrap_dim
from tensorgl.ops.support import computes_in_single, overwrite

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "logsigmoid",
    "mish",
    "selu",
    "selu_",
    "silu",
    "softplus",
    "softsign",
    "tanhshrink",
]

Tensor = Any


def _negative_part(input: Tensor) -> Tensor:
    return where(input > 0, 0, input)


@computes_in_single
@differentiable(
    input=lambda g, input, rise, scale, rate: where(
        input <= 0, g * (rise * rate) * (_negative_part(input) * rate).exp(), g * scale
    )
)
def _elu(input: Tensor, rise: float, scale: float, rate: float) -> Tensor:
    """`scale * input` where positive, else `rise * (exp(rate * input) - 1)`."""
    return where(input <= 0, (_negative_part(input) * rate).expm1() * rise, input * scale)


@op
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` where positive, else `alpha * (exp(input) - 1)` (Clevert et al. 2015)."""
    return overwrite(input, _elu, alpha, 1, 1) if inplace else _elu(input, alpha, 1, 1)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """In-place `elu`."""
    return overwrite(input, _elu, alpha, 1, 1)


# Klambauer et al. 2017, Self-Normalizing Neural Networks, eq. 14.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@op
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the alpha and the scale that keep mean 0 and variance 1 through layers."""
    constants = (SELU_ALPHA * SELU_SCALE, SELU_SCALE, 1)
    return overwrite(input, _elu, *constants) if inplace else _elu(input, *constants)


def selu_(input: Tensor) -> Tensor:
    """In-place `selu`."""
    return selu(input, inplace=True)


@op
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` where positive, else `alpha * (exp(input / alpha) - 1)`."""
    if alpha == 0:
        raise RuntimeError("celu: alpha cannot be 0")
    constants = (alpha, 1, 1 / alpha)
    return overwrite(input, _elu, *constants) if inplace else _elu(input, *constants)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """In-place `celu`."""
    return celu(input, alpha, inplace=True)


def _gelu_backward(g: Tensor, input: Tensor) -> Tensor:
    density = (input * input * -0.5).exp() * (1 / sqrt(2 * pi))
    return g * (((input * sqrt(0.5)).erf() + 1) * 0.5 + input * density)


@differentiable(input=_gelu_backward)
def _gelu(input: Tensor) -> Tensor:
    return ((input * sqrt(0.5)).erf() + 1) * (input * 0.5)


_CUBIC = 0.044715


def _gelu_tanh_argument(input: Tensor) -> Tensor:
    return (input * input * (sqrt(2 / pi) * _CUBIC) + sqrt(2 / pi)) * input


def _gelu_tanh_backward(g: Tensor, input: Tensor) -> Tensor:
    t = _gelu_tanh_argument(input).tanh()
    slope = input * input * (3 * sqrt(2 / pi) * _CUBIC) + sqrt(2 / pi)
    return g * (((1 - t) * slope * input + 1) * (t + 1) * 0.5)


@differentiable(input=_gelu_tanh_backward)
def _gelu_tanh(input: Tensor) -> Tensor:
    return (_gelu_tanh_argument(input).tanh() + 1) * (input * 0.5)


@op
@computes_in_single
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """`input` times the normal distribution function of it (Hendrycks and Gimpel 2016).

    Args:
        input: of a floating-point dtype.
        approximate: "none" by the error function, "tanh" by a formula with tanh.
    """
    if approximate == "none":
        return _gelu(input)
    if approximate == "tanh":
        return _gelu_tanh(input)
    raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', given {approximate!r}")


def _silu_backward(g: Tensor, input: Tensor) -> Tensor:
    s = input.sigmoid()
    return g * ((input * (1 - s) + 1) * s)


@computes_in_single
@differentiable(input=_silu_backward)
def _silu(input: Tensor) -> Tensor:
    return input * input.sigmoid()


@op
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * sigmoid(input)`, also called swish."""
    return overwrite(input, _silu) if inplace else _silu(input)


@differentiable(
    input=lambda g, input, beta, threshold: where(
        input * beta > threshold, g, g * (input * beta).sigmoid()
    )
)
def _softplus(input: Tensor, beta: float, threshold: float) -> Tensor:
    z = input * beta
    return where(z > threshold, input, z.exp().log1p() / beta)


@op
@computes_in_single
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """`log(1 + exp(beta * input)) / beta`, and `input` where `beta * input` is above `threshold`."""
    return _softplus(input, beta, threshold)


def _mish_backward(g: Tensor, input: Tensor) -> Tensor:
    t = _softplus(input, 1, 20).tanh()
    return g * ((1 - t * t) * input.sigmoid() * input + t)


@computes_in_single
@differentiable(input=_mish_backward)
def _mish(input: Tensor) -> Tensor:
    return input * _softplus(input, 1, 20).tanh()


@op
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * tanh(softplus(input))` (Misra 2019)."""
    return overwrite(input, _mish) if inplace else _mish(input)


@op
@computes_in_single
@differentiable(input=lambda g, input: g * (-input).sigmoid())
def logsigmoid(input: Tensor) -> Tensor:
    """`log(sigmoid(input))`, finite wherever the input is."""
    return minimum(input, 0) - (-input.abs()).exp().log1p()


@op
def softsign(input: Tensor) -> Tensor:
    """`input / (1 + |input|)`."""
    return input / (input.abs() + 1)


@op
def tanhshrink(input: Tensor) -> Tensor:
    """`input - tanh(input)`."""
    return input - input.tanh()


@op
@computes_in_single
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second (Dauphin et al. 2016).

    Raises:
        RuntimeError: the size along `dim` is odd, or the input is 0-d.
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    dim = wrap_dim(dim, input.ndim)
    shape = tuple(input.shape)
    if shape[dim] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim} is size {shape[dim]}"
        )
    zeros, ones = (0,) * input.ndim, (1,) * input.ndim
    middle = tuple(n // 2 if k == dim else n for k, n in enumerate(shape))
    start = tuple(n // 2 if k == dim else 0 for k, n in enumerate(shape))
    first = sliced(input, zeros, middle, ones)
    return first * sliced(input, start, shape, ones).sigmoid()
