"""Which kernel computes a convolution, or one of its adjoints, by its geometry and the device's limits.

    conv.depthwise  every channel has its own filter: a texel of four channels meets its taps, or four
                    neighbours in a row where channels lie first (conv.depthwise.planes)
    conv.planes     few input channels, in planes: four neighbours in a row at once
    conv.window     3x3, in windows: for software rasterisers (conv_window.py)
    conv.rows       channels last: what a row of taps reads is a run of texels
    conv            anything else, an element at a time

A gradient in the weight is made in parts by conv_weight.depthwise, .planes, .rows, or .slide for few taps,
which are summed up by conv_weight.sum; or by conv_weight, which is plain.
"""

from __future__ import annotations

from math import gcd, prod
from typing import NamedTuple

from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Variant
from tensorgl.backends.glsl.lowering.conv_shapes import (
    Geometry,
    Packing,
    adjoint_packing,
    forward_packing,
    planes_walk,
)
from tensorgl.backends.glsl.lowering.conv_window import in_windows, windows
from tensorgl.backends.glsl.memory import bucket
from tensorgl.backends.glsl.tuning import Family, interface

__all__ = ["CONV", "CONV_WEIGHT", "Problem", "apart", "invocations", "packing", "splits"]

PLANES_WORTH = 1.4
"""Planes are chosen where rows would do so many times their multiplications."""
WINDOWS_WORTH = 4096
"""Invocations from which on windows are worth a launch that collects them."""
MAX_SPLITS = 256
"""Parts into which the sum of a gradient in the weight is divided at most."""


