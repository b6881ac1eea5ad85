"""Learning rates that adapt by the size of past gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorgl.optim.optimizer import Optimizer, check
from tensorgl.tensor import Tensor

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """Divides by the root of the sum of all squared gradients.

    Source: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("lr_decay value", lr_decay, lr_decay >= 0)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        check(
            "initial_accumulator_value value",
            initial_accumulator_value,
            initial_accumulator_value >= 0,
        )
        check("epsilon value", eps, eps >= 0)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        if not state:
            state["step"] = 0
            state["sum"] = p.new_full(p.shape, group["initial_accumulator_value"])
        state["step"] += 1
        if group["weight_decay"]:
            g = g.add(p, alpha=group["weight_decay"])
        rate = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        total = state["sum"].add_(g * g)
        p.add_(g / (total.sqrt() + group["eps"]), alpha=-rate)


class Adadelta(Optimizer):
    """Steps as large as past steps were, relative to past gradients.

    Source: Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method", algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("rho value", rho, 0 <= rho <= 1)
        check("epsilon value", eps, eps >= 0)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        super().__init__(
            params,
            {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize},
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        if not state:
            state["step"] = 0
            state["square_avg"], state["acc_delta"] = p.new_zeros(p.shape), p.new_zeros(p.shape)
        state["step"] += 1
        rho, eps = group["rho"], group["eps"]
        if group["weight_decay"]:
            g = g.add(p, alpha=group["weight_decay"])
        squares, deltas = state["square_avg"], state["acc_delta"]
        squares.copy_(squares * rho + g * g * (1 - rho))
        delta = (deltas + eps).sqrt() / (squares + eps).sqrt() * g
        deltas.copy_(deltas * rho + delta * delta * (1 - rho))
        p.add_(delta, alpha=-group["lr"])


class RMSprop(Optimizer):
    """Divides by the root of a running mean of squared gradients.

    Source: Hinton 2012, lecture 6e of "Neural Networks for Machine Learning"; centered: Graves 2013.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("epsilon value", eps, eps >= 0)
        check("momentum value", momentum, momentum >= 0)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        check("alpha value", alpha, alpha >= 0)
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        if not state:
            state["step"] = 0
            state["square_avg"] = p.new_zeros(p.shape)
            if group["momentum"]:
                state["momentum_buffer"] = p.new_zeros(p.shape)
            if group["centered"]:
                state["grad_avg"] = p.new_zeros(p.shape)
        state["step"] += 1
        alpha = group["alpha"]
        if group["weight_decay"]:
            g = g.add(p, alpha=group["weight_decay"])
        squares = state["square_avg"]
        squares.copy_(squares * alpha + g * g * (1 - alpha))
        spread = squares
        if group["centered"]:
            average = state["grad_avg"].lerp_(g, 1 - alpha)
            spread = squares - average * average
        step = g / (spread.sqrt() + group["eps"])
        if group["momentum"]:
            step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        p.add_(step, alpha=-group["lr"])
