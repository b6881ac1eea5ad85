"""Adam and its descendants: first and second moments of the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from tensorgl.optim.optimizer import Optimizer, check
from tensorgl.tensor import Tensor

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class _Moments(Optimizer):
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

    @staticmethod
    def decayed(p: Tensor, g: Tensor, group: dict[str, Any], decoupled: bool) -> Tensor:
        """The gradient with weight decay added, or `p` shrunk in place where it is decoupled."""
        decay = group["weight_decay"]
        if not decay:
            return g
        if decoupled:
            p.mul_(1 - group["lr"] * decay)
            return g
        return g.add(p, alpha=decay)

    @staticmethod
    def moments(
        p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> tuple[Tensor, Tensor, int]:
        """Both running moments after this gradient, and the number of steps."""
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = p.new_zeros(p.shape), p.new_zeros(p.shape)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.lerp_(g, 1 - beta1)
        v.copy_(v * beta2 + g * g * (1 - beta2))
        return m, v, state["step"]


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
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        g = self.decayed(p, g, group, group["decoupled_weight_decay"])
        m, v, step = self.moments(p, g, state, group)
        beta1, beta2 = group["betas"]
        if group["amsgrad"]:
            largest = state.get("max_exp_avg_sq")
            largest = state["max_exp_avg_sq"] = v.clone() if largest is None else largest.maximum(v)
            v = largest
        denominator = v.sqrt() / sqrt(1 - beta2**step) + group["eps"]
        p.add_(m / denominator, alpha=-group["lr"] / (1 - beta1**step))


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
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
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
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        g = self.decayed(p, g, group, group["decoupled_weight_decay"])
        m, v, step = self.moments(p, g, state, group)
        beta1, beta2 = group["betas"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product = state["mu_product"] = state.get("mu_product", 1.0) * mu
        denominator = (v / (1 - beta2**step)).sqrt() + group["eps"]
        p.add_(g / denominator, alpha=-group["lr"] * (1 - mu) / (1 - product))
        p.add_(m / denominator, alpha=-group["lr"] * mu_next / (1 - product * mu_next))


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
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        g = self.decayed(p, g, group, group["decoupled_weight_decay"])
        m, v, step = self.moments(p, g, state, group)
        beta1, beta2 = group["betas"]
        corrected = m / (1 - beta1**step)
        longest = 2 / (1 - beta2) - 1  # rho at infinity
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        if length > 5:
            rectify = sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
            corrected = corrected * (rectify * sqrt(1 - beta2**step)) / (v.sqrt() + group["eps"])
        p.add_(corrected, alpha=-group["lr"])


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
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step for one parameter."""
        g = self.decayed(p, g, group, decoupled=False)
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_inf"] = p.new_zeros(p.shape), p.new_zeros(p.shape)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        m, u = state["exp_avg"], state["exp_inf"]
        m.lerp_(g, 1 - beta1)
        u.copy_((u * beta2).maximum(g.abs() + group["eps"]))
        p.add_(m / u, alpha=-group["lr"] / (1 - beta1 ** state["step"]))
