"""The batch norms of a member's module, and what of them is the run's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.statistics import columns, cut, total_variance
from tensorgl.distributed.vectors import gather, scatter
from tensorgl.dtypes import float32
from tensorgl.nn.module import Module
from tensorgl.nn.normalization import (
    Batch,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
)
from tensorgl.tensor import Tensor

__all__ = ["BatchNorms"]

Array: TypeAlias = np.ndarray[Any, Any]


class BatchNorms:
    """Those of modules that track running statistics; statistics.py says how these lie in a bucket.

    Args:
        modules: each with what its norms' names begin with. A norm that several have is one.

    Attributes:
        definition: name, features and momentum of each; empty if there are none.

    Raises:
        TypeError: running statistics are not of float32.
    """

    def __init__(self, modules: Iterable[tuple[str, Module]]) -> None:
        norms: dict[Module, str] = {}
        for prefix, module in modules:
            for name, m in module.named_modules():
                if (
                    isinstance(m, BatchNorm1d | BatchNorm2d | BatchNorm3d)
                    and m.num_batches_tracked is not None
                ):
                    norms.setdefault(m, prefix + name)
        self.definition = [[name, m.num_features, m.momentum] for m, name in norms.items()]
        self._norms = list(norms)
        self._buffers: list[Tensor] = []
        for m, name in norms.items():
            if m.running_mean.dtype is not float32:
                raise TypeError(
                    f"{name}: expected running statistics of float32, given {m.running_mean.dtype}"
                )
            self._buffers += [m.running_mean, m.running_var, m.num_batches_tracked]

    def values(self) -> Array:
        """The running statistics as they are now."""
        return gather(self._buffers)

    def load(self, values: Array) -> None:
        """Take over running statistics."""
        scatter(values, self._buffers)

    def of_batches(self, batches: Sequence[Batch], samples: int) -> Array:
        """What is contributed of some batches, as one; they are of so many samples."""
        row = np.zeros(columns(self.definition), np.float32)
        if not batches:
            return row
        flat = gather([t for batch in batches for t in (batch.mean, batch.var)])
        found: dict[int, list[tuple[int, Array, Array]]] = {}
        at = 0
        for batch in batches:
            mean, var = flat[at : at + 2 * batch.mean.numel()].reshape(2, -1).astype(np.float64)
            at += 2 * len(mean)
            if batch.size:
                biased = var * ((batch.size - 1) / batch.size)
                found.setdefault(id(batch.norm), []).append((batch.size, mean, biased))
        for norm, (mean, var, count) in zip(self._norms, cut(self.definition, row), strict=True):
            if seen := found.get(id(norm)):
                sizes, means, variances = map(np.array, zip(*seen, strict=True))
                mean[:], var[:] = total_variance(sizes, means, variances)
                count[:] = sizes.sum() / samples
        return row

    def of_steps(self, start: Array) -> Array:
        """What is contributed after local steps, in which each norm moved its own from `start`."""
        row = self.values()
        for (_, _, now), (_, _, before) in zip(
            cut(self.definition, row), cut(self.definition, start), strict=True
        ):
            now[:] = now > before
        return row
