"""Convolution and its two adjoints, a block of windows at a time: see `windows`.

Half precision computes in single, as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import Binary, factory
from tensorgl.backends.numpy.windows import Windows

__all__: list[str] = []


@factory
def conv(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    x, w = avals
    return _bound(_forward, Windows(x.shape, w.shape, out.shape[2:], *params))


@factory
def conv_input(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    g, w = avals
    _, stride, padding, dilation, groups = params
    reach = tuple(d * (k - 1) for k, d in zip(w.shape[2:], dilation, strict=True))
    mirrored = tuple((r - lo, r - hi) for r, (lo, hi) in zip(reach, padding, strict=True))
    inputs, outputs = w.shape[1], w.shape[0] // groups
    # Gathering columns of the gradient beats adding columns up, unless there are many more of them.
    if set(stride) == {1} and min(map(min, mirrored)) >= 0 and outputs <= 2 * inputs:
        shape = (inputs * groups, outputs, *w.shape[2:])
        at = Windows(g.shape, shape, out.shape[2:], stride, mirrored, dilation, groups)
        forward = _bound(_forward, at)
        return lambda g, w: forward(g, _mirrored(w, groups))
    return _bound(
        _backward_input,
        Windows(out.shape, w.shape, g.shape[2:], stride, padding, dilation, groups),
    )


@factory
def conv_weight(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Binary:
    g, x = avals
    return _bound(_backward_weight, Windows(x.shape, out.shape, g.shape[2:], *params[1:]))


def _bound(run: Callable[[Any, Any, Windows], Any], at: Windows) -> Binary:
    def kernel(a: Any, b: Any) -> Any:
        if a.dtype == np.float16:
            return run(a.astype(np.float32), b.astype(np.float32), at).astype(np.float16)
        return run(a, b, at)

    return kernel


def _mirrored(w: Any, groups: int) -> Any:
    """The weight of the convolution that is the transpose of a convolution of stride 1."""
    kernel = w.shape[2:]
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    w = np.ascontiguousarray(np.flip(w, tuple(range(3, w.ndim))))
    return w.reshape(groups * w.shape[1], w.shape[2], *kernel)


def _grouped(g: Any, at: Windows) -> Any:
    """A result, or its gradient, as (images, groups, outputs, positions)."""
    return g.reshape(len(g), at.groups, at.outputs, prod(at.positions))


def _merged(g: Any, at: Windows) -> Any:
    """A part of a grouped result as (groups, outputs, all positions)."""
    return g.transpose(1, 2, 0, 3).reshape(at.groups, at.outputs, -1)


def _forward(x: Any, w: Any, at: Windows) -> Any:
    weight = at.matrix(w)
    if at.channels_last:
        weight = np.ascontiguousarray(weight.swapaxes(1, 2))
    out = np.empty((len(x), at.groups * at.outputs, *at.positions), x.dtype)
    grouped, read = _grouped(out, at), at.reader(x)
    for images in at.images():
        for place, windows in at.blocks(read(images)):
            target, columns = grouped[images, ..., place], at.columns(windows)
            if at.channels_last:
                product = columns @ weight
                product = product.reshape(at.groups, len(target), -1, at.outputs)
                target[...] = product.transpose(1, 0, 3, 2)
            else:
                np.matmul(weight, columns, out=target)
    return out


def _backward_input(g: Any, w: Any, at: Windows) -> Any:
    """The gradients of columns, added up tap by tap: no two positions of a tap share an element."""
    weight, g = at.matrix(w), _grouped(g, at)
    out = np.empty((len(g), at.groups * at.channels, *at.size), g.dtype)
    for images in at.images():
        target = out[images]
        padded = at.zeros(len(target), g.dtype)
        for place, windows in at.blocks(at.over(padded)):
            part = g[images, ..., place]
            if at.channels_last:
                columns = _merged(part, at).swapaxes(1, 2) @ weight
            else:
                columns = weight.swapaxes(1, 2) @ part
            columns = at.windows(columns, windows.shape)
            for tap in at.taps:
                windows[tap] += columns[tap]
        target[...] = padded[at.inner]
    return out


def _backward_weight(g: Any, x: Any, at: Windows) -> Any:
    g, read = _grouped(g, at), at.reader(x)
    total = np.zeros((at.groups, at.outputs, at.depth), g.dtype)
    for images in at.images():
        for place, windows in at.blocks(read(images)):
            part, columns = g[images, ..., place], at.columns(windows)
            if at.channels_last:
                total += _merged(part, at) @ columns
            else:
                total += (part @ columns.swapaxes(2, 3)).sum(0)
    return at.weight(total)
