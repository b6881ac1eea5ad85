"""Normalisations: to mean 0 and variance 1 over some dims, to a norm of 1, or by neighbours.

`_standardize` is the one node under all of them; it saves its result and two small tensors. Scale and
shift are plain arithmetic after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd.modes import no_grad
from tensorgl.dispatch import call2, calln, differentiable, op
from tensorgl.dtypes import finfo
from tensorgl.inplace import inplace
from tensorgl.ops.movement import as_shape, clone, reshape
from tensorgl.ops.reduction import mean, sum
from tensorgl.ops.rounding import clamp_min
from tensorgl.ops.support import computes_in_single

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


def _count(x: Tensor, dims: Dims) -> int:
    """How many elements lie along `dims`; at least 1, so that it can be divided by."""
    return max(prod(x.shape[d] for d in dims), 1)


def _standardize_backward(g: Any, out: Any, dims: Dims, eps: float) -> Tensor:
    g, g_mean, g_var = g
    scaled, var = out[0], out[2]
    scale = (var + eps).rsqrt()
    total: Any = 0
    if g is not None:
        total = (g - mean(g, dims, True) - scaled * mean(g * scaled, dims, True)) * scale
    count = _count(scaled, dims)
    if g_mean is not None:
        total = total + g_mean / count
    if g_var is not None:
        total = total + scaled * (g_var / scale * (2 / count))
    return total


@differentiable(input=_standardize_backward)
def _standardize(input: Tensor, dims: Dims, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The input with mean 0 and variance 1 over `dims`; its mean; its variance (biased)."""
    var, centre = calln(p.var_mean, (input,), (dims, 0, True))
    return (input - centre) * (var + eps).rsqrt(), centre, var


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift; never `x` itself if a gradient needs it, as the result may be written to."""
    if weight is None and bias is None:
        return clone(x) if x._requires_grad else x
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


@op
@computes_in_single
def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 over the last dims, then scale and shift (Ba et al. 2016).

    Args:
        input: (*, *normalized_shape).
        normalized_shape: the sizes of the last dims.
        weight: the scale, of shape `normalized_shape`.
        bias: the shift, of the same shape.
        eps: added to the variance.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    dims = _trailing("layer_norm", input, normalized_shape, weight, bias)
    return _affine(_standardize(input, dims, eps)[0], weight, bias)


def _trailing(name: str, input: Tensor, normalized_shape: Any, *affine: Tensor | None) -> Dims:
    """The dims that `normalized_shape` stands for; checks it and the scale and shift."""
    shape = as_shape((normalized_shape,))
    first = input.ndim - len(shape)
    if not shape or tuple(input.shape[max(first, 0) :]) != shape:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(shape)}, expected input with shape "
            f"{['*', *shape]}, but got input of size{list(input.shape)}"
        )
    for x in affine:
        if x is not None and tuple(x.shape) != shape:
            raise RuntimeError(
                f"{name}: Expected weight and bias to be of same shape as normalized_shape, but got "
                f"{list(x.shape)} and normalized_shape = {list(shape)}"
            )
    return tuple(range(first, input.ndim))


def _unit_power_backward(g: Any, out: Any, dims: Dims, eps: float) -> Tensor:
    g, g_power = g
    scaled, power = out
    scale = (power + eps).rsqrt()
    total: Any = 0
    if g is not None:
        total = (g - scaled * mean(g * scaled, dims, True)) * scale
    if g_power is not None:
        total = total + scaled * (g_power / scale * (2 / _count(scaled, dims)))
    return total


@differentiable(input=_unit_power_backward)
def _unit_power(input: Tensor, dims: Dims, eps: float) -> tuple[Tensor, Tensor]:
    """The input with mean square 1 over `dims`; its mean square."""
    power = mean(input * input, dims, True)
    return input * (power + eps).rsqrt(), power


@op
@computes_in_single
def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Mean square 1 over the last dims, then a scale (Zhang and Sennrich 2019).

    Args:
        input: (*, *normalized_shape).
        normalized_shape: the sizes of the last dims.
        weight: of shape `normalized_shape`.
        eps: default: the machine epsilon of the dtype that it computes in.
    """
    dims = _trailing("rms_norm", input, normalized_shape, weight)
    eps = finfo(input.dtype).eps if eps is None else eps
    return _affine(_unit_power(input, dims, eps)[0], weight, None)


def _per_channel(x: Tensor | None, ndim: int) -> Tensor | None:
    """A vector over channels, shaped to broadcast along dim 1."""
    return x if x is None or ndim == 2 else reshape(x, (-1, *(1,) * (ndim - 2)))


