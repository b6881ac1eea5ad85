"""Average and power-average pooling: sums of windows, divided by how many elements they see."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, defvjp, op
from tensorgl.dtypes import bool as bool_
from tensorgl.ops.arithmetic import div, maximum, minimum
from tensorgl.ops.geometry import Geometry, Shape, Sizes, each_dim, pool_geometry
from tensorgl.ops.movement import reshape
from tensorgl.ops.support import positions

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
]

Tensor = Any


defvjp(
    p.pool_sum,
    input=lambda g, shape, kernel, stride, padding, dilation: call1(
        p.pool_spread, g, (tuple(shape[-len(kernel) :]), kernel, stride, padding, dilation)
    ),
)
defvjp(
    p.pool_spread,
    grad=lambda g, kernel, stride, padding, dilation: call1(
        p.pool_sum, g, (kernel, stride, padding, dilation)
    ),
)


@op
def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); see `avg_pool2d`."""
    sizes = (kernel_size, stride, padding)
    return _avg_pool("avg_pool1d", 1, input, sizes, ceil_mode, count_include_pad, None)


@op
def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W) or (C, H, W).

    Args:
        input: what to pool.
        kernel_size: how many elements a window has along each dim.
        stride: how far windows lie apart; default: `kernel_size`.
        padding: zeros on both sides; at most half of a window.
        ceil_mode: let a last window reach past the end; what lies beyond the padding is not counted.
        count_include_pad: count the padding among the elements of a window.
        divisor_override: divide by this instead of by the count.

    Raises:
        RuntimeError: the sizes do not fit the dims, the input or each other; the divisor is 0.
    """
    sizes = (kernel_size, stride, padding)
    return _avg_pool("avg_pool2d", 2, input, sizes, ceil_mode, count_include_pad, divisor_override)


@op
def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`."""
    sizes = (kernel_size, stride, padding)
    return _avg_pool("avg_pool3d", 3, input, sizes, ceil_mode, count_include_pad, divisor_override)


def _avg_pool(
    name: str,
    nd: int,
    input: Tensor,
    sizes: tuple[Sizes, Sizes | None, Sizes],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    if input.dtype is bool_:
        raise NotImplementedError(f"{name}: not implemented for 'Bool'; cast with .float()")
    if divisor_override == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    geometry = pool_geometry(name, input, *sizes, 1, ceil_mode, nd)
    total = call1(p.pool_sum, input, geometry)
    count = divisor_override
    if count is None:
        count = _count(total, tuple(input.shape[-nd:]), geometry, count_include_pad)
    return div(total, count, rounding_mode=None if input.is_floating_point() else "trunc")


def _count(total: Tensor, size: Shape, geometry: Geometry, with_padding: bool) -> Any:
    """How many elements each window sees: a number where all see the same."""
    count: Any = 1
    nd = len(size)
    for dim, (n, k, s, (pad, after)) in enumerate(zip(size, *geometry[:3], strict=True)):
        low, high = (-pad, n + pad) if with_padding else (0, n)
        if after <= pad and (with_padding or pad == 0):
            count = count * k
        else:
            start = positions(total.shape[dim - nd], total.device) * s - pad
            inside = minimum(start + k, high) - maximum(start, low)
            count = count * reshape(inside, (-1, *(1,) * (nd - 1 - dim)))
    return count


@op
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """`(sum of x ** norm_type) ** (1 / norm_type)` of each window of (N, C, L) or (C, L)."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


@op
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """`(sum of x ** norm_type) ** (1 / norm_type)` of each window of (N, C, H, W) or (C, H, W)."""
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


@op
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """`(sum of x ** norm_type) ** (1 / norm_type)` of each window of the last three dims."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    name: str,
    nd: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
) -> Tensor:
    # A mean times the full count, so that a window cut short at the end counts as a full one.
    mean = _avg_pool(name, nd, input**norm_type, (kernel_size, stride, 0), ceil_mode, True, None)
    for k in each_dim(name, "kernel_size", kernel_size, nd, 1):
        mean = mean * k
    return (mean.sign() * mean.abs().relu()) ** (1.0 / norm_type)
