"""What ops with sliding windows share: sizes given once or for each dim, and how far windows reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Geometry", "Shape", "Sizes", "check_dims", "each_dim", "pool_geometry"]

Tensor = Any
Sizes = int | Sequence[int]
Shape = tuple[int, ...]
Geometry = tuple[Shape, Shape, tuple[tuple[int, int], ...], Shape]


def each_dim(name: str, what: str, value: Sizes, nd: int, least: int) -> Shape:
    """One number for each of `nd` dims, from an int or a sequence of one or `nd` ints.

    Raises:
        RuntimeError: there are others than one or `nd` numbers, or one of them is below `least`.
    """
    numbers = tuple(value) if isinstance(value, Sequence) else (value,)
    if len(numbers) == 1:
        numbers *= nd
    if len(numbers) != nd:
        raise RuntimeError(
            f"{name}: expected {what} to be a single integer value or a list of {nd} values to match "
            f"the spatial dimensions, but got {what}={list(numbers)}"
        )
    numbers = tuple(n if type(n) is int else n.__index__() for n in numbers)
    if min(numbers) < least:
        raise RuntimeError(f"{name}: {what} must be at least {least}, but got {what}={numbers}")
    return numbers


def check_dims(name: str, input: Tensor, nd: int) -> None:
    """That `input` is (N, C, *size) or (C, *size) with `nd` sizes, and not empty but for N.

    Raises:
        RuntimeError: it is not.
    """
    shape = tuple(input.shape)
    if len(shape) not in (nd + 1, nd + 2) or 0 in shape[-nd - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {nd + 1}D or {nd + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got: {list(shape)}"
        )


def pool_geometry(
    name: str,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    nd: int,
) -> Geometry:
    """The parameters of a pooling primitive: kernel, stride, padding pairs and dilation.

    With `ceil_mode` a last window that starts inside the input or the padding before it may reach
    past the end, which the padding after makes room for.

    Raises:
        RuntimeError: the sizes do not fit the dims, the input or each other.
    """
    kernel = each_dim(name, "kernel_size", kernel_size, nd, 1)
    if stride is None or (isinstance(stride, Sequence) and not stride):
        strides = kernel
    else:
        strides = each_dim(name, "stride", stride, nd, 1)
    pads = each_dim(name, "padding", padding, nd, 0)
    dilations = each_dim(name, "dilation", dilation, nd, 1)
    check_dims(name, input, nd)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise RuntimeError(
            f"{name}: pad should be at most half of effective kernel size, but got pad={pads}, "
            f"kernel_size={kernel} and dilation={dilations}"
        )
    pairs, windows = [], []
    for n, k, s, p, d in zip(input.shape[-nd:], kernel, strides, pads, dilations, strict=True):
        reach = d * (k - 1) + 1
        count = (n + 2 * p - reach) // s + 1
        after = p
        if ceil_mode and count * s < n + p and (n + 2 * p - reach) % s:
            after = count * s + reach - n - p
            count += 1
        pairs.append((p, after))
        windows.append(count)
    if min(windows) < 1:
        raise RuntimeError(
            f"{name}: Given input size: {tuple(input.shape[-nd:])}. Calculated output size: "
            f"{tuple(windows)}. Output size is too small"
        )
    return kernel, strides, tuple(pairs), dilations
