"""Schedulers made of schedulers, and the one that waits for a plateau."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import Any

from tensorgl.effects import effect
from tensorgl.optim.lr_scheduler.base import LRScheduler, per_group, warn_of_epoch
from tensorgl.optim.optimizer import Optimizer

__all__ = ["ChainedScheduler", "ReduceLROnPlateau", "SequentialLR"]


class SequentialLR(LRScheduler):
    """One scheduler after another; each in `milestones` is the epoch at which the next begins."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if len(schedulers) < 1:
            raise ValueError(
                "SequentialLR expects at least one scheduler to be chained, given none"
            )
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the "
                f"number of milestone points, but got number of schedulers {len(schedulers)} and the "
                f"number of milestones to be equal to {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR expects all schedulers to belong to the same optimizer")
        self.optimizer = optimizer
        self.schedulers, self.milestones = list(schedulers), milestones
        self.last_epoch = last_epoch + 1
        # Every scheduler has set its own start; begin again with the first one only.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for s in self.schedulers:
            s.last_epoch -= 1
        self._begin(self.schedulers[0])

    def _begin(self, scheduler: LRScheduler) -> None:
        scheduler._advance(scheduler.last_epoch + 1)
        self._last_lr = scheduler.get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch."""
        effect(self._go_on)

    def _go_on(self) -> tuple[float, ...]:
        self.last_epoch += 1
        k = bisect_right(self.milestones, self.last_epoch)
        scheduler = self.schedulers[k]
        if k > 0 and self.milestones[k - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler._go_on()
        self._last_lr = scheduler.get_last_lr()
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Its own state and that of each scheduler."""
        return _nested_state(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        _load_nested(self, state_dict)


class ChainedScheduler(LRScheduler):
    """All schedulers at once: each multiplies the rate."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if len(schedulers) < 1:
            raise ValueError(
                "ChainedScheduler expects at least one scheduler to be chained, given none"
            )
        optimizer = optimizer or schedulers[0].optimizer
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError(
                "ChainedScheduler expects all schedulers to belong to the same optimizer"
            )
        self.schedulers, self.optimizer = list(schedulers), optimizer
        self._last_lr = self.lrs

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch."""
        effect(self._go_on)

    def _go_on(self) -> tuple[float, ...]:
        for s in self.schedulers:
            s.step()
        self._last_lr = self.lrs
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Its own state and that of each scheduler."""
        return _nested_state(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        _load_nested(self, state_dict)


def _nested_state(scheduler: Any) -> dict[str, Any]:
    own = {k: v for k, v in scheduler.__dict__.items() if k not in ("optimizer", "schedulers")}
    return own | {"_schedulers": [s.state_dict() for s in scheduler.schedulers]}


def _load_nested(scheduler: Any, state_dict: dict[str, Any]) -> None:
    own = dict(state_dict)
    for s, state in zip(scheduler.schedulers, own.pop("_schedulers"), strict=True):
        s.load_state_dict(state)
    scheduler.__dict__.update(own)


class ReduceLROnPlateau(LRScheduler):
    """Times `factor` when a metric has not improved for `patience` epochs.

    Args:
        optimizer: whose groups are scheduled.
        mode: whether the metric should become "min" or "max".
        factor: below 1.
        patience: epochs without improvement that are borne.
        threshold: what counts as one, relative to the best or absolute.
        threshold_mode: "rel" or "abs".
        cooldown: epochs to wait after a reduction.
        min_lr: lower bound, one or one a group.
        eps: smaller changes are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError(f"Factor should be < 1.0, given {factor}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.optimizer = optimizer
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = per_group("min_lr", optimizer, min_lr)
        self.last_epoch = 0
        self._last_lr = self.lrs
        self._reset()

    def _reset(self) -> None:
        self.best = inf if self.mode == "min" else -inf
        self.cooldown_counter = self.num_bad_epochs = 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether `a` improves on `best` by more than the threshold."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * a < sign * best * (1 - sign * self.threshold)
        return sign * a < sign * best - self.threshold

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Tell the metric of an epoch; to give `epoch` is deprecated."""
        if epoch is not None:
            warn_of_epoch(3)
        current = float(metrics)
        effect(lambda: self._note(current, epoch))

    def _note(self, current: float, epoch: int | None) -> tuple[float, ...]:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lr = max(group["lr"] * self.factor, low)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self.lrs
        return ()
