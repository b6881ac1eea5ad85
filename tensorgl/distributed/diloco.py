"""Training apart: members make many steps by themselves, and then agree on what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgl.distributed.ddp import Wrapper
from tensorgl.optim import Optimizer

__all__ = ["DiLoCo"]


class DiLoCo(Wrapper):
    """An optimizer that makes its steps here, and tells the hub only what came of H of them.

    The hub takes the mean change of all members' parameters for a gradient, and makes a step of
    Nesterov's accelerated gradient by it; its result is what all go on with. The running statistics of
    batch norms become those of all members together. The state of the local optimizer stays each member's
    own. For slow or far connections: H times less is sent.

    With a DistributedSampler, a member contributes when its share of the data is used up, which is after
    more steps than H where it is faster than others.

    Args:
        optimizer: the local one, of any kind.
        H: local steps.
        outer_lr: the hub's learning rate.
        outer_momentum: the hub's momentum.

    Source: Douillard et al. 2023, "DiLoCo: Distributed Low-Communication Training of Language Models".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        H: int = 50,  # noqa: N803 (the paper's name)
        outer_lr: float = 0.7,
        outer_momentum: float = 0.9,
    ) -> None:
        if H < 1:
            raise ValueError(f"DiLoCo: expected at least one local step, given H={H}")
        super().__init__(optimizer, together=True)
        options = {
            "lr": outer_lr,
            "momentum": outer_momentum,
            "dampening": 0,
            "weight_decay": 0,
            "nesterov": outer_momentum > 0,
            "maximize": False,
        }
        self._define("SGD", [options], H)
        self._client.local = True
        self.H = H
        self._begin()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a local step, and after the last one take over what all members came to.

        Args:
            closure: clears the gradients, computes the loss and its gradient, and returns the loss.

        Returns:
            What the closure returned, or None.

        Raises:
            HubError: the hub refuses it for good.
            RuntimeError: something was changed since this was made that a run keeps.
        """
        self._check()
        loss = self.optimizer.step(closure)
        self._steps += 1
        self._stepped += self._counted()
        self._forget()
        left = self._client.remaining
        if (self._steps == self.H) if left is None else not left:
            self._contribute()
        return loss

    def _contribute(self) -> None:
        client, replica = self._client, self._replica
        samples = self._given() or self._share() or self._stepped or self._steps
        now = replica.values()
        client.begin(replica.version, samples, [])
        for values in replica.cut(self._start[: len(now)] - now):
            client.put(values)
        if replica.norms.definition:
            client.put(replica.norms.of_steps(replica.statistics(self._start)))
        client.commit()
        replica.load()
        self._begin()

    def _refresh(self) -> None:
        """Take over the run's parameters, but not in the middle of local steps."""
        if not self._steps:
            super()._refresh()
            self._begin()

    def _begin(self) -> None:
        """Make local steps from here on."""
        self._start = self._replica.view.values.copy()
        self._steps = self._stepped = 0  # and the samples of these
