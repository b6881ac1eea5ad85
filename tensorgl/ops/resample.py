"""interpolate: the dims after (N, C) in another size.

Every mode but "area" goes dim by dim: each result is a weighted sum of a few elements, its taps, whose
indices and weights depend on the sizes alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, op
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.dtypes import float16, float32, int64, uint8
from tensorgl.ops.adaptive_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tensorgl.ops.comparison import where
from tensorgl.ops.gathering import index_select
from tensorgl.ops.geometry import Shape
from tensorgl.ops.movement import expand, reshape
from tensorgl.ops.reduction import sum
from tensorgl.ops.support import positions

__all__ = ["cubic", "interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

Tensor = Any
Taps = tuple[Tensor, Tensor]  # indices and weights, (taps, size)

_DIMS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_NEAREST = ("nearest", "nearest-exact")
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
        mode: "nearest" (by PyTorch's old rule), "nearest-exact", "area" (means of windows), or by the
            number of dims "linear", "bilinear", "bicubic", "trilinear".
        align_corners: let the centres of the corner elements stay corners, not their outer edges.
        recompute_scale_factor: use the ratio of the sizes, not the `scale_factor` that gave them.
        antialias: widen bilinear and bicubic filters when making an image smaller.

    Raises:
        ValueError: the arguments exclude each other, or do not fit the dims.
        NotImplementedError: the mode is not one for this number of dims or for this dtype.
        RuntimeError: a size is not positive.
    """
    nd = input.ndim - 2
    _check_mode(input, mode, align_corners, antialias)
    new, ratios = _sizes(input, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return _AREA[nd](input, new)
    if mode in _NEAREST:
        return _nearest(input, new, ratios, mode == "nearest-exact")
    out = call1(p.cast, input, (float32,)) if input.dtype is float16 else input
    for dim, (n, m, ratio) in enumerate(zip(input.shape[2:], new, ratios, strict=True), 2):
        if align_corners:
            ratio = (n - 1) / (m - 1) if m > 1 else 0.0
        if n == m and ratio == 1:
            continue
        make = (_smooth if antialias else _cubic) if mode == "bicubic" else _linear
        if antialias and mode == "bilinear":
            make = _smooth_linear
        taps = make(n, _centres(out, m), ratio, bool(align_corners))
        out = _weighted(out, dim, taps)
    return call1(p.cast, out, (float16,)) if input.dtype is float16 else out
