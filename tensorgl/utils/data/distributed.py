"""The sampler of data that members of a run share."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np

from tensorgl.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


_NO_STEP = (
    "DistributedSampler: the next batch is known after the optimizer's step, which was not made: call it "
    "for every batch (with gradients of 0, if that is to be skipped), "
    "and leave num_workers of the DataLoader at 0"
)


class DistributedSampler(Sampler):
    """Batches of this member's shares of a data set, as the `batch_sampler` of a DataLoader.

    The hub gives out each sample of an epoch once, in rounds: to whoever takes part at the time, more to
    who is faster. With a HubOptimizer, a batch is this member's share of a round; the next one comes after
    its step. With DiLoCo, a share is cut into batches.

    An iteration ends with the epoch, whoever worked on it. After `set_epoch`, one that all others have
    ended is empty: a script that joins late catches up so.

    Args:
        dataset: of which only the length matters.
        batch_size: samples of a round, of all members together; with DiLoCo, of a member's step.
        shuffle: in another order each epoch, the same for everybody.
        seed: of that order.
    """

    def __init__(
        self, dataset: Sized, batch_size: int, shuffle: bool = True, seed: int = 0
    ) -> None:
        from tensorgl.distributed.group import client  # which stands above this module

        self._client = client()
        self._size, self._batch_size = len(dataset), batch_size
        self._shuffle, self._seed = shuffle, seed
        self._epoch: int | None = None
        self._order = -1, np.empty(0, np.int64)
        self._client.define("data", {"size": self._size, "batch": batch_size, "seed": seed})

    def set_epoch(self, epoch: int) -> None:
        """Iterate over this epoch of the run next; nothing, if it is over."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        client = self._client
        epoch, self._epoch = self._epoch, None
        while True:
            task = client.take()
            if (
                task.share is None and not client.begun
            ):  # of a round that began before the data was defined
                client.decline()
                continue
            if task.share is None:
                raise RuntimeError(_NO_STEP)
            current = task.share[0] // self._size
            epoch = current if epoch is None else epoch
            if current > epoch:
                return
            indices = self._indices(*task.share)
            size = self._batch_size if client.local else len(indices)
            for start in range(0, len(indices), size):
                client.remaining = -(-(len(indices) - start) // size) - 1
                yield indices[start : start + size]
            if client.task is task or client.begun:
                raise RuntimeError(_NO_STEP)

    def __len__(self) -> int:
        """Batches of an epoch, as if all members went on at the same speed."""
        count = -(-self._size // self._batch_size)
        return -(-count // max(1, self._client.world)) if self._client.local else count

    def _indices(self, start: int, stop: int) -> list[int]:
        """Those of some samples of the endless stream of epochs, which lie in one of them."""
        epoch, first = divmod(start, self._size)
        if not self._shuffle:
            return list(range(first, first + stop - start))
        if self._order[0] != epoch:
            source = np.random.Generator(np.random.PCG64([self._seed, epoch]))
            self._order = epoch, source.permutation(self._size)
        return self._order[1][first : first + stop - start].tolist()
