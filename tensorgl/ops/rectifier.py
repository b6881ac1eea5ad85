"""Activations of straight pieces: relu and its kin. Gradients at their kinks are PyTorch's."""

from __future__ import annotations

from typing import Any

from tensorgl.dispatch import differentiable, op
from tensorgl.inplace import inplace
from tensorgl.ops.comparison import where
from tensorgl.ops.movement import reshape
from tensorgl.ops.rounding import clamp, clamp_min
from tensorgl.ops.sampling import uniform
from tensorgl.ops.support import computes_in_single, dtype_of, float_only, overwrite

__all__ = [
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "softshrink",
    "threshold",
    "threshold_",
]

Tensor = Any


@differentiable(input=lambda g, out: where(out <= 0, 0, g))
def _relu(input: Tensor) -> Tensor:
    return clamp_min(input, 0)


@op
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """`max(0, input)`; the gradient at 0 is 0."""
    dtype_of("relu", input)
    return relu_(input) if inplace else _relu(input)


def relu_(input: Tensor) -> Tensor:
    """In-place `relu`."""
    return inplace(input, _relu(input))


def _inside(g: Tensor, input: Tensor, low: float, high: float) -> Tensor:
    """The gradient where `low < input < high`, else 0."""
    return where((input > low).logical_and(input < high), g, 0)


def _numbers_for(name: str, input: Tensor, *numbers: float) -> tuple[float, ...]:
    """The numbers as they are, or as integers for a tensor of integers, which keeps its dtype."""
    floats = dtype_of(name, input).is_floating_point
    return numbers if floats else tuple(int(n) for n in numbers)


@differentiable(input=lambda g, input, min_val, max_val: _inside(g, input, min_val, max_val))
def _hardtanh(input: Tensor, min_val: float, max_val: float) -> Tensor:
    return clamp(input, min_val, max_val)


@op
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """`input` held between two bounds, where its gradient is 0 (that of clamp is 1).

    Raises:
        ValueError: `min_val` is above `max_val`.
    """
    if min_val > max_val:
        raise ValueError(
            f"hardtanh: min_val cannot be greater than max_val, given {min_val} and {max_val}"
        )
    bounds = _numbers_for("hardtanh", input, min_val, max_val)
    if not input.dtype.is_signed and bounds[0] < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return overwrite(input, _hardtanh, *bounds) if inplace else _hardtanh(input, *bounds)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """In-place `hardtanh`."""
    return hardtanh(input, min_val, max_val, inplace=True)


@op
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """`min(max(0, input), 6)`."""
    return hardtanh(input, 0.0, 6.0, inplace)


@computes_in_single
@differentiable(input=lambda g, input: _inside(g, input, -3, 3) / 6)
def _hardsigmoid(input: Tensor) -> Tensor:
    return clamp(input + 3, 0, 6) / 6


@op
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """`relu6(input + 3) / 6`."""
    return overwrite(input, _hardsigmoid) if inplace else _hardsigmoid(input)


def _hardswish_backward(g: Tensor, input: Tensor) -> Tensor:
    return where(input <= -3, 0, where(input < 3, g * (input / 3 + 0.5), g))


@computes_in_single
@differentiable(input=_hardswish_backward)
def _hardswish(input: Tensor) -> Tensor:
    return input * clamp(input + 3, 0, 6) / 6


@op
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * relu6(input + 3) / 6` (Howard et al. 2019, Searching for MobileNetV3)."""
    return overwrite(input, _hardswish) if inplace else _hardswish(input)


@computes_in_single
@differentiable(
    input=lambda g, input, slope: where(input > 0, g, g * slope),
    slope=lambda g, input, slope: where(input > 0, 0, g * input),
)
def _leaky_relu(input: Tensor, slope: float | Tensor) -> Tensor:
    return where(input > 0, input, input * slope)


@op
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`input` where it is positive, else `negative_slope * input`."""
    if inplace:
        return overwrite(input, _leaky_relu, negative_slope)
    return _leaky_relu(input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """In-place `leaky_relu`."""
    return overwrite(input, _leaky_relu, negative_slope)


@op
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with a learnt slope: one for all, or one a channel (dim 1).

    Args:
        input: (N, C, *), or of any shape for a single slope.
        weight: of shape (), (1,) or (channels,).

    Raises:
        RuntimeError: the sizes of weight and channels differ.
    """
    float_only("prelu", input)
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError(
                "prelu: not allowed for a 0-d input and a weight of several elements"
            )
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                f"prelu: Mismatch of parameter numbers and input channel size. Found parameter "
                f"numbers = {weight.numel()} and channel size = {channels}."
            )
        weight = reshape(weight, (-1, *(1,) * (input.ndim - 2)))
    elif weight.ndim:
        weight = reshape(weight, ())
    return _leaky_relu(input, weight)


@op
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """`leaky_relu` with a slope drawn for each element in training, else the mean of the bounds.

    Source: Xu et al. 2015, Empirical Evaluation of Rectified Activations.
    """
    if lower > upper:
        raise RuntimeError(
            "rrelu: Lower bound should be less than or equal to the upper bound, given "
            f"{lower} and {upper}"
        )
    slope: Any = (lower + upper) / 2
    if training:
        slope = uniform(tuple(input.shape), input.dtype, input.device) * (upper - lower) + lower
    return overwrite(input, _leaky_relu, slope) if inplace else _leaky_relu(input, slope)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """In-place `rrelu`."""
    return rrelu(input, lower, upper, training, inplace=True)


@differentiable(input=lambda g, input, threshold: where(input <= threshold, 0, g))
def _threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    return where(input <= threshold, value, input)


@op
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`input` where it is above `threshold`, else `value`."""
    numbers = _numbers_for("threshold", input, threshold, value)
    return overwrite(input, _threshold, *numbers) if inplace else _threshold(input, *numbers)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """In-place `threshold`."""
    return overwrite(input, _threshold, *_numbers_for("threshold_", input, threshold, value))


def _outside(g: Tensor, input: Tensor, lambd: float) -> Tensor:
    """The gradient where `|input|` is above `lambd` (or NaN), else 0."""
    return where(input.abs() <= lambd, 0, g)


@op
@computes_in_single
@differentiable(input=_outside)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`input` where its magnitude is above `lambd`, else 0."""
    return _outside(input, input, lambd)


@differentiable(input=_outside)
def _softshrink(input: Tensor, lambd: float) -> Tensor:
    return input - clamp(input, -lambd, lambd)


@op
@computes_in_single
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`input` moved towards 0 by `lambd`, and 0 where its magnitude is not above it.

    Raises:
        RuntimeError: `lambd` is negative.
    """
    if not lambd >= 0:
        raise RuntimeError(f"softshrink: lambda must be at least 0, but found {lambd}")
    return _softshrink(input, lambd)
