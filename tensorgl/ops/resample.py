"""interpolate: the dims after (N, C) in another size.

Every mode but "area" goes dim by dim: a result is a weighted sum of a few elements, its taps. Which
and how much depends on the sizes alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, op
from tensorgl.dtypes import float16, float32, int64, uint8
from tensorgl.ops.adaptive_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tensorgl.ops.comparison import where
from tensorgl.ops.gathering import index_select
from tensorgl.ops.geometry import Shape
from tensorgl.ops.movement import clone, expand, reshape
from tensorgl.ops.rounding import clamp, clamp_max, clamp_min, floor, trunc
from tensorgl.ops.support import float_only, positions

__all__ = ["cubic_weights", "interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

Tensor = Any
Taps = list[tuple[Tensor, Tensor]]  # for each tap, its index and its weight in every result

_DIMS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


@op
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample the dims after (N, C) to `size`, or by `scale_factor`.

    Args:
        input: (N, C, W), (N, C, H, W) or (N, C, D, H, W).
        size: the new sizes.
        scale_factor: how much larger to make the sizes, instead of `size`.
        mode: "nearest" (which rounds down), "nearest-exact", "area" (means of windows), or by the
            number of dims "linear", "bilinear", "bicubic" or "trilinear".
        align_corners: keep the centres of the corner elements in place, not their outer edges.
        recompute_scale_factor: go by the ratio of the sizes, not by the `scale_factor` they came from.
        antialias: widen bilinear and bicubic filters where an image gets smaller.

    Raises:
        ValueError: arguments exclude each other, or do not fit the dims.
        NotImplementedError: there is no such mode for this number of dims or this dtype.
        RuntimeError: a size is not positive.
    """
    _check(input, mode, align_corners, antialias)
    old, new, ratios = _sizes(input, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return _AREA[len(old)](input, new)
    if min(new) < 1:
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got {old} and {new}"
        )
    if mode not in _DIMS:
        return _nearest(input, old, new, ratios, 0.5 if mode == "nearest-exact" else 0.0)
    float_only("interpolate", input)
    out = call1(p.cast, input, (float32,)) if input.dtype is float16 else input
    for dim, (n, m, ratio) in enumerate(zip(old, new, ratios, strict=True)):
        if align_corners:
            ratio = (n - 1) / (m - 1) if m > 1 else 0.0
        if n == m and (ratio == 1 or mode != "bicubic" or antialias):  # as PyTorch does
            continue
        number = call1(p.cast, positions(m, out.device), (out.dtype,))
        if antialias:
            taps = _widened(n, (number + 0.5) * ratio, ratio, mode)
        else:
            place = number * ratio if align_corners else (number + 0.5) * ratio - 0.5
            taps = _cubic(n, place) if mode == "bicubic" else _linear(n, place)
        out = _weighted(out, 2 + dim, taps)
    return call1(p.cast, out, (float16,)) if input.dtype is float16 else out


def _check(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    """What mode, dims and dtype exclude."""
    if mode in _DIMS:
        if input.ndim != _DIMS[mode] + 2:
            raise NotImplementedError(
                f"interpolate: Got {input.ndim}D input, but {mode} mode needs {_DIMS[mode] + 2}D input"
            )
    elif align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | "
            "bicubic | trilinear"
        )
    if input.ndim not in (3, 4, 5) or mode not in (*_DIMS, "nearest", "nearest-exact", "area"):
        raise NotImplementedError(
            f"interpolate: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: "
            f"nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as "
            "input"
        )
    if 0 in input.shape[1:]:
        raise RuntimeError(
            f"interpolate: Non-empty data tensor expected but got a tensor with sizes {list(input.shape)}"
        )


def _sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool
) -> tuple[Shape, Shape, list[float]]:
    """Old sizes, new sizes, and along each dim how far neighbouring results lie apart in the input."""
    if (size is None) == (scale_factor is None):
        which = "either" if size is None else "only one of"
        raise ValueError(f"interpolate: {which} size or scale_factor should be defined")
    if size is not None and recompute:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    old = tuple(input.shape[2:])
    given = scale_factor if size is None else size
    each = tuple(given) if isinstance(given, Sequence) else (given,) * len(old)
    if len(each) != len(old):
        raise ValueError(
            "interpolate: Input and output must have the same number of spatial dimensions, but got "
            f"input with spatial dimensions of {list(old)} and size or scale_factor {each}"
        )
    new = each if size is not None else tuple(int(n * s) for n, s in zip(old, each, strict=True))
    if size is None and not recompute:
        return old, new, [1.0 / s for s in each]
    return old, new, [n / m if m else 0.0 for n, m in zip(old, new, strict=True)]