def _check_channels(input: Tensor, **vectors: Tensor | None) -> None:
    channels = input.shape[1]
    for name, x in vectors.items():
        if x is not None and x.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {x.numel()}")


def _update(running: Tensor | None, batch: Tensor, momentum: float) -> None:
    """Move a running statistic towards that of the batch, in place and without history."""
    if running is not None:
        with no_grad():
            batch = reshape(batch, tuple(running.shape)).to(running.dtype)
            inplace(running, running * (1 - momentum) + batch * momentum)


def _with_running(
    input: Tensor,
    centre: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Normalise by known statistics: one scale and one shift a channel."""
    if centre is None or var is None:
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when input statistics are not used"
        )
    scale = (var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -centre * scale if bias is None else bias - centre * scale
    return input * _per_channel(scale, input.ndim) + _per_channel(shift, input.ndim)


@op
@computes_in_single
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 of each channel, then scale and shift (Ioffe and Szegedy 2015).

    Args:
        input: (N, C, *).
        running_mean: (C,); in training it is moved towards the batch's, in place.
        running_var: (C,); likewise, towards the unbiased variance.
        weight: the scale, (C,).
        bias: the shift, (C,).
        training: use the batch's statistics, not the running ones.
        momentum: the part of the batch in the running statistics.
        eps: added to the variance.

    Raises:
        ValueError: training with one value a channel.
        RuntimeError: a vector is not of C elements, or not training without running statistics.
    """
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected at least 2D input, given {input.ndim}D")
    shape = tuple(input.shape)
    _check_channels(
        input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if not training:
        return _with_running(input, running_mean, running_var, weight, bias, eps)
    _check_several(shape)
    scaled, centre, var = _standardize(input, (0, *range(2, input.ndim)), eps)
    if input.numel():
        count = input.numel() // shape[1]
        _update(running_mean, centre, momentum)
        _update(running_var, var * (count / (count - 1)), momentum)
    return _affine(scaled, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))


def _check_several(shape: tuple[int, ...]) -> None:
    if shape[0] * prod(shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {list(shape)}"
        )


@op
@computes_in_single
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 of each channel of each instance (Ulyanov et al. 2016).

    Args:
        input: (N, C, *).
        running_mean: (C,); with `use_input_stats` it is moved towards the instances' mean, in place.
        running_var: (C,); likewise.
        weight: the scale, (C,).
        bias: the shift, (C,).
        use_input_stats: use the statistics of each instance, not the running ones.
        momentum: the part of the instances in the running statistics.
        eps: added to the variance.
    """
    _check_channels(
        input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if not use_input_stats:
        return _with_running(input, running_mean, running_var, weight, bias, eps)
    count = prod(input.shape[2:])
    if count == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"{list(input.shape)}"
        )
    scaled, centre, var = _standardize(input, tuple(range(2, input.ndim)), eps)
    if input.numel():
        _update(running_mean, mean(centre, 0), momentum)
        _update(running_var, mean(var, 0) * (count / (count - 1)), momentum)
    return _affine(scaled, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))


@op
@computes_in_single
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 of each group of channels of each instance (Wu and He 2018).

    Args:
        input: (N, C, *), with C divisible by `num_groups`.
        num_groups: how many groups of neighbouring channels.
        weight: (C,).
        bias: (C,).
        eps: added to the variance.
    """
    if input.ndim < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    shape = tuple(input.shape)
    n, c = shape[:2]
    if num_groups < 1 or c % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(shape)} and num_groups={num_groups}"
        )
    _check_several((n * c // num_groups, num_groups, *shape[2:]))
    _check_channels(input, weight=weight, bias=bias)
    grouped = reshape(input, (n, num_groups, c // num_groups * prod(shape[2:])))
    scaled = reshape(_standardize(grouped, (2,), eps)[0], shape)
    return _affine(scaled, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))


@op
def normalize(input: Tensor, p: float = 2.0, dim: int | Dims = 1, eps: float = 1e-12) -> Tensor:
    """`input` divided by its p-norm along `dim`, or by `eps` where that is larger."""
    return input / clamp_min(input.norm(p, dim, True), eps)


@op
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """`input` divided by a power of the mean square of `size` neighbouring channels.

    Source: Krizhevsky et al. 2012, section 3.3.

    Args:
        input: (N, C, *) of at least three dims.
        size: how many channels.
        alpha: the factor of the mean square.
        beta: the power.
        k: added to the mean square times `alpha`.
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    if input.numel() == 0:
        return input
    margins = tuple((size // 2, (size - 1) // 2) if d == 1 else (0, 0) for d in range(input.ndim))
    padded = call2(p.pad, input * input, 0, (margins,))
    power = sum(padded.unfold(1, size, 1), -1) / size
    return input / (power * alpha + k) ** beta
