"""Convolutions of one to three spatial dims, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call2, defvjp, op
from tensorgl.ops.geometry import Sizes, each_dim
from tensorgl.ops.movement import reshape, squeeze, unsqueeze

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

Tensor = Any


@op
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Slide `weight`, (O, C / groups, K), over the last dim of `input`, (N, C, L) or (C, L).

    See `conv2d`.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@op
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Slide `weight` over the last two dims of `input`, a cross-correlation.

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, KH, KW).
        bias: (O), added to every position.
        stride: how far windows lie apart.
        padding: zeros on both sides; or "valid" for none, "same" for as many positions as places.
        dilation: how far the taps of a window lie apart.
        groups: cut channels into so many parts, each with outputs of its own.

    Returns:
        (N, O, *positions), where `positions = (size + 2 padding - dilation (k - 1) - 1) // stride + 1`.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or a window is greater than the padded input.
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@op
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Slide `weight`, (O, C / groups, KD, KH, KW), over the last three dims of `input`.

    The input is (N, C, D, H, W) or (C, D, H, W). See `conv2d`.
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@op
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv1d`; see `conv_transpose2d`."""
    name = "conv_transpose1d"
    sizes = (stride, padding, output_padding, dilation)
    return _conv_transpose(name, 1, input, weight, bias, sizes, groups)


@op
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv2d` with the same weight: spreads every element over a window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (C, O / groups, KH, KW).
        bias: (O), added to every place of the result.
        stride: how far windows lie apart in the result.
        padding: how much to cut off the result on both sides.
        output_padding: how much more of the result to keep at its end, of what `stride` leaves open.
        groups: cut channels into so many parts, each with outputs of its own.
        dilation: how far the taps of a window lie apart.

    Returns:
        (N, O, *size), where
        `size = (positions - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1`.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or nothing would be left.
    """
    name = "conv_transpose2d"
    sizes = (stride, padding, output_padding, dilation)
    return _conv_transpose(name, 2, input, weight, bias, sizes, groups)


@op
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv3d`; see `conv_transpose2d`."""
    name = "conv_transpose3d"
    sizes = (stride, padding, output_padding, dilation)
    return _conv_transpose(name, 3, input, weight, bias, sizes, groups)


defvjp(
    p.conv,
    input=lambda g, weight, shape, stride, padding, dilation, groups: _conv_input(
        g, weight, tuple(shape[2:]), stride, padding, dilation, groups
    ),
    weight=lambda g, input, shape, stride, padding, dilation, groups: _conv_weight(
        g, input, tuple(shape[2:]), stride, padding, dilation, groups
    ),
)
defvjp(
    p.conv_input,
    grad=lambda g, weight, stride, padding, dilation, groups: call2(
        p.conv, g, weight, (stride, padding, dilation, groups)
    ),
    weight=lambda g, grad, shape, stride, padding, dilation, groups: _conv_weight(
        grad, g, tuple(shape[2:]), stride, padding, dilation, groups
    ),
)
defvjp(
    p.conv_weight,
    grad=lambda g, input, stride, padding, dilation, groups: call2(
        p.conv, input, g, (stride, padding, dilation, groups)
    ),
    input=lambda g, grad, shape, stride, padding, dilation, groups: _conv_input(
        grad, g, tuple(shape[2:]), stride, padding, dilation, groups
    ),
)


def _conv_input(grad: Tensor, weight: Tensor, *params: Any) -> Tensor:
    return call2(p.conv_input, grad, weight, params)


def _conv_weight(grad: Tensor, input: Tensor, *params: Any) -> Tensor:
    return call2(p.conv_weight, grad, input, params)


def _conv(
    name: str,
    nd: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    strides = each_dim(name, "stride", stride, nd, 1)
    dilations = each_dim(name, "dilation", dilation, nd, 1)
    if isinstance(padding, str):
        _check(name, nd, input, weight, bias, groups, weight.shape[0])
        pairs = _named_padding(name, padding, weight.shape[2:], strides, dilations)
    else:
        pairs = tuple((n, n) for n in each_dim(name, "padding", padding, nd, 0))
        _check(name, nd, input, weight, bias, groups, weight.shape[0])
    batch = input if input.ndim == nd + 2 else unsqueeze(input, 0)
    out = call2(p.conv, batch, weight, (strides, pairs, dilations, groups))
    return _finished(out, bias, batched=batch is input)


def _conv_transpose(
    name: str,
    nd: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[Sizes, Sizes, Sizes, Sizes],
    groups: int,
) -> Tensor:
    names = (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1))
    strides, cut, extra, dilations = (
        each_dim(name, what, value, nd, least)
        for (what, least), value in zip(names, sizes, strict=True)
    )
    _check(name, nd, input, weight, bias, groups, weight.shape[1] * groups)
    for e, s, d in zip(extra, strides, dilations, strict=True):
        if e >= max(s, d):
            raise RuntimeError(
                f"{name}: output padding must be smaller than either stride or dilation, but got "
                f"output_padding={extra}, stride={strides}, dilation={dilations}"
            )
    batch = input if input.ndim == nd + 2 else unsqueeze(input, 0)
    size = tuple(
        (n - 1) * s - 2 * c + d * (k - 1) + e + 1
        for n, s, c, d, k, e in zip(
            batch.shape[2:], strides, cut, dilations, weight.shape[2:], extra, strict=True
        )
    )
    if min(size) < 1:
        raise RuntimeError(
            f"{name}: given input size per channel {tuple(batch.shape[2:])}, calculated output size per "
            f"channel {size}; output size is too small"
        )
    # No window reaches the extra places, so that the convolution back has as many positions again.
    pairs = tuple((c, c - e) for c, e in zip(cut, extra, strict=True))
    out = _conv_input(batch, weight, size, strides, pairs, dilations, groups)
    return _finished(out, bias, batched=batch is input)


def _finished(out: Tensor, bias: Tensor | None, batched: bool) -> Tensor:
    """A convolution's result with its bias, and without the batch dim if the input had none."""
    if bias is not None:
        out = out + reshape(bias, (-1, *(1,) * (out.ndim - 2)))
    return out if batched else squeeze(out, 0)


def _named_padding(
    name: str, padding: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise RuntimeError(
            f"{name}: Invalid padding string: '{padding}'; expected 'same' or 'valid'"
        )
    if max(stride) > 1:
        raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


def _check(
    name: str,
    nd: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    groups: int,
    outputs: int,
) -> None:
    """What the primitives do not check: dims, groups and bias."""
    if input.ndim not in (nd + 1, nd + 2):
        raise RuntimeError(
            f"Expected {nd + 1}D (unbatched) or {nd + 2}D (batched) input to {name}, but got input of "
            f"size: {list(input.shape)}"
        )
    if weight.ndim != nd + 2:
        raise RuntimeError(
            f"{name}: expected a {nd + 2}-D weight, but got weight of size {list(weight.shape)}"
        )
    if groups < 1:
        raise RuntimeError(f"{name}: non-positive groups is not supported, but got groups={groups}")
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise RuntimeError(
            f"{name}: Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional "
            f"with {outputs} elements, but got bias of size {list(bias.shape)} instead"
        )
    if bias is not None and bias.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: Input type ({input.dtype.name}) and bias type ({bias.dtype.name}) should be the "
            "same; cast one with .to(dtype)"
        )
