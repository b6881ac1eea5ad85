"""Images as patches and back: unfold, fold, pixel_shuffle, pixel_unshuffle, channel_shuffle."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, op
from tensorgl.ops import slicing
from tensorgl.ops.geometry import Shape, Sizes, each_dim
from tensorgl.ops.movement import padded, permute, reshape, sliced, squeeze, unsqueeze

__all__ = ["channel_shuffle", "fold", "pixel_shuffle", "pixel_unshuffle", "unfold"]

Tensor = Any


@op("nn.functional.unfold")
def unfold(
    input: Tensor,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Every window of (N, C, H, W) or (C, H, W) as a column: (N, C * taps, windows).

    Raises:
        RuntimeError: the input has other dims, or a window is greater than the padded input.
    """
    kernel, dilations, pads, strides = _sizes("unfold", kernel_size, dilation, padding, stride)
    batch = _batch("unfold", input, 4)
    n, c, *size = batch.shape
    windows = _windows("unfold", tuple(size), kernel, dilations, pads, strides)
    out = padded(batch, ((0, 0), (0, 0), *((k, k) for k in pads)))
    for dim in (0, 1):
        reach = dilations[dim] * (kernel[dim] - 1) + 1
        out = slicing.unfold(out, 2 + dim, reach, strides[dim])
    out = sliced(out, (0,) * 6, tuple(out.shape), (1, 1, 1, 1, *dilations))
    out = permute(out, (0, 1, 4, 5, 2, 3))
    out = reshape(out, (n, c * kernel[0] * kernel[1], windows[0] * windows[1]))
    return out if batch is input else squeeze(out, 0)


@op
def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """The adjoint of `unfold`: columns (N, C * taps, windows) added up to (N, C, *output_size).

    Raises:
        RuntimeError: the input has other dims, or does not fit the windows that there would be.
    """
    kernel, dilations, pads, strides = _sizes("fold", kernel_size, dilation, padding, stride)
    size = each_dim("fold", "output_size", output_size, 2, 1)
    batch = _batch("fold", input, 3)
    n, depth, count = batch.shape
    windows = _windows("fold", size, kernel, dilations, pads, strides)
    taps = kernel[0] * kernel[1]
    if depth % taps:
        raise RuntimeError(
            "fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={depth} and kernel_size={kernel}"
        )
    if count != windows[0] * windows[1]:
        raise RuntimeError(
            f"fold: Given output_size={size}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {windows[0]} * {windows[1]}, but got "
            f"input.size(2)={count}"
        )
    out = reshape(batch, (n, depth // taps, *kernel, *windows))
    out = permute(out, (0, 1, 4, 5, 2, 3))
    for dim in (1, 0):  # windows of the last dim first: they are behind the others
        step = dilations[dim]
        if step > 1 and kernel[dim] > 1:
            reach = step * (kernel[dim] - 1) + 1
            shape = list(out.shape)
            shape[-1 if dim else 4] = reach
            out = slicing.slice_scatter(out.new_zeros(shape), out, -1 if dim else 4, step=step)
        length = size[dim] + 2 * pads[dim]
        out = call1(p.unfold_backward, out, (2 + dim, length, strides[dim]))
    starts = (0, 0, *pads)
    stops = (n, depth // taps, *(k + m for k, m in zip(pads, size, strict=True)))
    out = sliced(out, starts, stops, (1, 1, 1, 1))
    return out if batch is input else squeeze(out, 0)


def _sizes(
    name: str, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> tuple[Shape, Shape, Shape, Shape]:
    return (
        each_dim(name, "kernel_size", kernel_size, 2, 1),
        each_dim(name, "dilation", dilation, 2, 1),
        each_dim(name, "padding", padding, 2, 0),
        each_dim(name, "stride", stride, 2, 1),
    )


def _batch(name: str, input: Tensor, ndim: int) -> Tensor:
    """The input with a batch dim."""
    if input.ndim not in (ndim - 1, ndim) or 0 in input.shape[1 - ndim :]:
        raise RuntimeError(
            f"{name}: Expected {ndim - 1}D or {ndim}D (batch mode) tensor with possibly 0 batch size "
            f"and other non-zero dimensions for input, but got: {list(input.shape)}"
        )
    return input if input.ndim == ndim else unsqueeze(input, 0)


def _windows(
    name: str, size: Shape, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape
) -> Shape:
    """How many windows there are along each dim."""
    counts = tuple(
        (n + 2 * c - d * (k - 1) - 1) // s + 1
        for n, k, d, c, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )
    if min(counts) < 1:
        raise RuntimeError(
            f"{name}: Given spatial size {size}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, calculated shape of the array of sliding blocks as {counts}, but its "
            "components must be at least one."
        )
    return counts


@op
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r r, H, W) to (*, C, H r, W r), where r is `upscale_factor`.

    Source: Shi et al. 2016, Real-time single image and video super-resolution.
    """
    r = _factor("pixel_shuffle", input, "upscale_factor", upscale_factor)
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    k = len(lead)
    out = reshape(input, (*lead, c // (r * r), r, r, h, w))
    out = permute(out, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(out, (*lead, c // (r * r), h * r, w * r))


@op
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) to (*, C r r, H, W): the inverse of `pixel_shuffle`."""
    r = _factor("pixel_unshuffle", input, "downscale_factor", downscale_factor)
    *lead, c, h, w = input.shape
    for what, n in (("height", h), ("width", w)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but {n} is not "
                f"divisible by {r}"
            )
    k = len(lead)
    out = reshape(input, (*lead, c, h // r, r, w // r, r))
    out = permute(out, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(out, (*lead, c * r * r, h // r, w // r))


def _factor(name: str, input: Tensor, what: str, factor: int) -> int:
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} "
            "dimension(s)"
        )
    if factor < 1:
        raise RuntimeError(f"{name} expects a positive {what}, but got {factor}")
    return factor


@op
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *size), in `groups` runs, dealt out one of each run in turn.

    Source: Zhang et al. 2018, ShuffleNet.
    """
    if input.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        )
    n, c, *size = input.shape
    if groups < 1 or c % groups:
        raise RuntimeError(
            f"channel_shuffle: Number of channels must be divisible by groups. Got {c} channels and "
            f"{groups} groups."
        )
    out = reshape(input, (n, groups, c // groups, *size))
    return reshape(permute(out, (0, 2, 1, *range(3, out.ndim))), tuple(input.shape))
