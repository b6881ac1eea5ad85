"""L-BFGS: a quasi-Newton method that remembers the last few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, isfinite, sqrt
from typing import Any

from tensorgl.autograd.modes import enable_grad, no_grad
from tensorgl.ops.joining import cat
from tensorgl.optim.optimizer import Optimizer, check
from tensorgl.tensor import Tensor

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Limited-memory BFGS over all parameters at once.

    Args:
        params: one group of parameters.
        lr: step length, or the first one that a line search tries.
        max_iter: iterations a call of `step`.
        max_eval: evaluations of the closure a call; default 1.25 times max_iter.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when neither the parameters nor the loss change by more.
        history_size: how many steps are remembered.
        line_search_fn: None or "strong_wolfe".

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4, 7.5, 3.5 and 3.6.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check("learning rate", lr, lr >= 0)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` iterations; the closure clears gradients, and returns the loss."""
        if closure is None:
            raise TypeError("LBFGS.step: expected a closure that reevaluates the loss, given None")
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        if not state:
            state.update(func_evals=0, n_iter=0, steps=[], changes=[], scale=1.0)
        evaluations = 0

        def evaluate() -> Any:
            nonlocal evaluations
            evaluations += 1
            state["func_evals"] += 1
            with enable_grad():
                return closure()

        first = evaluate()
        with no_grad():
            loss, g = float(first), self._flat_gradient()
            for k in range(group["max_iter"]):
                if not g.numel() or float(g.abs().max()) <= group["tolerance_grad"]:
                    break
                if k and evaluations >= group["max_eval"]:
                    break
                direction = self._direction(state, g)
                slope = float(g @ direction)
                if slope > -group["tolerance_change"]:
                    break
                length = group["lr"]
                if state["n_iter"] == 0:
                    length = min(1.0, 1.0 / float(g.abs().sum())) * group["lr"]
                state["n_iter"] += 1
                state["previous_gradient"], before = g, loss
                if group["line_search_fn"]:
                    budget = group["max_eval"] - evaluations
                    loss, g, length = self._search(
                        evaluate, direction, length, loss, g, slope, budget
                    )
                else:
                    self._move(direction, length)
                    if k + 1 < group["max_iter"]:
                        loss = float(evaluate())
                        g = self._flat_gradient()
                state["last_step"] = direction * length
                largest = float(state["last_step"].abs().max())
                if (
                    largest <= group["tolerance_change"]
                    or abs(loss - before) < group["tolerance_change"]
                ):
                    break
        return first

    def _direction(self, state: dict[str, Any], g: Tensor) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient, by the two-loop recursion."""
        steps, changes = state["steps"], state["changes"]
        if state["n_iter"]:
            y, s = g - state["previous_gradient"], state["last_step"]
            curvature = float(y @ s)
            if curvature > 1e-10:
                if len(steps) == self.param_groups[0]["history_size"]:
                    del steps[0], changes[0]
                steps.append(s)
                changes.append(y)
                state["scale"] = curvature / float(y @ y)
        q = -g
        pairs = [(s, y, 1 / float(y @ s)) for s, y in zip(steps, changes, strict=True)]
        weights = []
        for s, y, rho in reversed(pairs):
            weights.append(rho * float(s @ q))
            q = q - weights[-1] * y
        q = q * state["scale"]
        for s, y, rho in pairs:
            q = q + s * (weights.pop() - rho * float(y @ q))
        return q

    def _search(
        self,
        evaluate: Callable[[], Any],
        direction: Tensor,
        length: float,
        loss: float,
        g: Tensor,
        slope: float,
        budget: int,
    ) -> tuple[float, Tensor, float]:
        """A step that meets the strong Wolfe conditions, and what was found there."""
        start = [p.clone() for p in self._params]

        def probe(t: float) -> tuple[float, Tensor, float]:
            self._restore(start)
            self._move(direction, t)
            value = float(evaluate())
            gradient = self._flat_gradient()
            return value, gradient, float(gradient @ direction)

        found = _strong_wolfe(probe, length, loss, g, slope, max(1, min(25, budget)))
        self._restore(start)
        self._move(direction, found[2])
        return found

    def _flat_gradient(self) -> Tensor:
        return cat(
            [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._params]
        )

    def _move(self, direction: Tensor, length: float) -> None:
        offset = 0
        for p in self._params:
            p.add_(direction[offset : offset + p.numel()].view(p.shape), alpha=length)
            offset += p.numel()

    def _restore(self, values: list[Tensor]) -> None:
        for p, value in zip(self._params, values, strict=True):
            p.copy_(value)


def _strong_wolfe(
    probe: Callable[[float], tuple[float, Tensor, float]],
    t: float,
    loss: float,
    g: Tensor,
    slope: float,
    budget: int,
    decrease: float = 1e-4,
    curvature: float = 0.9,
) -> tuple[float, Tensor, float]:
    """Bracket a good step by growing it, then narrow the bracket by cubic interpolation.

    Returns:
        Loss, gradient and length of the step.
    """
    origin = (0.0, loss, g, slope)
    low, high = origin, None  # the best end of the bracket, and the other one
    previous = origin
    for k in range(budget):
        value, gradient, s = probe(t)
        point = (t, value, gradient, s)
        too_high = not isfinite(value) or value > loss + decrease * t * slope
        if high is None:  # still growing
            if too_high or (k and value >= previous[1]):
                low, high = previous, point
            elif abs(s) <= -curvature * slope:
                return value, gradient, t
            elif s >= 0:
                low, high = point, previous
            else:
                low = previous = point
                t *= 2.0
                continue
        elif too_high or value >= low[1]:
            high = point
        else:
            if abs(s) <= -curvature * slope:
                return value, gradient, t
            if s * (high[0] - low[0]) >= 0:
                high = low
            low = point
        if abs(high[0] - low[0]) * max(1.0, abs(slope)) < 1e-9:
            break
        t = _between(low, high)
    return low[1], low[2], low[0]


def _between(a: tuple[float, float, Any, float], b: tuple[float, float, Any, float]) -> float:
    """The minimum of the cubic through two points and slopes (eq. 3.59), kept off the ends."""
    (x1, f1, _, s1), (x2, f2, _, s2) = a, b
    left, right = min(x1, x2), max(x1, x2)
    t = inf
    if isfinite(f2) and x1 != x2:
        d1 = s1 + s2 - 3 * (f1 - f2) / (x1 - x2)
        square = d1 * d1 - s1 * s2
        if square >= 0:
            d2 = sqrt(square) if x2 >= x1 else -sqrt(square)
            bottom = s2 - s1 + 2 * d2
            if bottom:
                t = x2 - (x2 - x1) * (s2 + d2 - d1) / bottom
    margin = 0.1 * (right - left)
    return t if left + margin <= t <= right - margin else (left + right) / 2
