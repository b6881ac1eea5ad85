"""Which convolutions conv.window computes, and in windows of what size.

Software rasterisers take as long for a fetch as for 20 to 30 multiply-adds, and have registers without end
on their stack. So there a 3x3 convolution holds all weights of a texel of channels and reads each pixel
of a window once. The targets hold every second row and every second or third column: a collecting kernel
puts the result together.
"""

from __future__ import annotations

from typing import NamedTuple

from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.lowering.conv_shapes import Defines, Geometry

__all__ = ["Window", "window"]

ENOUGH = 4096
"""Invocations from which on windows are worth a launch that collects them."""


class Window(NamedTuple):
    """What conv.window and conv.collect are told, how many targets there are, and texels of each."""

    walk: Defines
    high: int
    grid: int


def window(at: Geometry, kind: str, limits: Limits) -> Window | None:
    """The windows for a convolution ("conv") or its adjoint in the input; None if there is a better way."""
    plain = at.groups == 1 and at.channels % 4 == 0 and at.outputs % 4 == 0
    simple = at.taps == (1, 3, 3) and at.stride == at.dilation == (1, 1, 1) and at.size[0] == 1
    if (
        not (plain and simple and limits.software)
        or limits.target == "compute"
        or limits.draw_buffers < 4
    ):
        return None
    adjoint = kind == "conv_input"
    source, out = (at.positions, at.size) if adjoint else (at.size, at.positions)
    before = [2 - p if adjoint else p for p in at.before[1:]]
    channels, outputs = (at.outputs, at.channels) if adjoint else (at.channels, at.outputs)
    wide = 3 if limits.draw_buffers in (6, 7) else 2
    images = 2 if limits.draw_buffers >= 8 and at.images > 1 else 1
    half = -(-at.images // images)
    rows, columns = -(-out[1] // 2), -(-out[2] // wide)
    grid = half * rows * columns * outputs // 4
    if grid < ENOUGH:
        return None
    walk: Defines = {"WX": wide, "IMAGES": images, "HALF": half, "N": at.images}
    walk |= {
        "YS": rows,
        "XS": columns,
        "OY": out[1],
        "OX": out[2],
        "IY": source[1],
        "IX": source[2],
    }
    walk |= {"PY": before[0], "PX": before[1], "CT": channels // 4, "OT": outputs // 4}
    return Window(walk, 2 * wide * images, grid)
