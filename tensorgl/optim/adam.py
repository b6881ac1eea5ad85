"""Adam and its descendants: first and second moments of the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from tensorgl.inplace import inplace
from tensorgl.optim.flat import Elementwise, Group, Numbers, State, Structure
from tensorgl.optim.optimizer import check
from tensorgl.tensor import Tensor

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class _Moments(Elementwise):
    """What the family shares: checks, decay, and the running moments."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        **options: Any,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        check("epsilon value", eps, eps >= 0)
        check("beta parameter at index 0", betas[0], 0 <= betas[0] < 1)
        check("beta parameter at index 1", betas[1], 0 <= betas[1] < 1)
        check("weight_decay value", weight_decay, weight_decay >= 0)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | options)

    def structure(self, group: Group) -> Structure:
        """Whether there is weight decay, whether it is decoupled, whether beta 1 is at most a half."""
        decay = group["weight_decay"] != 0
        return (
            decay,
            decay and group.get("decoupled_weight_decay", False),
            1 - group["betas"][0] >= 0.5,
        )

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """Both running means."""
        return "exp_avg", "exp_avg_sq"

    def numbers(self, group: Group, state: State) -> Numbers:
        """What `prepared` takes: weight decay, 1 - beta 1, beta 2, 1 - beta 2; and eps."""
        state["step"] = state.get("step", 0) + 1
        decay, (beta1, beta2) = group["weight_decay"], group["betas"]
        if group.get("decoupled_weight_decay", False):
            decay = 1 - group["lr"] * decay
        weight = 1 - beta1
        if weight >= 0.5:
            weight = 1 - weight
        return decay, weight, beta2, 1 - beta2, group["eps"]

    @staticmethod
    def prepared(
        p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The parameter and the gradient after weight decay, and both running means with it."""
        decayed, decoupled, far, *_ = structure
        decay, weight, beta2, rest2, *_ = numbers
        if decoupled:
            p = p * decay
        elif decayed:
            g = g + p * decay
        m, v = state["exp_avg"], state["exp_avg_sq"]
        approach(m, g, weight, far)
        inplace(v, v * beta2 + g * g * rest2)
        return p, g, m, v


def approach(mean: Tensor, g: Tensor, weight: Any, far: bool) -> None:
    """Move a running mean towards `g` by `weight`; if `far`, up to `weight` from `g`.

    From the nearer end, so that a mean that keeps nothing is `g` exactly.
    """
    span = g - mean
    inplace(mean, g - span * weight if far else mean + span * weight)


class Adam(_Moments):
    """Adaptive moments.

    m and v are running means of g and g²; p = p - lr * m' / (sqrt(v') + eps), with m', v' corrected
    for their start at zero.

    Args:
        params: what to optimize.
        lr: learning rate.
        betas: how much of m and v is kept each step.
        eps: added to the denominator.
        weight_decay: L2 penalty, or decoupled decay with `decoupled_weight_decay`.
        amsgrad: divide by the largest v so far.
        maximize: ascend instead.
        decoupled_weight_decay: as in AdamW.

    Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def structure(self, group: Group) -> Structure:
        """With whether to divide by the largest v."""
        return *super().structure(group), group["amsgrad"]

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """Both running means, and the largest v so far."""
        return (*super().kept(structure), *("max_exp_avg_sq",) * structure[-1])

    def numbers(self, group: Group, state: State) -> Numbers:
        """With the divisor of sqrt(v), and minus the rate of m."""
        common = super().numbers(group, state)
        step, (beta1, beta2) = state["step"], group["betas"]
        return *common, sqrt(1 - beta2**step), -group["lr"] / (1 - beta1**step)

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        start, _, m, v = self.prepared(p, g, state, structure, numbers)
        *_, eps, correction, rate = numbers
        if structure[-1]:
            largest = state["max_exp_avg_sq"]
            v = inplace(largest, largest.maximum(v))
        inplace(p, start + m / (v.sqrt() / correction + eps) * rate)


class AdamW(Adam):
    """Adam with decoupled weight decay: p shrinks by lr * weight_decay apart from the gradient.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            fused=fused,
            decoupled_weight_decay=True,
        )


class NAdam(_Moments):
    """Adam with Nesterov momentum.

    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        check("momentum_decay value", momentum_decay, momentum_decay >= 0)
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            fused=fused,
        )

    counts = ("step", "mu_product")

    def numbers(self, group: Group, state: State) -> Numbers:
        """With the corrections of v, and minus the rates of g and m."""
        common = super().numbers(group, state)
        step, (beta1, beta2) = state["step"], group["betas"]
        decay = group["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
        product = state["mu_product"] = state.get("mu_product", 1.0) * mu
        return (
            *common,
            1 - beta2**step,
            -group["lr"] * (1 - mu) / (1 - product),
            -group["lr"] * mu_next / (1 - product * mu_next),
        )

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        start, g, m, v = self.prepared(p, g, state, structure, numbers)
        *_, eps, correction, rate, rate_next = numbers
        divisor = (v / correction).sqrt() + eps
        inplace(p, start + g / divisor * rate + m / divisor * rate_next)


class RAdam(_Moments):
    """Adam whose adaptive rate waits until the variance of its estimate is finite.

    Source: Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond", algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            fused=fused,
        )

    def numbers(self, group: Group, state: State) -> Numbers:
        """With what makes the divisor 1 while the variance is not finite, and the corrections of m."""
        common = super().numbers(group, state)
        step, (beta1, beta2) = state["step"], group["betas"]
        length_max = 2 / (1 - beta2) - 1  # rho at infinity
        length = length_max - 2 * step * beta2**step / (1 - beta2**step)
        on, eps, rectify = 0.0, 1.0, 1.0
        if length > 5:
            on, eps = 1.0, group["eps"]
            rectify = sqrt(
                (length - 4)
                * (length - 2)
                * length_max
                / ((length_max - 4) * (length_max - 2) * length)
            ) * sqrt(1 - beta2**step)
        return *common[:-1], on, eps, 1 - beta1**step, rectify, -group["lr"]

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        start, _, m, v = self.prepared(p, g, state, structure, numbers)
        *_, on, eps, correction, rectify, rate = numbers
        step = m / correction * rectify / (v.sqrt() * on + eps)
        inplace(p, start + step * rate)


class Adamax(_Moments):
    """Adam with the infinity norm in place of the second moment.

    Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize, fused=fused)

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """The running mean, and the largest gradient."""
        return "exp_avg", "exp_inf"

    def numbers(self, group: Group, state: State) -> Numbers:
        """With minus the rate."""
        common = super().numbers(group, state)
        return *common, -group["lr"] / (1 - group["betas"][0] ** state["step"])

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """One step."""
        decayed, _, far = structure
        decay, weight, beta2, _, eps, rate = numbers
        if decayed:
            g = g + p * decay
        m, u = state["exp_avg"], state["exp_inf"]
        approach(m, g, weight, far)
        inplace(u, (u * beta2).maximum(g.abs() + eps))
        inplace(p, p + m / u * rate)
