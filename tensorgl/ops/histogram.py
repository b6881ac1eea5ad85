"""Counts of values in bins. They depend on values in ways that only the host can follow."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from tensorgl import dtypes, return_types
from tensorgl.autograd.graph import TensorBase
from tensorgl.dispatch import from_host, op, to_host

__all__ = ["bincount", "histc", "histogram"]

Tensor = Any


@op
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 to the greatest occurs, or the sum of its weights.

    Args:
        input: 1-D, integers from 0 on.
        weights: what each element counts; float32 and float64 give their own dtype, others float64.
        minlength: the least size of the result.

    Raises:
        RuntimeError: the input is not 1-D, not integer or negative, or weights differ in shape.
    """
    if input.dtype.is_floating_point or input.dtype is dtypes.bool:
        raise NotImplementedError(
            f"bincount(): not implemented for '{input.dtype.title}'; cast it with .long()"
        )
    values = to_host(input)
    if input.ndim != 1 or (values.size and values.min() < 0):
        raise RuntimeError(
            f"bincount only supports 1-d non-negative integral inputs, given shape {tuple(input.shape)}"
        )
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, given {minlength}")
    if weights is None or not values.size:
        return from_host(np.bincount(values, None, minlength), dtypes.int64, input.device)
    if weights.shape != input.shape:
        raise RuntimeError(
            f"weights should be 1-d and have the same length as input, given {tuple(weights.shape)} for "
            f"{tuple(input.shape)}"
        )
    kind = dtypes.float32 if weights.dtype is dtypes.float32 else dtypes.float64
    totals = np.bincount(values, to_host(weights), minlength)
    return from_host(totals.astype(kind.name), kind, input.device)


@op
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal bins from `min` to `max`; others do not count.

    Where `min` equals `max`, both are taken from the input.

    Raises:
        RuntimeError: no bins, or no finite range.
    """
    kind = input.dtype
    if not kind.is_floating_point:
        raise NotImplementedError(
            f"histc(): not implemented for '{kind.title}'; cast the input with .float()"
        )
    if bins <= 0:
        raise RuntimeError(f"bins must be > 0, given {bins}")
    values = to_host(input).reshape(-1)
    low, high = _range(values, min, max, 1)
    values = values[(values >= low) & (values <= high)]
    place = ((values - low) * (bins / (high - low))).astype(np.int64)
    counts = np.bincount(np.minimum(place, bins - 1), None, bins)
    return from_host(counts.astype(kind.name), kind, input.device)


def _range(values: Any, low: float, high: float, margin: float) -> tuple[float, float]:
    """From `low` to `high`, or that of the values if they are equal; `margin` widens no range."""
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - margin, high + margin
    if not (isfinite(low) and isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite; give min and max")
    if low > high:
        raise RuntimeError(f"max must be larger than min, given min={low} and max={high}")
    return low, high


@op
def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.histogram:
    """`(hist, bin_edges)` of all elements.

    Args:
        input: a floating-point tensor of any shape.
        bins: how many equal bins, or their edges in ascending order, a 1-D tensor.
        range: of equal bins; default: that of the input.
        weight: what each element counts, of the input's shape.
        density: divide, so that the integral over the bins is 1.

    Raises:
        RuntimeError: no floating-point tensor, or weights or edges do not fit.
    """
    kind = input.dtype
    if not kind.is_floating_point:
        raise NotImplementedError(
            f"histogram(): not implemented for '{kind.title}'; cast the input with .float()"
        )
    if weight is not None and (weight.shape != input.shape or weight.dtype is not kind):
        raise RuntimeError(
            "histogram(): if weight tensor is provided it should have the same shape and dtype as the "
            f"input tensor, given {weight.dtype.name}{list(weight.shape)}"
        )
    values = to_host(input).reshape(-1)
    weights = None if weight is None else to_host(weight).reshape(-1)
    if isinstance(bins, TensorBase):
        edges = to_host(bins)
    else:
        default = (0, 0) if values.size else (0, 1)
        low, high = _range(values, *(range or default), 0.5)
        edges = np.linspace(low, high, bins + 1, dtype=kind.name)
    count = len(edges) - 1
    inside = (values >= edges[0]) & (values <= edges[-1])
    place = np.searchsorted(edges, values[inside], "right") - 1  # the last bin has both its edges
    weights = None if weights is None else weights[inside]
    counts = np.bincount(np.minimum(place, count - 1), weights, count)
    if density:
        counts = counts / counts.sum() / np.diff(edges)
    hist = from_host(counts.astype(kind.name), kind, input.device)
    return return_types.histogram(hist, from_host(np.array(edges), kind, input.device))
