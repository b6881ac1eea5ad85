"""A model's parameters as a flat vector in buckets, for the hub, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from tensorgl.autograd.modes import no_grad
from tensorgl.dispatch import to_host
from tensorgl.distributed.client import Client
from tensorgl.dtypes import float32
from tensorgl.ops.joining import cat
from tensorgl.tensor import Tensor
from tensorgl.values import from_numpy

__all__ = ["Replica"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

FIRST_BUCKET_BYTES = 64 << 10
"""The first is small: the hub begins to reduce it while the others come in."""


class Replica:
    """Parameters that are the same at all members of a run.

    Buckets hold whole parameters of one group, the last of a model first, as their gradients are
    the first that are known.

    Args:
        client: the run, of which they become the model.
        groups: (name, parameter) of each group of the optimizer.
        bucket_bytes: how large a bucket may become, unless one parameter is larger.

    Attributes:
        groups: which group each bucket is of.
        version: of the run that the parameters are now.

    Raises:
        TypeError: one is not of float32.
    """

    def __init__(
        self,
        client: Client,
        groups: Sequence[Sequence[tuple[str, Tensor]]],
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
        value = {
            "parameters": [
                [name, list(p.shape)] for bucket in self._buckets for _, name, p in bucket
            ],
            "buckets": [sum(p.numel() for *_, p in bucket) for bucket in self._buckets],
        }
        start = self._gathered(self._params)
        ends = np.cumsum(value["buckets"])[:-1]
        self.view = client.define_model(value, np.split(start, ends))
        self.version = -1
        self.load()

    def load(self) -> None:
        """Give the parameters the values that the run has now."""
        at = 0
        with no_grad():
            for p in self._params:
                values = self.view.values[at : at + p.numel()].reshape(p.shape)
                p.copy_(from_numpy(values.copy()))  # a backend may read it later
                at += p.numel()
        self.version = self.view.version

    def values(self) -> Array:
        """The parameters as they are now, as a vector like the view's."""
        return self._gathered(self._params)

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
                yield self._gathered([_gradient(p) for *_, p in bucket])
        else:  # reading back costs far more than the bytes do
            every = self.view.buckets(self._gathered([_gradient(p) for p in self._params]))
            yield from every[first:]

    @staticmethod
    def _gathered(tensors: Sequence[Tensor]) -> Array:
        """All elements, one tensor after the other."""
        with no_grad():
            flat = [t.detach().reshape(-1) for t in tensors]
            return np.array(to_host(cat(flat) if len(flat) > 1 else flat[0]), np.float32)


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
