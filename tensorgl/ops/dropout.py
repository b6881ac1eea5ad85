"""Dropout: elements or whole channels set to 0 (or to selu's floor) at random."""

from __future__ import annotations

from math import sqrt
from typing import Any

from tensorgl.dispatch import op
from tensorgl.inplace import inplace as write
from tensorgl.ops.activation import SELU_ALPHA, SELU_SCALE
from tensorgl.ops.sampling import bernoulli_mask

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]

Tensor = Any


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _mask(input: Tensor, p: float, lead: int) -> Tensor:
    """1 with probability 1 - p, else 0; one draw for all that share the first `lead` indices."""
    shape = (*input.shape[:lead], *(1,) * (input.ndim - lead))
    return bernoulli_mask(shape, 1 - p, input.device).to(input.dtype)


def _dropped(input: Tensor, p: float, training: bool, inplace: bool, lead: int) -> Tensor:
    _check(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    out = input * (_mask(input, p, lead) * (1 / (1 - p)) if p < 1 else 0)
    return write(input, out) if inplace else out


@op
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, 0 with probability `p`, and the rest scaled by `1 / (1 - p)`; else the input.

    Source: Hinton et al. 2012, Improving neural networks by preventing co-adaptation.

    Raises:
        ValueError: `p` is not in [0, 1].
    """
    return _dropped(input, p, training, inplace, input.ndim)


@op
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input; for dropout of "
            "elements use dropout"
        )
    return _dropped(input, p, training, inplace, input.ndim - 1)


@op
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W); dims 0 and 1 are N and C whatever follows."""
    _check_features("dropout2d", input)
    return _dropped(input, p, training, inplace, 2)


@op
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _check_features("dropout3d", input)
    return _dropped(input, p, training, inplace, 2 if input.ndim == 5 else 1)


def _check_features(name: str, input: Tensor) -> None:
    if input.ndim < 2:
        raise RuntimeError(
            f"{name}: Feature dropout requires at least 2 dimensions in the input, got {input.ndim}"
        )


def _alpha_dropped(input: Tensor, p: float, training: bool, inplace: bool, lead: int) -> Tensor:
    """Set to selu's floor instead of 0, then restore mean and variance."""
    _check(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        out = input * 0
    else:
        floor = -SELU_ALPHA * SELU_SCALE
        scale = 1 / sqrt((floor * floor * p + 1) * (1 - p))
        mask = _mask(input, p, lead)
        out = input * (mask * scale) + ((1 - mask) * (floor * scale) - floor * p * scale)
    return write(input, out) if inplace else out


@op
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for `selu`.

    Source: Klambauer et al. 2017, Self-Normalizing Neural Networks.
    """
    return _alpha_dropped(input, p, training, inplace, input.ndim)


@op
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels, dim 1 of the input."""
    _check_features("feature_alpha_dropout", input)
    return _alpha_dropped(input, p, training, inplace, 2)
