"""Convolution and its two adjoints: columns of windows, a block at a time, and BLAS.

A block is some images, or some rows of one, whose columns stay in cache; so no more memory is taken
than a block needs. How a block is laid out depends on the shape, is chosen once, and is measured
(2-core Zen 4, OpenBLAS):

* planar: columns (channels and taps, positions). Products come out in the result's layout. Copies
  are runs of a row of positions, and a 1x1 kernel needs none. Best for few channels.
* channels last: columns (positions, taps and channels). Copies are runs of channels, and small
  images are multiplied several at once. Up to twice as fast from eight channels on.
* depthwise: no columns; a sum over taps of shifted images, scaled. BLAS has nothing to do there.

Windows are a strided view (images, groups, channels, *taps, *positions) of a padded block: read as
columns forwards, and added to tap by tap backwards, where no two positions share an element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import Kernel, factory

__all__: list[str] = []

Shape = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

BLOCK = 1 << 18  # elements of the columns of a block of several images: 1 MB of float32
ROWS = 1 << 20  # elements above which an image is cut into rows
POSITIONS = 256  # positions that a product of channels-last columns has at least
CHANNELS = 8  # from here on channels-last columns are faster


class Windows:
    """How the windows of one convolution lie over its input: all that a bound call knows."""

    def __init__(
        self,
        x: Shape,
        w: Shape,
        positions: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> None:
        self.count, self.groups, self.channels = x[0], groups, w[1]
        self.size, self.kernel, self.positions = x[2:], w[2:], positions
        self.outputs = w[0] // groups
        self.stride, self.dilation = stride, dilation
        self.padded = tuple(
            lo + n + max(hi, 0) for n, (lo, hi) in zip(self.size, padding, strict=True)
        )
        self.inner = tuple(slice(lo, lo + n) for n, (lo, _) in zip(self.size, padding, strict=True))
        self.depthwise = groups > 1 and self.channels == 1
        self.channels_last = self.channels >= CHANNELS and prod(self.kernel) > 1
        self.taps = tuple(np.ndindex(*self.kernel))
        nd = len(positions)
        taps, places = range(3, 3 + nd), range(3 + nd, 3 + 2 * nd)
        self.order = (1, 0, *places, *taps, 2)  # of channels-last columns
        self.back = tuple(self.order.index(k) for k in range(len(self.order)))
        self._set_steps()

    def _set_steps(self) -> None:
        column = self.groups * self.channels * prod(self.kernel)
        area = prod(self.positions)
        images = BLOCK // max(column * area, 1)
        if self.channels_last:
            images = min(images, POSITIONS // max(area, 1))
        self.step = max(images, 1)
        self.rows = max(ROWS // max(column * prod(self.positions[1:]), 1), 1)

    def images(self) -> Iterator[slice]:
        """The images of each block."""
        return (slice(k, min(k + self.step, self.count)) for k in range(0, self.count, self.step))

    def blocks(self, windows: Any) -> Iterator[tuple[slice, Any]]:
        """Blocks of the rows of some images: where they lie among the positions, and their windows."""
        row = prod(self.positions[1:])
        lead = (slice(None),) * (3 + len(self.kernel))
        for start in range(0, self.positions[0], self.rows):
            stop = min(start + self.rows, self.positions[0])
            yield slice(start * row, stop * row), windows[(*lead, slice(start, stop))]

    def buffer(self, images: int, dtype: Any) -> Any:
        """Zeros for padded images, (images, channels, *padded)."""
        channels = self.groups * self.channels
        if self.channels_last:
            return np.moveaxis(np.zeros((images, *self.padded, channels), dtype), -1, 1)
        return np.zeros((images, channels, *self.padded), dtype)

    def over(self, x: Any) -> Any:
        """The windows over padded images."""
        lead, spatial = x.strides[:2], x.strides[2:]
        taps = (s * d for s, d in zip(spatial, self.dilation, strict=True))
        steps = (s * d for s, d in zip(spatial, self.stride, strict=True))
        return as_strided(
            x,
            (len(x), self.groups, self.channels, *self.kernel, *self.positions),
            (lead[0], lead[1] * self.channels, lead[1], *taps, *steps),
        )

    def of(self, x: Any) -> Any:
        """The windows over images that are yet to be padded."""
        if self.padded == self.size and not self.channels_last:
            return self.over(x)
        padded = self.buffer(len(x), x.dtype)
        padded[(..., *self.inner)] = x
        return self.over(padded)

    def columns(self, windows: Any) -> Any:
        """Columns of a block: (images, groups, K, positions), or (groups, all positions, K)."""
        k = self.channels * prod(self.kernel)
        if self.channels_last:
            return windows.transpose(self.order).reshape(self.groups, -1, k)
        return windows.reshape(len(windows), self.groups, k, -1)

    def from_columns(self, columns: Any, windows: Any) -> Any:
        """Columns seen in the shape of their windows."""
        if self.channels_last:
            shape = tuple(windows.shape[k] for k in self.order)
            return columns.reshape(shape).transpose(self.back)
        return columns.reshape(windows.shape)

    def matrix(self, w: Any) -> Any:
        """The weight as (groups, outputs, K), in the order of the columns."""
        w = w.reshape(self.groups, self.outputs, self.channels, -1)
        if self.channels_last:
            w = w.swapaxes(2, 3)
        return w.reshape(self.groups, self.outputs, -1)

    def grouped(self, g: Any) -> Any:
        """A result (or its gradient) as (images, groups, outputs, positions)."""
        return g.reshape(len(g), self.groups, self.outputs, -1)

    def flat(self, g: Any) -> Any:
        """Part of a grouped result as (groups, outputs, all positions)."""
        return g.transpose(1, 2, 0, 3).reshape(self.groups, self.outputs, -1)


def _forward(x: Any, w: Any, at: Windows) -> Any:
    weight = at.matrix(w)
    if at.channels_last:
        weight = np.ascontiguousarray(weight.swapaxes(1, 2))
    out = np.empty((len(x), at.groups, at.outputs, prod(at.positions)), x.dtype)
    for images in at.images():
        for place, windows in at.blocks(at.of(x[images])):
            target, columns = out[images, ..., place], at.columns(windows)
            if at.channels_last:
                product = columns @ weight
                product = product.reshape(at.groups, len(target), -1, at.outputs)
                target[...] = product.transpose(1, 0, 3, 2)
            else:
                np.matmul(weight, columns, out=target)
    return out.reshape(len(x), -1, *at.positions)


def _backward_input(g: Any, w: Any, at: Windows) -> Any:
    """The transpose of `_forward` in its input: the columns' gradients, added tap by tap."""
    weight, g = at.matrix(w), at.grouped(g)
    out = np.empty((len(g), at.groups * at.channels, *at.size), g.dtype)
    for images in at.images():
        padded = at.buffer(len(out[images]), g.dtype)
        for place, windows in at.blocks(at.over(padded)):
            part = g[images, ..., place]
            if at.channels_last:
                columns = at.flat(part).swapaxes(1, 2) @ weight
            else:
                columns = weight.swapaxes(1, 2) @ part
            columns = at.from_columns(columns, windows)
            for tap in at.taps:
                windows[(..., *tap, *_ALL[at])] += columns[(..., *tap, *_ALL[at])]
        out[images] = padded[(..., *at.inner)]
    return out


def _backward_weight(g: Any, x: Any, at: Windows) -> Any:
    """The transpose of `_forward` in its weight: gradients times columns."""
    g = at.grouped(g)
    k = at.channels * prod(at.kernel)
    total = np.zeros((at.groups, at.outputs, k), g.dtype)
    for images in at.images():
        for place, windows in at.blocks(at.of(x[images])):
            part, columns = g[images, ..., place], at.columns(windows)
            if at.channels_last:
                total += at.flat(part) @ columns
            else:
                total += np.matmul(part, columns.swapaxes(2, 3)).sum(0)
    if at.channels_last:
        total = total.reshape(at.groups, at.outputs, -1, at.channels).swapaxes(2, 3)
    return total.reshape(-1, at.channels, *at.kernel)
