"""`pad` in all four modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call_view, op
from tensorgl.ops.joining import cat
from tensorgl.ops.movement import clone, expand, flip, padded

__all__: list[str] = []

Tensor = Any


@op("nn.functional.pad")
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Places put around a tensor, or cut off where a width is negative.

    `pad` gives (before, after) of the last dim, then of the one before it, and so on. In mode
    "constant" they are filled with `value` (default 0). The modes "reflect" (without the edge),
    "replicate" (the edge) and "circular" are for the last one to three dims of an input that has a
    channel dim and maybe a batch dim.

    Raises:
        RuntimeError: `pad` has an odd length or too many numbers, or leaves a negative size.
        NotImplementedError: this mode is not defined for these dims.
    """
    widths = _pairs(input, pad)
    if mode == "constant":
        inner = _cropped(input, widths)
        widths = tuple((max(lo, 0), max(hi, 0)) for lo, hi in widths)
        return padded(inner, widths, 0 if value is None else value)
    if mode not in _BORDERS:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    dims = len(pad) // 2
    if dims not in (1, 2, 3) or input.ndim not in (dims + 1, dims + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    out = input
    for dim, (lo, hi) in enumerate(widths):
        if lo or hi:
            out = _bordered(out, dim, lo, hi, mode)
    return clone(input) if out is input else out


def _pairs(input: Tensor, pad: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The (before, after) of every dim, in the order of the dims."""
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pad)} and input of dimension {input.ndim}"
        )
    given = [(int(pad[k]), int(pad[k + 1])) for k in range(0, len(pad), 2)]
    widths = ((0, 0),) * (input.ndim - len(given)) + tuple(reversed(given))
    for dim, (n, (lo, hi)) in enumerate(zip(input._aval.shape, widths, strict=True)):
        if n + lo + hi < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {lo} and {hi} resulted in a negative "
                f"output size, which is invalid. Check dimension {dim} of your input."
            )
    return widths


def _part(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    return call_view(p.narrow, x, (dim, length, False), start)


def _cropped(x: Tensor, widths: tuple[tuple[int, int], ...]) -> Tensor:
    """A view without what negative widths cut off."""
    for dim, (lo, hi) in enumerate(widths):
        if lo < 0 or hi < 0:
            n, start = x._aval.shape[dim], max(-lo, 0)
            length = n - start - max(-hi, 0)
            if length < 0:
                raise RuntimeError(
                    f"pad: cannot cut {max(-lo, 0)} and {max(-hi, 0)} off dimension {dim} of size {n}"
                )
            x = _part(x, dim, start, length)
    return x


def _reflected(x: Tensor, dim: int, lo: int, hi: int) -> tuple[Tensor, Tensor]:
    n = x._aval.shape[dim]
    if lo >= n or hi >= n:
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({lo}, {hi}) at dimension {dim} of input {list(x.shape)}"
        )
    return flip(_part(x, dim, 1, lo), dim), flip(_part(x, dim, n - 1 - hi, hi), dim)


def _replicated(x: Tensor, dim: int, lo: int, hi: int) -> tuple[Tensor, Tensor]:
    shape = tuple(x._aval.shape)
    if shape[dim] == 0:
        raise RuntimeError(f"Expected dimension {dim} of the input to be non-empty, given {shape}")

    def edge(start: int, length: int) -> Tensor:
        return expand(_part(x, dim, start, 1), (*shape[:dim], length, *shape[dim + 1 :]))

    return edge(0, lo), edge(shape[dim] - 1, hi)


def _wrapped(x: Tensor, dim: int, lo: int, hi: int) -> tuple[Tensor, Tensor]:
    n = x._aval.shape[dim]
    if lo > n or hi > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    return _part(x, dim, n - lo, lo), _part(x, dim, 0, hi)


_BORDERS = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}


def _bordered(x: Tensor, dim: int, lo: int, hi: int, mode: str) -> Tensor:
    """`x` with a border along one dim; a negative width cuts off."""
    inner = _cropped(x, tuple((lo, hi) if k == dim else (0, 0) for k in range(x.ndim)))
    whole = inner if mode == "circular" else x
    before, after = _BORDERS[mode](whole, dim, max(lo, 0), max(hi, 0))
    parts = [part for part, n in ((before, lo), (inner, 1), (after, hi)) if n > 0]
    return cat(parts, dim)
