"""Sampling at places given by a grid: grid_sample, and affine_grid to make such grids."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, op
from tensorgl.dtypes import int64
from tensorgl.ops.arithmetic import fmod
from tensorgl.ops.comparison import where
from tensorgl.ops.gathering import gather
from tensorgl.ops.geometry import Shape
from tensorgl.ops.joining import stack
from tensorgl.ops.linalg import matmul
from tensorgl.ops.movement import expand, reshape, transpose, unsqueeze
from tensorgl.ops.resample import cubic_weights
from tensorgl.ops.rounding import clamp, floor, round
from tensorgl.ops.slicing import select
from tensorgl.ops.support import positions

__all__ = ["affine_grid", "grid_sample"]

Tensor = Any

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


@op
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The input at the places in `grid`.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, *places, 2 or 3): x, y(, z) from -1 to 1, the width first.
        mode: "bilinear" (trilinear for three dims), "nearest", or "bicubic" for two dims.
        padding_mode: what lies outside: "zeros", the nearest "border" element, or a "reflection".
        align_corners: -1 and 1 are the centres of the corner elements, not their outer edges; default
            False, with a warning.

    Returns:
        (N, C, *places).

    Raises:
        ValueError: there is no such mode.
        RuntimeError: the shapes or dtypes do not fit each other.
    """
    _check_sample(input, grid, mode, padding_mode)
    align = _aligned(align_corners)
    nd = input.ndim - 2
    size, places = tuple(input.shape[2:]), tuple(grid.shape[1:-1])
    flat = reshape(input, (*input.shape[:2], prod(size)))
    along = []  # coordinates along each dim of the input, (N, all places)
    for dim, n in enumerate(size):
        c = reshape(select(grid, -1, nd - 1 - dim), (grid.shape[0], prod(places)))
        along.append((c + 1) / 2 * (n - 1) if align else ((c + 1) * n - 1) / 2)
    if mode == "bicubic":
        out = _cubic(flat, along, size, padding_mode, align)
    else:
        pairs = zip(along, size, strict=True)
        along = [_bounded(c, n, padding_mode, align) for c, n in pairs]
        if mode == "nearest":
            out = _elements(flat, [round(c) for c in along], size)
        else:
            out = _linear(flat, along, size)
    return reshape(out, (*input.shape[:2], *places))


def _check_sample(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    for what, value, known in (("mode", mode, _MODES), ("padding_mode", padding_mode, _PADDINGS)):
        if value not in known:
            raise ValueError(
                f"nn.functional.grid_sample(): expected {what} to be one of {known}, but got: '{value}'"
            )
    shapes = f"but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
    if input.ndim not in (4, 5) or input.ndim != grid.ndim:
        raise RuntimeError(f"grid_sampler(): expected 4D or 5D input and grid alike, {shapes}")
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, {shapes}"
        )
    if grid.shape[-1] != input.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.ndim - 2} in last dimension, {shapes}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, {shapes}"
        )
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected scalar type {input.dtype.title} but found {grid.dtype.title}; "
            "cast one with .to(dtype)"
        )
    if mode == "bicubic" and input.ndim == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def _aligned(align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=3,
        )
    return bool(align_corners)


def _bounded(c: Tensor, n: int, padding_mode: str, align: bool) -> Tensor:
    """Coordinates with those outside brought inside; no gradient comes from beyond a border."""
    if padding_mode == "zeros":
        return c
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        if span == 0:
            return c * 0
        c = c - low
        c = where(c < 0, -c, c)
        rest = fmod(c, span)
        turned = floor(c / span) % 2 == 1
        c = where(turned, span - rest, rest) + low
    return where(c > 0, where(c < n - 1, c, n - 1), 0)


def _elements(flat: Tensor, at: Sequence[Tensor], size: Shape) -> Tensor:
    """The elements at whole coordinates, (N, C, places); 0 outside."""
    index: Any = 0
    inside: Any = None
    for c, n in zip(at, size, strict=True):
        index = index * n + clamp(call1(p.cast, c.detach(), (int64,)), 0, n - 1)
        here = (c >= 0) & (c <= n - 1)
        inside = here if inside is None else inside & here
    index = expand(unsqueeze(index, 1), (*flat.shape[:2], index.shape[1]))
    return where(unsqueeze(inside, 1), gather(flat, 2, index), 0)


def _linear(flat: Tensor, along: Sequence[Tensor], size: Shape) -> Tensor:
    first = [floor(c.detach()) for c in along]
    parts = [c - k for c, k in zip(along, first, strict=True)]
    out: Any = 0
    for corner in product((0, 1), repeat=len(size)):
        weight: Any = 1
        for upper, part in zip(corner, parts, strict=True):
            weight = weight * (part if upper else 1 - part)
        at = [k + upper for k, upper in zip(first, corner, strict=True)]
        out = out + _elements(flat, at, size) * unsqueeze(weight, 1)
    return out


def _cubic(
    flat: Tensor, along: Sequence[Tensor], size: Shape, padding_mode: str, align: bool
) -> Tensor:
    first = [floor(c.detach()) for c in along]
    weights = [cubic_weights(c - k, -0.75) for c, k in zip(along, first, strict=True)]
    out: Any = 0
    for i, j in product(range(4), repeat=2):
        at = [
            _bounded(k + (tap - 1), n, padding_mode, align)
            for k, tap, n in zip(first, (i, j), size, strict=True)
        ]
        out = out + _elements(flat, at, size) * unsqueeze(weights[0][i] * weights[1][j], 1)
    return out


@op
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` of affine maps.

    Args:
        theta: (N, 2, 3) or (N, 3, 4): a matrix and a shift, applied to x, y(, z) of every place.
        size: of the result of `grid_sample`, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as for `grid_sample`.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: `theta` is not such a batch of matrices, or a size is not positive.
        NotImplementedError: `size` has neither four nor five numbers.
    """
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {tuple(size)}."
        )
    nd = len(size) - 2
    if tuple(theta.shape[1:]) != (nd, nd + 1):
        raise ValueError(
            f"Expected a batch of {nd}D affine matrices of shape Nx{nd}x{nd + 1} for size "
            f"{tuple(size)}. Got {tuple(theta.shape)}."
        )
    if min(size) < 1:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    if theta.shape[0] != size[0]:
        raise RuntimeError(
            f"affine_grid: expected {size[0]} matrices for size {tuple(size)}, but got {theta.shape[0]}"
        )
    align = _aligned(align_corners)
    places = tuple(size[2:])
    columns = [theta.new_ones(places)]
    for dim, n in enumerate(places):
        number = call1(p.cast, positions(n, theta.device), (theta.dtype,))
        steps = max(n - 1, 1) if align else n
        centre = (2 * number + (0 if align else 1)) / steps - 1
        if align and n == 1:  # a single place is in the middle
            centre = number
        centre = reshape(centre, (-1, *(1,) * (nd - 1 - dim)))
        columns.insert(0, expand(centre, places))  # the last dim is x
    base = reshape(stack(columns, -1), (prod(places), nd + 1))
    return reshape(matmul(base, transpose(theta, 1, 2)), (size[0], *places, nd))
