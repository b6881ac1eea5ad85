"""Learning rates that adapt by the size of past gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorgl.inplace import inplace
from tensorgl.optim.adam import approach
from tensorgl.optim.flat import Elementwise, Group, Numbers, State, Structure
from tensorgl.optim.optimizer import check
from tensorgl.tensor import Tensor

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Elementwise):
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
        fused: bool | None = None,
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
                "fused": fused,
            },
        )

    def structure(self, group: Group) -> Structure:
        """Whether there is weight decay."""
        return (group["weight_decay"] != 0,)

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """The sum of squared gradients."""
        return ("sum",)

    def begin(self, name: str, p: Tensor, group: Group) -> Tensor:
        """The sum may start above zero."""
        return p.new_full(p.shape, group["initial_accumulator_value"])

    def numbers(self, group: Group, state: State) -> Numbers:
        """Weight decay, eps, minus the rate."""
        state["step"] = state.get("step", 0) + 1
        rate = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        return group["weight_decay"], group["eps"], -rate

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        (decayed,) = structure
        decay, eps, rate = numbers
        if decayed:
            g = g + p * decay
        total = state["sum"]
        inplace(total, total + g * g)
        inplace(p, p + g / (total.sqrt() + eps) * rate)


class Adadelta(Elementwise):
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
        fused: bool | None = None,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("rho value", rho, 0 <= rho <= 1)
        check("epsilon value", eps, eps >= 0)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "fused": fused,
            },
        )

    def structure(self, group: Group) -> Structure:
        """Whether there is weight decay."""
        return (group["weight_decay"] != 0,)

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """Running means of squared gradients and of squared steps."""
        return "square_avg", "acc_delta"

    def numbers(self, group: Group, state: State) -> Numbers:
        """Weight decay, rho, 1 - rho, eps, minus the rate."""
        state["step"] = state.get("step", 0) + 1
        rho = group["rho"]
        return group["weight_decay"], rho, 1 - rho, group["eps"], -group["lr"]

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        (decayed,) = structure
        decay, rho, rest, eps, rate = numbers
        if decayed:
            g = g + p * decay
        squares, deltas = state["square_avg"], state["acc_delta"]
        inplace(squares, squares * rho + g * g * rest)
        delta = (deltas + eps).sqrt() / (squares + eps).sqrt() * g
        inplace(deltas, deltas * rho + delta * delta * rest)
        inplace(p, p + delta * rate)


class RMSprop(Elementwise):
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
        fused: bool | None = None,
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
                "fused": fused,
            },
        )

    def structure(self, group: Group) -> Structure:
        """Whether there is weight decay, momentum, centering, and whether alpha is at most a half."""
        return (
            group["weight_decay"] != 0,
            group["momentum"] != 0,
            group["centered"],
            1 - group["alpha"] >= 0.5,
        )

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """Running means of squared gradients and of gradients, and the running sum of steps."""
        _, moving, centered, _ = structure
        return (
            "square_avg",
            *("momentum_buffer",) * moving,
            *("grad_avg",) * centered,
        )

    def numbers(self, group: Group, state: State) -> Numbers:
        """Weight decay, alpha, 1 - alpha, the weight for `approach`, eps, momentum, minus the rate."""
        state["step"] = state.get("step", 0) + 1
        alpha = group["alpha"]
        weight = 1 - alpha
        return (
            group["weight_decay"],
            alpha,
            weight,
            weight if weight < 0.5 else 1 - weight,
            group["eps"],
            group["momentum"],
            -group["lr"],
        )

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        decayed, moving, centered, far = structure
        decay, alpha, rest, weight, eps, momentum, rate = numbers
        if decayed:
            g = g + p * decay
        squares = state["square_avg"]
        inplace(squares, squares * alpha + g * g * rest)
        spread = squares
        if centered:
            average = state["grad_avg"]
            approach(average, g, weight, far)
            spread = squares - average * average
        step = g / (spread.sqrt() + eps)
        if moving:
            total = state["momentum_buffer"]
            step = inplace(total, total * momentum + step)
        inplace(p, p + step * rate)
