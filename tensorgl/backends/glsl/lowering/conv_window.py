"""Which convolutions conv.window computes, and what it is told.

Software rasterisers take as long for a fetch as for 20 to 30 multiply-adds, and have registers without end
on their stack. So there a 3x3 convolution holds all weights of a texel of channels and reads each pixel
of a window once. The targets hold every second row and every second or third column: a collecting kernel
puts the result together.
"""

from __future__ import annotations

from typing import NamedTuple

from tensorgl.backends.glsl.lowering.conv_shapes import Defines, Geometry

__all__ = ["Window", "in_windows", "windows"]


class Window(NamedTuple):
    """What conv.window and conv.collect are told, how many targets there are, and texels of each."""

    walk: Defines
    high: int
    grid: int


def in_windows(at: Geometry) -> bool:
    """Whether windows can compute a convolution, and its adjoint in the input."""
    plain = at.groups == 1 and at.channels % 4 == 0 and at.outputs % 4 == 0
    simple = at.taps == (1, 3, 3) and at.stride == at.dilation == (1, 1, 1) and at.size[0] == 1
    return plain and simple


def windows(at: Geometry, kind: str, wide: int, images: int) -> Window:
    """The windows of 2 x `wide` pixels of so many images for "conv" or its adjoint "conv_input"."""
    adjoint = kind == "conv_input"
    source, out = (at.positions, at.size) if adjoint else (at.size, at.positions)
    before = [2 - p if adjoint else p for p in at.before[1:]]
    channels, outputs = (at.outputs, at.channels) if adjoint else (at.channels, at.outputs)
    half = -(-at.images // images)
    rows, columns = -(-out[1] // 2), -(-out[2] // wide)
    grid = half * rows * columns * outputs // 4
    walk: Defines = {"HALF": half, "N": at.images, "YS": rows, "XS": columns}
    walk |= {"OY": out[1], "OX": out[2], "IY": source[1], "IX": source[2]}
    walk |= {"PY": before[0], "PX": before[1], "CT": channels // 4, "OT": outputs // 4}
    return Window(walk, 2 * wide * images, grid)
