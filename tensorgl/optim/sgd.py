"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorgl.inplace import inplace
from tensorgl.optim.flat import Elementwise, Group, Numbers, State, Structure
from tensorgl.optim.optimizer import check
from tensorgl.tensor import Tensor

__all__ = ["SGD"]


class SGD(Elementwise):
    """Gradient descent with optional (Nesterov) momentum.

    v = momentum * v + (1 - dampening) * g; p = p - lr * v, with g + momentum * v for Nesterov. The
    first gradient is taken into v as a whole.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
    """

    counts = ()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("momentum value", momentum, momentum >= 0)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "fused": fused,
            },
        )

    def structure(self, group: Group) -> Structure:
        """Whether there is weight decay, momentum, Nesterov's kind of it."""
        return group["weight_decay"] != 0, group["momentum"] != 0, group["nesterov"]

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """The running sum of gradients."""
        return ("momentum_buffer",) if structure[1] else ()

    def numbers(self, group: Group, state: State) -> Numbers:
        """Weight decay, momentum, the part of the gradient that v takes, minus the rate."""
        taken = 1 - group["dampening"] if "momentum_buffer" in state else 1
        return group["weight_decay"], group["momentum"], taken, -group["lr"]

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        decayed, moving, nesterov = structure
        decay, momentum, taken, rate = numbers
        if decayed:
            g = g + p * decay
        if moving:
            v = state["momentum_buffer"]
            inplace(v, v * momentum + g * taken)
            g = g + v * momentum if nesterov else v
        inplace(p, p + g * rate)
