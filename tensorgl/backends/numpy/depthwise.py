"""Convolution of one channel a group: no product for BLAS, but a sum over taps of shifted images.

Images are padded and flattened, so that a tap shifts whole images in one contiguous run. Windows are
worked out at every place of the padded grid, those between the positions (at row ends and between
strides) too: that costs less than short runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgl.backends.numpy.windows import Windows

__all__ = ["backward_input", "backward_weight", "forward"]


def _geometry(at: Windows) -> tuple[tuple[int, ...], int, list[slice]]:
    """How far positions lie apart along each dim of the flat grid; their span; what each tap sees."""
    grid = [int(np.prod(at.padded[k + 1 :])) for k in range(len(at.padded))]
    steps = tuple(s * n for s, n in zip(at.stride, grid, strict=True))
    span = 1 + sum((p - 1) * s for p, s in zip(at.positions, steps, strict=True))
    shifts = [s * d for s, d in zip(grid, at.dilation, strict=True)]
    starts = [sum(np.multiply(tap, shifts).tolist()) for tap in np.ndindex(*at.kernel)]
    return steps, span, [slice(k, k + span) for k in starts]


def _positions(grid: Any, at: Windows, steps: tuple[int, ...]) -> Any:
    """The positions among all places, (images, groups, outputs, *positions), as a view."""
    strides = (*grid.strides[:3], *(s * grid.itemsize for s in steps))
    return as_strided(grid, (*grid.shape[:3], *at.positions), strides)


def _scattered(g: Any, at: Windows, steps: tuple[int, ...], span: int) -> Any:
    """A gradient of the positions as one of all places, with zeros between."""
    grid = np.zeros((len(g), at.groups, at.outputs, span), g.dtype)
    places = _positions(grid, at, steps)
    places[...] = g.reshape(places.shape)
    return grid


def _flat(x: Any, at: Windows) -> Any:
    """Images as (images, groups, 1, padded places)."""
    padded = at.zeros(len(x), x.dtype)
    padded[at.inner] = x
    return padded.reshape(len(x), at.groups, 1, -1)


def forward(x: Any, w: Any, at: Windows) -> Any:
    steps, span, taps = _geometry(at)
    w = at.matrix(w)
    out = np.empty((len(x), at.groups * at.outputs, *at.positions), x.dtype)
    for images in at.images():
        flat = _flat(x[images], at)
        total = flat[..., taps[0]] * w[..., :1]
        product = np.empty_like(total)
        for k, tap in enumerate(taps[1:], 1):
            total += np.multiply(flat[..., tap], w[..., k : k + 1], out=product)
        out[images] = _positions(total, at, steps).reshape(out[images].shape)
    return out


def backward_input(g: Any, w: Any, at: Windows) -> Any:
    steps, span, taps = _geometry(at)
    w = at.matrix(w)
    out = np.empty((len(g), at.groups, *at.size), g.dtype)
    for images in at.images():
        grid = _scattered(g[images], at, steps, span)
        padded = at.zeros(len(grid), g.dtype)
        flat = padded.reshape(len(grid), at.groups, 1, -1)
        for k, tap in enumerate(taps):
            flat[..., tap] += (grid * w[..., k : k + 1]).sum(2, keepdims=True)
        out[images] = padded[at.inner]
    return out


def backward_weight(g: Any, x: Any, at: Windows) -> Any:
    steps, span, taps = _geometry(at)
    total = np.zeros((at.groups, at.outputs, at.depth), g.dtype)
    for images in at.images():
        flat = _flat(x[images], at)
        grid = _scattered(g[images], at, steps, span)
        for k, tap in enumerate(taps):
            total[..., k] += (grid @ flat[..., tap].swapaxes(2, 3)).sum((0, 3))
    return at.weight(total)
