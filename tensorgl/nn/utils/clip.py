"""Bounds on gradients: by their norm, or element by element."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorgl.autograd import no_grad
from tensorgl.creation import zeros
from tensorgl.ops.joining import stack
from tensorgl.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

_Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: _Tensors) -> list[Tensor]:
    items = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in items if p.grad is not None]


@no_grad()
def get_total_norm(
    tensors: _Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as if they were one vector; `foreach` is accepted and ignored.

    Raises:
        RuntimeError: it is NaN or infinite, and `error_if_nonfinite` is true.
    """
    items = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not items:
        return zeros(())
    norm_type = float(norm_type)
    place = items[0].device
    norms = [t.norm(norm_type).to(place) for t in items]
    total = norms[0] if len(norms) == 1 else stack(norms).norm(norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the non-finite "
            "norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: _Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by `max_norm / total_norm` where that is below 1."""
    scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for g in _gradients(parameters):
        g.mul_(scale.to(g.device))


def clip_grad_norm_(
    parameters: _Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place so that their norm as one vector is at most `max_norm`.

    Returns:
        The norm that they had.

    Raises:
        RuntimeError: that is NaN or infinite, and `error_if_nonfinite` is true.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


@no_grad()
def clip_grad_value_(parameters: _Tensors, clip_value: float, foreach: Any = None) -> None:
    """Clamp every element of all gradients to [-clip_value, clip_value], in place."""
    bound = float(clip_value)
    for g in _gradients(parameters):
        g.clamp_(-bound, bound)
