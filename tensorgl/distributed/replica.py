"""A model's parameters, and what its batch norms keep, as a flat vector in buckets for the hub, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.batch_norms import BatchNorms
from tensorgl.distributed.client import Client
from tensorgl.distributed.session import HubError
from tensorgl.distributed.statistics import columns
from tensorgl.distributed.vectors import gather, scatter
from tensorgl.dtypes import float32
from tensorgl.tensor import Tensor

__all__ = ["Replica"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

FIRST_BUCKET_BYTES = 64 << 10
"""The first is small: the hub begins to reduce it while the others come in."""


class Replica:
    """Parameters that are the same at all members of a run.

    Buckets hold whole parameters of one group, the last of a model first, as their gradients are
    the first that are known. If there are batch norms, the last bucket is theirs.

    Args:
        client: the run, of which they become the model.
        groups: (name, parameter) of each group of the optimizer. Those that require no gradient are
            frozen: the run does not change them, but all members have to have the same.
        rest: what else is frozen, as it is in no group.
        norms: whose running statistics are the run's as well.
        bucket_bytes: how large a bucket may become, unless one parameter is larger.

    Attributes:
        groups: which group each bucket of parameters is of.
        norms: as given.
        version: of the run that the parameters are now.

    Raises:
        TypeError: one is not of float32.
        HubError: the run has another model.
    """

    def __init__(
        self,
        client: Client,
        groups: Sequence[Sequence[tuple[str, Tensor]]],
        rest: Sequence[tuple[str, Tensor]],
        norms: BatchNorms,
        bucket_bytes: int = 1 << 20,
    ) -> None:
        members = [
            (k, name, p)
            for k, group in enumerate(groups)
            for name, p in group
            if p.requires_grad and p.numel()
        ]
        if not members:
            raise ValueError("expected parameters that require a gradient, given none")
        for _, name, p in members:
            if p.dtype is not float32:
                raise TypeError(f"{name}: expected a parameter of float32, given {p.dtype}")
        self._client = client
        self._buckets = list(_buckets(members, bucket_bytes))
        self.groups = [bucket[0][0] for bucket in self._buckets]
        self._params = [p for bucket in self._buckets for *_, p in bucket]
        sizes = [sum(p.numel() for *_, p in bucket) for bucket in self._buckets]
        self._ends = list(np.cumsum(sizes))
        value: dict[str, Any] = {
            "parameters": [
                [name, list(p.shape)] for bucket in self._buckets for _, name, p in bucket
            ],
            "buckets": sizes,
        }
        start = self.cut(gather(self._params))
        self.norms = norms
        if norms.definition:
            value["statistics"] = norms.definition
            sizes.append(columns(norms.definition))
            start.append(norms.values())
        frozen = [(name, p) for each in groups for name, p in each if not p.requires_grad]
        if frozen := [(name, p) for name, p in (*frozen, *rest) if p.numel()]:
            value["frozen"] = _digest(frozen)
        try:
            self.view = client.define_model(value, start)
        except HubError as error:
            if not frozen:
                raise
            raise HubError(
                f"{error}. Or its frozen parameters have other values here: all members have to give them "
                "the same before the optimizer is wrapped (manual_seed, load_state_dict)"
            ) from error
        self.version = -1
        self.load()

    def load(self) -> None:
        """Give the parameters and the running statistics the values that the run has now."""
        scatter(self.view.values, self._params)
        self.norms.load(self.statistics(self.view.values))
        self.version = self.view.version
        self._writes = [p._version for p in self._params]

    @property
    def written(self) -> bool:
        """Whether others have written to the parameters since `load`, as far as writes are counted."""
        return self._writes != [p._version for p in self._params]

    def values(self) -> Array:
        """The parameters as they are now, as a vector."""
        return gather(self._params)

    def cut(self, values: Array) -> list[Array]:
        """The part of each bucket of parameters of a vector, which may be one like the view's."""
        return np.split(values[: self._ends[-1]], self._ends[:-1])

    def statistics(self, values: Array) -> Array:
        """The part of a vector like the view's that is of batch norms."""
        return values[self._ends[-1] :]

    @property
    def on_cpu(self) -> bool:
        """Whether a part of the gradients can be had for what its bytes cost."""
        return self._params[0].device.type == "cpu"

    @property
    def buckets(self) -> list[list[Tensor]]:
        """The parameters of each bucket."""
        return [[p for *_, p in bucket] for bucket in self._buckets]

    def gradients(self, first: int = 0) -> Iterator[Array]:
        """The gradient of each bucket from the first on; 0 for parameters that have none."""
        if self.on_cpu:
            for bucket in self._buckets[first:]:
                yield gather([_gradient(p) for *_, p in bucket])
        else:  # reading back costs far more than the bytes do
            yield from self.cut(gather([_gradient(p) for p in self._params]))[first:]


def _digest(named: Iterable[tuple[str, Tensor]]) -> str:
    """128 bits that tell names and values apart."""
    sums = blake2b(digest_size=16)
    for name, p in named:
        sums.update(f"{name} {list(p.shape)}".encode())
        sums.update(gather([p]).astype("<f4", copy=False).data)
    return sums.hexdigest()


def _gradient(p: Tensor) -> Tensor:
    if p.grad is None:
        return p.detach().new_zeros(p.shape)
    return p.grad


def _buckets(
    members: Sequence[tuple[int, str, Tensor]], most: int
) -> Iterator[list[tuple[int, str, Tensor]]]:
    """Parameters, the last first, in lists of one group that have `most` bytes or little more."""
    filling: dict[int, list[tuple[int, str, Tensor]]] = {}
    limit = min(FIRST_BUCKET_BYTES, most)
    for member in reversed(members):
        bucket = filling.setdefault(member[0], [])
        bucket.append(member)
        if 4 * sum(p.numel() for *_, p in bucket) >= limit:
            yield filling.pop(member[0])
            limit = most
    yield from filling.values()
