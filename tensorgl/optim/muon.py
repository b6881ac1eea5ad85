"""Muon: momentum whose matrix update is made nearly orthogonal."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import sqrt
from typing import Any

from tensorgl.effects import effect
from tensorgl.optim.optimizer import Optimizer, check
from tensorgl.tensor import Tensor

__all__ = ["Muon"]


class Muon(Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iteration; for the matrices of hidden layers.

    B = momentum * B + (1 - momentum) * g; p = p - lr * (weight_decay * p + scale * orthogonal(B)).

    Args:
        params: 2-d parameters only.
        lr: learning rate.
        weight_decay: decoupled.
        momentum: how much of B is kept.
        nesterov: use the momentum that the next step would have.
        ns_coefficients: a, b, c of the quintic a X + (b A + c A²) X with A = X Xᵀ.
        eps: least norm that the update is divided by.
        ns_steps: iterations, fewer than 100.
        adjust_lr_fn: "original" scales by sqrt(max(1, rows / columns)), "match_rms_adamw" by
            0.2 sqrt(max(rows, columns)).

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al.
    2025, "Muon is Scalable for LLM Training".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("momentum value", momentum, momentum >= 0)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        check("ns_steps", ns_steps, 0 <= ns_steps < 100)
        check(
            "adjust_lr_fn",
            adjust_lr_fn,
            adjust_lr_fn in (None, "original", "match_rms_adamw"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimize more matrices."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim != 2:
                raise ValueError(
                    "Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{list(p.shape)}"
                )

    def form(self) -> list[Any]:
        """Of each group how many parameters it has, and what its steps are."""
        groups = self.param_groups
        return [(len(g["params"]), g["nesterov"], g["ns_steps"]) for g in groups]

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one matrix."""
        if not state:
            state["momentum_buffer"] = p.new_zeros(p.shape)
        numbers = effect(partial(_numbers, group, tuple(p.shape)))
        keep, rest, decay, rate, eps, a, b, c = numbers
        buffer = state["momentum_buffer"].mul_(keep).add_(g * rest)
        direction = g * rest + buffer * keep if group["nesterov"] else buffer
        direction = _orthogonal(direction, (a, b, c), group["ns_steps"], eps)
        p.mul_(decay).add_(direction * rate)


def _numbers(group: dict[str, Any], shape: tuple[int, ...]) -> tuple[float, ...]:
    """All numbers of one step of a matrix of this shape."""
    rows, columns = shape
    scale = sqrt(max(1, rows / columns))
    if group["adjust_lr_fn"] == "match_rms_adamw":
        scale = 0.2 * sqrt(max(rows, columns))
    momentum, rate = group["momentum"], group["lr"]
    numbers = momentum, 1 - momentum, 1 - rate * group["weight_decay"], -rate * scale
    return tuple(map(float, (*numbers, group["eps"], *group["ns_coefficients"])))


def _orthogonal(
    x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Near the closest orthogonal matrix: singular values are pulled into about [0.7, 1.2]."""
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.t()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.t()
        x = x * a + (gram * b + (gram @ gram) * c) @ x
    return x.t() if tall else x
