"""Gradients on their way while backward still computes others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.client import Client
from tensorgl.distributed.replica import Replica
from tensorgl.tensor import Tensor

__all__ = ["Overlap"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


class Overlap:
    """Sends buckets of gradients as soon as backward has made them, in order.

    Gradients may still be changed before the optimizer's step: clipped, or added to by another backward.
    Then all are sent again, which is right, though slow; `DistributedDataParallel.no_sync` keeps them back.

    Args:
        client: the run.
        replica: the parameters.
        begin: begins the contribution.
        wanted: whether gradients are to be sent now.
    """

    def __init__(
        self,
        client: Client,
        replica: Replica,
        begin: Callable[[], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._client, self._replica, self._begin, self._wanted = client, replica, begin, wanted
        self._buckets = replica.buckets
        self._number = {id(p): k for k, bucket in enumerate(self._buckets) for p in bucket}
        self._made: set[int] = set()
        self._sent: list[Array] = []
        self._hooks = [
            p.register_post_accumulate_grad_hook(self._arrived)
            for bucket in self._buckets
            for p in bucket
        ]

    def complete(self) -> None:
        """Send what was not sent, or was changed since."""
        # Compared, as a gradient may be written to in ways that nothing counts: by .data or .numpy().
        now = self._replica.gradients()
        if not all(_same(sent, values) for sent, values in zip(self._sent, now, strict=False)):
            self._sent.clear()
        if not self._sent:
            self._begin()
        for values in self._replica.gradients(len(self._sent)):
            self._client.put(values)
        self._sent.clear()
        self._made.clear()

    def close(self) -> None:
        """Send nothing from now on."""
        for hook in self._hooks:
            hook.remove()

    def _arrived(self, p: Tensor) -> None:
        if not self._wanted():
            return
        if id(p) in self._made:  # of another backward: what was sent is not all
            self._sent.clear()
            self._made.clear()
        self._made.add(id(p))
        while len(self._sent) < len(self._buckets):
            bucket = self._buckets[len(self._sent)]
            if not all(id(q) in self._made for q in bucket):
                return
            values = next(self._replica.gradients(len(self._sent)))
            if not np.isfinite(values).all():
                return  # the hub would reject it, and the script may yet skip this step
            if not self._sent:
                self._begin()
            self._client.put(values)
            self._sent.append(values)


def _same(one: Array, other: Array) -> bool:
    """Whether they are equal bit for bit, as NaN is to itself."""
    return np.array_equal(one.view(np.uint32), other.view(np.uint32))
