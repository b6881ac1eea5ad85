"""Max pooling, and putting the maxima back.

A window's maximum is found as the number of a tap, so that gradients are moved, not computed, and a
gradient of any order is a `pool_put` or a `pool_take`. Nothing but the input is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, call2, defvjp, op
from tensorgl.dtypes import bool as bool_
from tensorgl.dtypes import int64
from tensorgl.ops.gathering import scatter
from tensorgl.ops.geometry import Geometry, Shape, Sizes, each_dim, pool_geometry
from tensorgl.ops.movement import reshape
from tensorgl.ops.support import positions

__all__ = [
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

Tensor = Any


defvjp(
    p.pool_max,
    input=lambda g, input, kernel, stride, padding, dilation: _max_backward(
        g, input, (kernel, stride, padding, dilation)
    ),
)
defvjp(
    p.pool_take,
    input=lambda g, taps, shape, kernel, stride, padding, dilation: _put(
        g, taps, shape, (kernel, stride, padding, dilation)
    ),
)
defvjp(
    p.pool_put,
    grad=lambda g, taps, kernel, stride, padding, dilation: call2(
        p.pool_take, g, taps, (kernel, stride, padding, dilation)
    ),
)


def _max_backward(g: Tensor, input: Tensor, geometry: Geometry) -> Tensor:
    return _put(g, call1(p.pool_argmax, input, geometry), input.shape, geometry)


def _put(g: Tensor, taps: Tensor, shape: Shape, geometry: Geometry) -> Tensor:
    size = tuple(shape[-len(geometry[0]) :])
    return call2(p.pool_put, g, taps, (size, *geometry))


@op
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of (N, C, L) or (C, L); see `max_pool2d`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool("max_pool1d", 1, input, sizes, ceil_mode, return_indices)


@op
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` with `return_indices=True`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool("max_pool1d", 1, input, sizes, ceil_mode, True)


@op
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of (N, C, H, W) or (C, H, W).

    NaN counts as the greatest. The gradient goes to the first of equal maxima.

    Args:
        input: what to pool.
        kernel_size: how many taps a window has along each dim.
        stride: how far windows lie apart; default: `kernel_size`.
        padding: places on both sides that are less than any value; at most half of a window.
        dilation: how far the taps of a window lie apart.
        ceil_mode: let a last window reach past the end.
        return_indices: also give the place of each maximum, flat in H times W, as `max_unpool2d` takes.

    Raises:
        RuntimeError: the sizes do not fit the dims, the input or each other.
    """
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool("max_pool2d", 2, input, sizes, ceil_mode, return_indices)


@op
def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` with `return_indices=True`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool("max_pool2d", 2, input, sizes, ceil_mode, True)


@op
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W); see `max_pool2d`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool("max_pool3d", 3, input, sizes, ceil_mode, return_indices)


@op
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool3d` with `return_indices=True`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool("max_pool3d", 3, input, sizes, ceil_mode, True)


def _max_pool(
    name: str,
    nd: int,
    input: Tensor,
    sizes: tuple[Sizes, Sizes | None, Sizes, Sizes],
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    if input.dtype is bool_:
        raise NotImplementedError(f"{name}: not implemented for 'Bool'; cast with .float()")
    geometry = pool_geometry(name, input, *sizes, ceil_mode, nd)
    values = call1(p.pool_max, input, geometry)
    if not return_indices:
        return values
    taps = call1(p.pool_argmax, input, geometry)
    return values, _places(taps, tuple(input.shape[-nd:]), geometry)


def _places(taps: Tensor, size: Shape, geometry: Geometry) -> Tensor:
    """Where the numbered taps of all windows lie, flat in the input's last dims."""
    kernel, stride, padding, dilation = geometry
    rest: Any = call1(p.cast, taps, (int64,))
    places: Any = 0
    for dim in reversed(range(len(kernel))):
        after = len(kernel) - 1 - dim
        windows = reshape(positions(taps.shape[-1 - after], taps.device), (-1, *(1,) * after))
        along = windows * stride[dim] - padding[dim][0] + rest % kernel[dim] * dilation[dim]
        places = along * prod(size[dim + 1 :]) + places
        rest = rest // kernel[dim]
    return places


@op
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put the results of `max_pool1d` back to where they came from; see `max_unpool2d`."""
    sizes = (kernel_size, stride, padding)
    return _max_unpool("max_unpool1d", 1, input, indices, sizes, output_size)


@op
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put the results of `max_pool2d` back to where they came from, with zeros elsewhere.

    Args:
        input: (N, C, H, W) or (C, H, W).
        indices: their places, flat in the result's last dims, of `input`'s shape.
        kernel_size: as for `max_pool2d`; with stride and padding it gives the usual size.
        stride: default: `kernel_size`.
        padding: as for `max_pool2d`.
        output_size: the size to give instead, less than a stride away from the usual one.

    Raises:
        ValueError: `output_size` is too far from the usual size, or of the wrong length.
        RuntimeError: the indices have another shape or dtype, or lie outside.
    """
    sizes = (kernel_size, stride, padding)
    return _max_unpool("max_unpool2d", 2, input, indices, sizes, output_size)


@op
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put the results of `max_pool3d` back to where they came from; see `max_unpool2d`."""
    sizes = (kernel_size, stride, padding)
    return _max_unpool("max_unpool3d", 3, input, indices, sizes, output_size)


def _max_unpool(
    name: str,
    nd: int,
    input: Tensor,
    indices: Tensor,
    sizes: tuple[Sizes, Sizes | None, Sizes],
    output_size: Sequence[int] | None,
) -> Tensor:
    if indices.dtype is not int64:
        raise RuntimeError(
            f"{name}: elements in indices should be type int64 but got: {indices.dtype.name}"
        )
    if indices.shape != input.shape or input.ndim not in (nd + 1, nd + 2):
        raise RuntimeError(
            f"{name}: expected a {nd + 1}D or {nd + 2}D input and indices of its shape, but got "
            f"{list(input.shape)} and {list(indices.shape)}"
        )
    size = _unpooled_size(name, nd, input, sizes, output_size)
    lead = tuple(input.shape[:-nd])
    flat = (*lead, prod(input.shape[-nd:]))
    zeros = input.new_zeros((*lead, prod(size)))
    out = scatter(zeros, -1, reshape(indices, flat), reshape(input, flat))
    return reshape(out, (*lead, *size))


def _unpooled_size(
    name: str,
    nd: int,
    input: Tensor,
    sizes: tuple[Sizes, Sizes | None, Sizes],
    output_size: Sequence[int] | None,
) -> Shape:
    kernel = each_dim(name, "kernel_size", sizes[0], nd, 1)
    stride = kernel if sizes[1] is None else each_dim(name, "stride", sizes[1], nd, 1)
    padding = each_dim(name, "padding", sizes[2], nd, 0)
    usual = tuple(
        (n - 1) * s + k - 2 * c
        for n, s, k, c in zip(input.shape[-nd:], stride, kernel, padding, strict=True)
    )
    if output_size is None:
        return usual
    size = tuple(output_size)[2 if len(output_size) == nd + 2 else 0 :]
    if len(size) != nd:
        raise ValueError(
            f"{name}: output_size should be a sequence containing {nd} or {nd + 2} elements, but it has "
            f"a length of '{len(output_size)}'"
        )
    for dim, (n, u, s) in enumerate(zip(size, usual, stride, strict=True)):
        if not u - s < n < u + s:
            raise ValueError(
                f'{name}: invalid output_size "{size}" (dim {dim} must be between {u - s} and {u + s})'
            )
    return size