def _nearest(input: Tensor, old: Shape, new: Shape, ratios: list[float], shift: float) -> Tensor:
    if not (input.is_floating_point() or input.dtype is uint8):
        raise NotImplementedError(
            f"interpolate: not implemented for '{input.dtype.title}'; cast the input with .float()"
        )
    # PyTorch's "nearest" of two dims does not look at the ratio for these.
    whole = (1, 2) if shift == 0 and len(old) == 2 else ()
    if all(
        m % n == 0 and (m // n in whole or r == n / m)
        for n, m, r in zip(old, new, ratios, strict=True)
    ):
        return _repeated(input, old, new)
    out = input
    for dim, (n, m, ratio) in enumerate(zip(old, new, ratios, strict=True)):
        ratio = n / m if m / n in whole else ratio
        number = call1(p.cast, positions(m, input.device), (float32,))  # single, as PyTorch does
        out = index_select(out, 2 + dim, _index((number + shift) * ratio, n))
    return out


def _repeated(input: Tensor, old: Shape, new: Shape) -> Tensor:
    """Every element as often as the new sizes are multiples of the old ones."""
    out = input
    for k in reversed(range(len(old))):  # the last dim, whose copies are slow, while there are few
        n, m = old[k], new[k]
        lead, after = tuple(out.shape[: 2 + k]), tuple(out.shape[3 + k :])
        if m != n:
            apart = reshape(out, (*lead, n, 1, *after))
            out = reshape(expand(apart, (*lead, n, m // n, *after)), (*lead, m, *after))
    return clone(input) if out is input else out


def _index(place: Tensor, n: int) -> Tensor:
    """Places as indices of `n` elements: rounded down and bounded."""
    return clamp(call1(p.cast, floor(place), (int64,)), 0, n - 1)


def _linear(n: int, place: Tensor) -> Taps:
    place = clamp_min(place, 0)
    first = clamp_max(floor(place), n - 1)
    part = clamp_max(place - first, 1)
    return [(_index(first, n), 1 - part), (_index(first + 1, n), part)]


def _cubic(n: int, place: Tensor) -> Taps:
    first = floor(place)
    weights = cubic_weights(place - first, -0.75)
    return [(_index(first + k, n), w) for k, w in enumerate(weights, -1)]


def cubic_weights(part: Tensor, a: float) -> list[Tensor]:
    """The weights of four neighbours for a place that is `part` of the way from the second to the third.

    Source: Keys 1981, Cubic convolution interpolation, eq. 4.
    """
    return [_keys(d, a) for d in (part + 1, part, 1 - part, 2 - part)]


def _keys(distance: Tensor, a: float) -> Tensor:
    """Keys's kernel at a distance that is not negative."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return where(d <= 1, near, where(d < 2, far, 0))


def _widened(n: int, centre: Tensor, ratio: float, mode: str) -> Taps:
    """Filters that reach over all that one result stands for, as Pillow's resize does."""
    kernel: Callable[[Tensor], Tensor]
    if mode == "bicubic":
        reach, kernel = 2.0, lambda d: _keys(d, -0.5)
    else:
        reach, kernel = 1.0, lambda d: clamp_min(1 - d, 0)
    wide = max(ratio, 1.0)
    first = clamp_min(trunc(centre - reach * wide + 0.5), 0)
    end = clamp_max(trunc(centre + reach * wide + 0.5), n)
    taps, total = [], 0
    for k in range(2 * ceil(reach * wide) + 1):
        place = first + k
        weight = where(place < end, kernel((place - centre + 0.5).abs() / wide), 0)
        taps.append((_index(place, n), weight))
        total = weight + total
    return [(index, weight / total) for index, weight in taps]


def _weighted(x: Tensor, dim: int, taps: Taps) -> Tensor:
    """The sum over taps of elements along a dim times their weights."""
    after = (1,) * (x.ndim - 1 - dim)
    out: Any = None
    for index, weight in taps:
        part = index_select(x, dim, index) * reshape(weight, (-1, *after))
        out = part if out is None else out + part
    return out


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=3,
    )


@op
def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The old name of `interpolate`."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@op
def upsample_nearest(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """The old name of `interpolate` with mode "nearest"."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor)


@op
def upsample_bilinear(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """The old name of `interpolate` with mode "bilinear" and aligned corners."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)
