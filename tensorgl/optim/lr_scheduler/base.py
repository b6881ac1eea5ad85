"""What every scheduler of learning rates shares."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tensorgl.effects import effect
from tensorgl.optim.optimizer import Optimizer

__all__ = ["LRScheduler", "per_group", "warn_of_epoch"]


class LRScheduler:
    """Sets the learning rates of an optimizer's groups; `step` after each epoch (or each update).

    A subclass gives `get_lr`: the rate of each group at `last_epoch`. Most compute it from the
    rate that the group has now, so that several schedulers can act on one optimizer. One that can
    be set to any epoch gives `_get_closed_form_lr` too, which computes it from `base_lrs`.

    Args:
        optimizer: whose groups are scheduled.
        last_epoch: -1 to start, or the epoch to resume after; groups then need "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{k}] when resuming scheduler "
                    f"with last_epoch >= 0; given last_epoch={last_epoch}"
                )
        self.optimizer = optimizer
        self.base_lrs: list[float] = [g["initial_lr"] for g in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._optimizer_stepped = False
        self._step_count = 1
        optimizer.register_step_post_hook(self._note_step)
        self._advance(last_epoch + 1)

    def _note_step(self, *_: Any) -> None:
        self._optimizer_stepped = True

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr")

    def get_last_lr(self) -> list[float]:
        """The rates that the last step set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to `epoch`, which is deprecated, and set its rates."""
        if epoch is not None:
            warn_of_epoch(3)
        if not self._optimizer_stepped and self._step_count == 1:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the "
                "opposite order: otherwise the first value of the schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._optimizer_stepped = True
        effect(self._go_on if epoch is None else lambda: self._go_to(epoch))

    def _go_on(self) -> tuple[float, ...]:
        """`step` as an effect, which gives no numbers: those are the optimizer's."""
        self._step_count += 1
        self._advance(self.last_epoch + 1)
        return ()

    def _go_to(self, epoch: int) -> tuple[float, ...]:
        """`step(epoch)` as an effect."""
        self._step_count += 1
        self._advance(epoch, getattr(self, "_get_closed_form_lr", None))
        return ()

    def restart(self) -> None:
        """Begin at epoch 0 with the initial rates, as a part of SequentialLR does."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._advance(0)

    def _advance(self, epoch: int, rates: Callable[[], list[float]] | None = None) -> None:
        self.last_epoch = epoch
        for group, lr in zip(self.optimizer.param_groups, (rates or self.get_lr)(), strict=True):
            group["lr"] = lr
        self._last_lr: list[float] = [g["lr"] for g in self.optimizer.param_groups]

    @property
    def lrs(self) -> list[float]:
        """The rates that the groups have now."""
        return [g["lr"] for g in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on, but the optimizer and functions."""
        skipped = ("optimizer",)
        return {k: v for k, v in self.__dict__.items() if k not in skipped and not callable(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)


def warn_of_epoch(stacklevel: int) -> None:
    """Say that `step(epoch)` is deprecated, to the caller so many frames above."""
    warnings.warn(
        "The epoch parameter in `scheduler.step()` is deprecated; please use `scheduler.step()`. With "
        "it the closed form of the schedule is used, where there is one.",
        UserWarning,
        stacklevel=stacklevel,
    )


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group, from one for all or a sequence."""
    count = len(optimizer.param_groups)
    if not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups: {count}, given {len(value)}"
        )
    return list(value)
