"""Convolutions and transposed convolutions over one, two or three dims."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from tensorgl.creation import empty
from tensorgl.nn import functional as F
from tensorgl.nn import init
from tensorgl.nn.module import Module
from tensorgl.nn.parameter import Parameter
from tensorgl.tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

_Sizes = int | tuple[int, ...]
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _tuple(x: _Sizes, n: int) -> tuple[int, ...]:
    return (x,) * n if isinstance(x, int) else tuple(x)


class _ConvNd(Module):
    """What all convolutions have: their sizes, a weight and a bias.

    Both parameters start as U(-b, b) with b = 1 / sqrt(fan_in).
    """

    dims: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Sizes,
        stride: _Sizes,
        padding: _Sizes | str,
        dilation: _Sizes,
        output_padding: _Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        n = self.dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _tuple(kernel_size, n)
        self.stride = _tuple(stride, n)
        self.padding: Any = padding if isinstance(padding, str) else _tuple(padding, n)
        self.dilation = _tuple(dilation, n)
        self.output_padding = _tuple(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check_padding()
        channels = (
            (in_channels, out_channels // groups)
            if self.transposed
            else (out_channels, in_channels // groups)
        )
        self.weight = Parameter(empty(*channels, *self.kernel_size, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check_padding(self) -> None:
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string '{self.padding}', should be one of 'same', 'valid'"
                )
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, but got "
                f"padding_mode='{self.padding_mode}'"
            )
        if self.transposed and self.padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {self._get_name()}')

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _pad_widths(self) -> list[int]:
        """The padding as `F.pad` wants it: last dim first, before and after."""
        widths: list[int] = []
        for k in reversed(range(self.dims)):
            if isinstance(self.padding, str):
                total = self.dilation[k] * (self.kernel_size[k] - 1) * (self.padding == "same")
                widths += [total // 2, total - total // 2]
            else:
                widths += [self.padding[k]] * 2
        return widths

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        none, one = (0,) * self.dims, (1,) * self.dims
        if self.padding != none:
            text += f", padding={self.padding}"
        if self.dilation != one:
            text += f", dilation={self.dilation}"
        if self.output_padding != none:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Sizes,
        stride: _Sizes = 1,
        padding: _Sizes | str = 0,
        dilation: _Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _convolve(self, function: Any, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._pad_widths(), mode=self.padding_mode)
            padding = 0
        return function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_Conv):
    """Convolution of (N, C, L): `weight` is (out_channels, in_channels / groups, kernel)."""

    dims = 1

    def forward(self, input: Tensor) -> Tensor:
        return self._convolve(F.conv1d, input)


class Conv2d(_Conv):
    """Convolution of (N, C, H, W): `weight` is (out_channels, in_channels / groups, *kernel)."""

    dims = 2

    def forward(self, input: Tensor) -> Tensor:
        return self._convolve(F.conv2d, input)


class Conv3d(_Conv):
    """Convolution of (N, C, D, H, W): `weight` is (out_channels, in_channels / groups, *kernel)."""

    dims = 3

    def forward(self, input: Tensor) -> Tensor:
        return self._convolve(F.conv3d, input)


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Sizes,
        stride: _Sizes = 1,
        padding: _Sizes = 0,
        output_padding: _Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: _Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _convolve(self, function: Any, input: Tensor, output_size: Any) -> Tensor:
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(input, tuple(output_size))
        return function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _padding_for(self, input: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The `output_padding` that gives a result of `output_size`."""
        n = self.dims
        lead = input.ndim - n
        if len(output_size) == lead + n:
            output_size = output_size[lead:]
        if len(output_size) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.ndim}D input, output_size must have {n} or "
                f"{lead + n} elements (got {len(output_size)})"
            )
        sizes = input.shape[lead:]
        least = [
            (sizes[k] - 1) * self.stride[k]
            - 2 * self.padding[k]
            + self.dilation[k] * (self.kernel_size[k] - 1)
            + 1
            for k in range(n)
        ]
        most = [least[k] + self.stride[k] - 1 for k in range(n)]
        if any(not least[k] <= output_size[k] <= most[k] for k in range(n)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {least} to "
                f"{most} (for an input of {sizes})"
            )
        return tuple(output_size[k] - least[k] for k in range(n))


class ConvTranspose1d(_ConvTranspose):
    """The transpose of Conv1d: `weight` is (in_channels, out_channels / groups, kernel)."""

    dims = 1

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return self._convolve(F.conv_transpose1d, input, output_size)


class ConvTranspose2d(_ConvTranspose):
    """The transpose of Conv2d: `weight` is (in_channels, out_channels / groups, *kernel)."""

    dims = 2

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return self._convolve(F.conv_transpose2d, input, output_size)


class ConvTranspose3d(_ConvTranspose):
    """The transpose of Conv3d: `weight` is (in_channels, out_channels / groups, *kernel)."""

    dims = 3

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return self._convolve(F.conv_transpose3d, input, output_size)