class Problem(NamedTuple):
    """A convolution ("conv"), or its adjoint in the input ("conv_input") or in the weight ("conv_weight")."""

    at: Geometry
    kind: str

    @property
    def shape(self) -> tuple[int, int]:
        """Images of the result, and texels of each."""
        at = self.at
        if self.kind == "conv_input":
            return at.images, -(-at.channels * prod(at.size) // 4)
        return at.images, -(-at.outputs * prod(at.positions) // 4)


def key(p: Problem) -> tuple[object, ...]:
    """Convolutions that are alike: what tells kernels apart, and the sizes' powers of two."""
    at = p.at
    sizes = at.images, at.channels, at.outputs, *at.positions[1:]
    aligned = at.channels % 4 == 0, at.outputs % 4 == 0, at.positions[2] % 4 == 0
    exact = p.kind, at.groups, at.taps, at.stride, at.dilation
    return (*exact, *map(int, aligned), *(n.bit_length() for n in sizes))


def packing(p: Problem) -> Packing | None:
    """How conv.rows and conv_weight.rows compute it; None if they can't."""
    return adjoint_packing(p.at) if p.kind == "conv_input" else forward_packing(p.at)


def kernels(p: Problem, limits: Limits) -> tuple[str, ...]:
    """Those that can compute a convolution or its adjoint in the input."""
    at = p.at
    if _depthwise(at):
        return ("conv.depthwise",)
    if packing(p) is None:
        return ("conv",)
    found = ["conv.rows"]
    if p.kind == "conv" and planes_walk(at) is not None:
        found.append("conv.planes")
    if limits.target == "fragment" and in_windows(at):
        found.append("conv.window")
    return tuple(found)


def weight_kernels(p: Problem, limits: Limits) -> tuple[str, ...]:
    """Those that can compute an adjoint in the weight."""
    at = p.at
    if _depthwise(at):
        return ("conv_weight.depthwise",)
    if packing(p) is None:
        return ("conv_weight",)
    found = ["conv_weight.rows"]
    if planes_walk(at) is not None:
        found.append("conv_weight.planes")
    whole = at.groups == 1 and at.channels % 4 == 0 and at.outputs % 4 == 0
    straight = at.stride[2] == 1 and at.dilation[2] == 1 and at.before[2] < at.taps[2]
    if whole and straight and 2 <= at.taps[2] <= 4:
        found.append("conv_weight.slide")
    return tuple(found)


def _depthwise(at: Geometry) -> bool:
    return at.groups == at.channels == at.outputs and at.groups > 1 and at.channels % 4 == 0


def names(p: Problem, limits: Limits) -> dict[str, int]:
    """What the heads of the kernels may ask."""
    at, by_rows = p.at, packing(p)
    images, texels = p.shape
    return {
        "N": at.images,
        "O": at.outputs,
        "POSITIONS": prod(at.positions),
        "LINES": at.images * prod(at.positions[:2]),
        "TAPS": at.taps[2],
        "COLUMNS": int(by_rows.walk["GROUP_OUT"]) if by_rows else 1,  # that read the same input
        "GROUPS": at.groups,
        # a render target holds whole rows of the result
        "WIDTH": bucket(images * texels, limits.rows)[1],
    }


def apart(high: int, p: Problem, limits: Limits) -> int:
    """How far the images are apart that an invocation computes, which are so many."""
    images, texels = p.shape
    width = bucket(images * texels, limits.rows)[1]
    # a render target holds whole rows of the result
    step = width // gcd(width, texels) if width and high > 1 else 1
    return -(-images // (high * step)) * step


def _enough(limits: Limits) -> int:
    """Invocations that keep a device busy. Software rasterisers share squares of 64 pixels out."""
    return 65536 if not limits.software else 256 if limits.target == "compute" else 4096


def invocations(c: Variant, p: Problem) -> int:
    """How many make a part of a gradient in the weight."""
    at, way = p.at, interface(c.kernel)
    if way == "conv_weight.depthwise":
        return at.channels // 4 * prod(at.taps)
    if way == "conv_weight.planes":
        return -(-at.outputs // 4) * prod(at.taps[:2]) * at.channels
    if way == "conv_weight.slide":
        return at.outputs // 4 * (at.channels // 2) * prod(at.taps[:2])
    by_rows = packing(p)
    assert by_rows is not None
    return by_rows.taps * by_rows.row.run * -(-by_rows.columns // c["STEP"])


def splits(c: Variant, at: Geometry) -> tuple[int, int]:
    """How many rows of the batch to sum up in each part, and how many parts that are."""
    total = at.images * prod(at.positions[:2])
    each = -(-total // c["SPLITS"])
    return each, -(-total // each)


def _by_planes(p: Problem, high: int) -> bool:
    """Whether planes of so many channels are worth it, by the multiplications for each that is needed."""
    by_rows = packing(p)
    assert by_rows is not None
    rows = 4 * by_rows.row.run / (p.at.taps[2] * p.at.channels)
    return rows > PLANES_WORTH * high * -(-p.at.outputs // high) / p.at.outputs


def cost(c: Variant, p: Problem, limits: Limits) -> tuple[float, float]:
    """An order of the ways, and within one an estimate: in fetches, as long as 32 multiply-adds each."""
    if c.kernel == "conv.planes":
        most = 8 if limits.draw_buffers >= 8 else 4
        return (0 if c["R"] == most and _by_planes(p, most) else 3), 0
    if c.kernel == "conv.window":
        grid = windows(p.at, p.kind, c["WX"], c["IMAGES"]).grid
        worth = limits.software and grid >= WINDOWS_WORTH
        return (1 if worth else 3), -c["WX"] * c["IMAGES"]
    if c.kernel == "conv":
        return 3, 0
    high, wide = c["R"], c.get("WIDE", 1)
    grid = apart(high, p, limits) * p.shape[1] // wide
    return 2, max(grid, _enough(limits)) * (high + 4 * wide + high * wide / 2)


def weight_cost(c: Variant, p: Problem, limits: Limits) -> tuple[float, ...]:
    """An order of the ways, with about as many parts as keep the device busy."""
    if c.kernel == "conv_weight":
        return ()
    if c.kernel == "conv_weight.planes":
        rank = 0 if _by_planes(p, 8 if limits.draw_buffers >= 8 else 4) else 3
    else:
        rank = 1 if c.kernel == "conv_weight.slide" else 2
    wanted = min(MAX_SPLITS, -(-2 * _enough(limits) // invocations(c, p)))
    parts = c["SPLITS"]
    return rank, -c.get("STEP", 0), max(parts / wanted, wanted / parts)


CONV = Family("conv", key, kernels, names, cost)
CONV_WEIGHT = Family("conv_weight", key, weight_kernels, names, weight_cost)
