"""How the windows of a convolution lie over its input, and as columns for BLAS.

Windows are a strided view (images, groups, channels, *taps, *positions) of padded images: read as
columns forwards, and added to tap by tap backwards, where no two positions share an element.

Work goes by blocks, of some images or of some rows of one, so that the columns of a block stay in
cache, and so that no more memory is taken. Their layout is chosen by shape, from measurements:

* planar: columns (channels and taps, positions). Copies are runs of a row of positions, a 1x1 kernel
  needs none, and products come out in the layout of the result. Best for few channels.
* channels last: columns (positions, taps and channels). Copies are runs of channels, and small
  images are multiplied several at once. Up to twice as fast from eight channels on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["Windows"]

Shape = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

CHANNELS = 8  # from here on channels-last columns are faster
BLOCK = 1 << 18  # elements of the columns of several images: 1 MB of float32
POSITIONS = 256  # how many positions are enough for a product of channels-last columns
ROWS = 1 << 20  # elements above which an image is cut into rows


class Windows:
    """All that is known of one convolution when it is bound.

    Args:
        x: shape of the input, (images, channels, *size).
        w: shape of the weight, (outputs, channels of a group, *kernel).
        positions: how many windows there are along each spatial dim.
        stride, padding, dilation, groups: as the primitive takes them.
    """

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
        self.count, self.size = x[0], tuple(x[2:])
        self.kernel, self.positions = tuple(w[2:]), tuple(positions)
        self.groups, self.channels, self.outputs = groups, w[1], w[0] // groups
        self.stride, self.dilation = stride, dilation
        pads = list(zip(self.size, padding, strict=True))
        self.padded = tuple(lo + n + max(hi, 0) for n, (lo, hi) in pads)
        self.inner = (..., *(slice(lo, lo + n) for n, (lo, _) in pads))
        self.depth = self.channels * prod(self.kernel)
        self.channels_last = self.channels >= CHANNELS and prod(self.kernel) > 1
        all3 = (slice(None),) * 3
        self.taps = tuple((*all3, *tap) for tap in np.ndindex(*self.kernel))
        nd = len(positions)
        self._order = (1, 0, *range(3 + nd, 3 + 2 * nd), *range(3, 3 + nd), 2)
        self._back = tuple(self._order.index(k) for k in range(3 + 2 * nd))
        area, column = prod(positions), max(groups * self.depth, 1)
        step = BLOCK // (column * area)
        self._step = max(min(step, POSITIONS // area) if self.channels_last else step, 1)
        self._blocks = self._cut(max(ROWS // (column * prod(positions[1:])), 1))

    def _cut(self, rows: int) -> list[tuple[slice, Any]]:
        """Blocks of rows: where they lie among all positions, and the index of their windows."""
        row = prod(self.positions[1:])
        lead = (slice(None),) * (3 + len(self.kernel))
        starts = range(0, self.positions[0], rows)
        spans = [slice(k, min(k + rows, self.positions[0])) for k in starts]
        return [(slice(s.start * row, s.stop * row), (*lead, s)) for s in spans]

    def images(self) -> Iterator[slice]:
        """The images of each block."""
        return (slice(k, min(k + self._step, self.count)) for k in range(0, self.count, self._step))

    def blocks(self, windows: Any) -> Iterator[tuple[slice, Any]]:
        """The blocks of rows of the windows over some images, and where they lie."""
        return ((place, windows[index]) for place, index in self._blocks)

    def zeros(self, images: int, dtype: Any) -> Any:
        """Padded images of zeros, (images, channels, *padded)."""
        channels = self.groups * self.channels
        if self.channels_last:
            return np.moveaxis(np.zeros((images, *self.padded, channels), dtype), -1, 1)
        return np.zeros((images, channels, *self.padded), dtype)

    def over(self, padded: Any) -> Any:
        """The windows over padded images, as a view."""
        image, channel, *spatial = padded.strides
        taps = (s * d for s, d in zip(spatial, self.dilation, strict=True))
        steps = (s * d for s, d in zip(spatial, self.stride, strict=True))
        return as_strided(
            padded,
            (len(padded), self.groups, self.channels, *self.kernel, *self.positions),
            (image, channel * self.channels, channel, *taps, *steps),
        )

    def reader(self, x: Any) -> Callable[[slice], Any]:
        """A function from a block of images to its windows, which the next call writes over."""
        if self.padded == self.size and not self.channels_last:
            whole = self.over(x)
            return lambda images: whole[images]
        padded = self.zeros(min(self._step, self.count), x.dtype)
        windows, inner = self.over(padded), padded[self.inner]

        def read(images: slice) -> Any:
            count = images.stop - images.start
            inner[:count] = x[images]
            return windows[:count]

        return read

    def columns(self, windows: Any) -> Any:
        """Planar: (images, groups, depth, positions); else (groups, all positions, depth)."""
        if self.channels_last:
            return windows.transpose(self._order).reshape(self.groups, -1, self.depth)
        return windows.reshape(len(windows), self.groups, self.depth, -1)

    def windows(self, columns: Any, shape: Shape) -> Any:
        """Columns seen as windows of this shape: the inverse of `columns`."""
        if self.channels_last:
            return columns.reshape([shape[k] for k in self._order]).transpose(self._back)
        return columns.reshape(shape)

    def matrix(self, w: Any) -> Any:
        """The weight as (groups, outputs, depth), in the order of the columns."""
        w = w.reshape(self.groups, self.outputs, self.channels, prod(self.kernel))
        return (w.swapaxes(2, 3) if self.channels_last else w).reshape(*w.shape[:2], self.depth)

    def weight(self, matrix: Any) -> Any:
        """The inverse of `matrix`."""
        if self.channels_last:
            shape = (self.groups, self.outputs, prod(self.kernel), self.channels)
            matrix = matrix.reshape(shape).swapaxes(2, 3)
        return matrix.reshape(self.groups * self.outputs, self.channels, *self.kernel)
