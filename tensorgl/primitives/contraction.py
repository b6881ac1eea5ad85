"""Contractions: batched matmul, and convolution with its two adjoints (the three close on each other).

Convolutions take N spatial dims; `stride`, `dilation` are tuples of N, `padding` N pairs (before, after).
`after` may be negative: no window then reaches the last elements.
"""

from __future__ import annotations

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.primitives.core import Result, Shape, broadcast_shapes, primitive

__all__ = [
    "conv",
    "conv_input",
    "conv_weight",
    "matmul",
]


Avals = tuple[Aval, ...]
Pairs = tuple[tuple[int, int], ...]


def _same_dtype(name: str, avals: Avals) -> dtypes.dtype:
    first = avals[0].dtype
    for a in avals[1:]:
        if a.dtype is not first:
            raise RuntimeError(
                f"{name}: expected operands of one dtype, given {first.name} and {a.dtype.name}; "
                "cast one with .to(dtype)"
            )
    return first


def _matmul(avals: Avals) -> Result:
    """Both operands have at least two dims; the others broadcast."""
    a, b = avals
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {a.dtype.name} != {b.dtype.name}; "
            "cast one with .to(dtype)"
        )
    if a.dtype is dtypes.bool:
        raise NotImplementedError("matmul: not implemented for 'Bool'; cast with .int()")
    if a.shape[-1] != b.shape[-2]:
        left, right = ("x".join(map(str, s)) for s in (a.shape, b.shape))
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({left} and {right})")
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Result((*batch, a.shape[-2], b.shape[-1]), a.dtype)


def conv_size(n: int, k: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """How many positions a window of `k` taps has along `n` (Dumoulin & Visin 2016, eq. 14)."""
    return (n + sum(padding) - dilation * (k - 1) - 1) // stride + 1


def _check_channels(name: str, channels: int, x: Aval, w: Aval, groups: int) -> None:
    """That input and weight fit: `channels` is what the weight wants."""
    given = f"Given groups={groups}, weight of size {list(w.shape)}"
    if w.shape[0] % groups or w.shape[0] < groups:
        raise RuntimeError(
            f"{name}: {given}, expected its size at dimension 0 to be a multiple of groups"
        )
    if x.shape[1] != channels:
        raise RuntimeError(
            f"{name}: {given}, expected input{list(x.shape)} to have {channels} channels, but got "
            f"{x.shape[1]} channels instead"
        )


def _conv(avals: Avals, stride: Shape, padding: Pairs, dilation: Shape, groups: int) -> Result:
    """Input (N, C, *S), weight (O, C / groups, *K) -> (N, O, *positions)."""
    x, w = avals
    d = _same_dtype("conv", avals)
    _check_channels("conv", w.shape[1] * groups, x, w, groups)
    taps = w.shape[2:]
    spatial = tuple(map(conv_size, x.shape[2:], taps, stride, padding, dilation))
    if min(spatial) < 1 or min(taps) < 1:
        padded = tuple(n + sum(p) for n, p in zip(x.shape[2:], padding, strict=True))
        reach = tuple(e * (k - 1) + 1 for k, e in zip(taps, dilation, strict=True))
        raise RuntimeError(
            f"conv: expected a kernel of at least one tap and not greater than the padded input; given "
            f"padded input {padded}, kernel {tuple(taps)}, which reaches over {reach}"
        )
    return Result((x.shape[0], w.shape[0], *spatial), d)


def _conv_input(
    avals: Avals, size: Shape, stride: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Result:
    """Adjoint of conv in its input: grad (N, O, *positions), weight -> (N, C, *size)."""
    g, w = avals
    d = _same_dtype("conv_input", avals)
    _check_channels("conv_input", w.shape[0], g, w, groups)
    return Result((g.shape[0], w.shape[1] * groups, *size), d)


def _conv_weight(
    avals: Avals, size: Shape, stride: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Result:
    """Adjoint of conv in its weight: grad (N, O, *positions), input (N, C, *S) -> (O, C / groups, *size)."""
    g, x = avals
    return Result((g.shape[1], x.shape[1] // groups, *size), _same_dtype("conv_weight", avals))


matmul = primitive("matmul", "input other", "", _matmul, "contract")
conv = primitive("conv", "input weight", "stride padding dilation groups", _conv, "contract")
conv_input = primitive(
    "conv_input", "grad weight", "size stride padding dilation groups", _conv_input, "contract"
)
conv_weight = primitive(
    "conv_weight", "grad input", "size stride padding dilation groups", _conv_weight, "contract"
)
