"""Schedules that go up and down: cosine, warm restarts, cycles and the one cycle."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, floor, log, pi
from typing import Any

from tensorgl.effects import effect
from tensorgl.optim.lr_scheduler.base import LRScheduler, per_group
from tensorgl.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingLR(LRScheduler):
    """A half cosine from the initial rate to `eta_min` in `T_max` epochs, and back.

    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803  (PyTorch's name)
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`."""
        t, n, low = self.last_epoch, self.T_max, self.eta_min
        if t == 0:
            return self.lrs
        if (t - 1 - n) % (2 * n) == 0:  # just past the bottom, where the ratio below is 0 / 0
            rise = (1 - cos(pi / n)) / 2
            return [
                lr + (base - low) * rise for lr, base in zip(self.lrs, self.base_lrs, strict=True)
            ]
        ratio = (1 + cos(pi * t / n)) / (1 + cos(pi * (t - 1) / n))
        return [ratio * (lr - low) + low for lr in self.lrs]

    def _get_closed_form_lr(self) -> list[float]:
        fall = (1 + cos(pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * fall for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines to `eta_min`, each `T_mult` times as long as the one before; the first lasts `T_0`.

    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803  (PyTorch's names)
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = self.T_i = T_0
        self.T_mult, self.eta_min, self.T_cur = T_mult, eta_min, last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`."""
        fall = (1 + cos(pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * fall for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch, or to `epoch`, which may be a fraction."""
        if epoch is not None and epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        if epoch is None:
            super().step()
        else:
            effect(lambda: self._go_to(epoch))  # type: ignore[arg-type]

    def _advance(self, epoch: int, rates: Callable[[], list[float]] | None = None) -> None:
        if self.T_mult == 1:
            cycle = epoch // self.T_0
            self.T_i, self.T_cur = self.T_0, epoch - cycle * self.T_0
        else:
            cycle = floor(log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult) + 1e-9)
            self.T_i = self.T_0 * self.T_mult**cycle
            self.T_cur = epoch - self.T_0 * (self.T_mult**cycle - 1) // (self.T_mult - 1)
        super()._advance(epoch, rates)
        self.last_epoch = floor(epoch)


class CyclicLR(LRScheduler):
    """Between `base_lr` and `max_lr` and back, again and again; momentum the other way round.

    Args:
        optimizer: whose groups are scheduled.
        base_lr: lower bound, one or one a group.
        max_lr: upper bound, one or one a group.
        step_size_up: updates of the rising half.
        step_size_down: updates of the falling half; default: as many.
        mode: "triangular", "triangular2" (each cycle half as high), "exp_range" (gamma ** update).
        gamma: for "exp_range".
        scale_fn: a height of one's own instead of a mode, of the cycle or the update.
        scale_mode: whether `scale_fn` is of the "cycle" or of the "iterations".
        cycle_momentum: whether momentum (or beta 1) cycles too.
        base_momentum: lower bound of it.
        max_momentum: upper bound of it.
        last_epoch: -1 to start, or the update to resume after.

    Source: Smith 2017, "Cyclical Learning Rates for Training Neural Networks".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"mode is invalid and scale_fn is None: given {mode!r}")
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        base_lrs = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = lr
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma = mode, gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        self.base_momentums = per_group("base_momentum", optimizer, base_momentum)
        self.max_momentums = per_group("max_momentum", optimizer, max_momentum)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _scale(self, x: float) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(x)
        if self.mode == "exp_range":
            return self.gamma**x
        return 1.0 if self.mode == "triangular" else 1 / 2.0 ** (x - 1)

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`; sets momentum as well."""
        cycle = floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        height *= self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            bounds = zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            )
            for group, low, high in bounds:
                set_momentum(group, high - (high - low) * height)
        bases = [g["initial_lr"] for g in self.optimizer.param_groups]
        return [low + (high - low) * height for low, high in zip(bases, self.max_lrs, strict=True)]


class OneCycleLR(LRScheduler):
    """From a low rate up to `max_lr` and down to almost nothing, once; momentum the other way round.

    Args:
        optimizer: whose groups are scheduled.
        max_lr: the highest rate, one or one a group.
        total_steps: updates in all; or else `epochs` times `steps_per_epoch`.
        epochs: see total_steps.
        steps_per_epoch: see total_steps.
        pct_start: which part of the cycle rises.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum (or beta 1) cycles too.
        base_momentum: lower bound of it.
        max_momentum: upper bound of it.
        div_factor: max_lr over the first rate.
        final_div_factor: the first rate over the last one.
        three_phase: fall back to the first rate as long as it rose, then anneal.
        last_epoch: -1 to start, or the update to resume after.

    Source: Smith and Topin 2018, "Super-Convergence".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "You must define either total_steps OR (epochs AND steps_per_epoch)"
                )
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.cycle_momentum = cycle_momentum
        up = pct_start * total_steps - 1
        # (last update, rates' names at the start and the end, momenta's names likewise)
        if three_phase:
            self._phases: list[Any] = [
                (up, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                (2 * up, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                (total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self._phases = [
                (up, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                (total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"),
            ]
        if last_epoch == -1:
            rates = per_group("max_lr", optimizer, max_lr)
            lows = per_group("base_momentum", optimizer, base_momentum)
            highs = per_group("max_momentum", optimizer, max_momentum)
            for group, rate, low, high in zip(
                optimizer.param_groups, rates, lows, highs, strict=True
            ):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = low, high
                    set_momentum(group, high)
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) / 2.0 * (1 + cos(pi * part))

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`; sets momentum as well."""
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(
                f"Tried to step {t} times. The specified number of total steps is {self.total_steps}"
            )
        phases = self._phases
        k = next((k for k, phase in enumerate(phases) if t <= phase[0]), len(phases) - 1)
        begin = phases[k - 1][0] if k else 0.0
        end, *names = phases[k]
        part = (t - begin) / (end - begin)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._anneal(group[names[0]], group[names[1]], part))
            if self.cycle_momentum:
                set_momentum(group, self._anneal(group[names[2]], group[names[3]], part))
        return rates


def set_momentum(group: dict[str, Any], value: float) -> None:
    """Set a group's momentum, or its beta 1."""
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
