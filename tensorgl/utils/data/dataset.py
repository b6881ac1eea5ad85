"""Data sets: things with items, and the ones made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import floor
from typing import Any

from tensorgl.random import Generator, randperm
from tensorgl.tensor import Tensor

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "random_split",
]


class Dataset:
    """Items by number: define `__getitem__`, and `__len__` for most samplers."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])

    def take(self, indices: Sequence[int]) -> list[Tensor] | None:
        """A whole batch at once, already collated, where the data set can do so; else None."""
        return None


class IterableDataset(Dataset):
    """Items one after another: define `__iter__`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """The rows of some tensors of one length: item i is (t[i], …)."""

    def __init__(self, *tensors: Tensor) -> None:
        if any(len(t) != len(tensors[0]) for t in tensors):
            raise AssertionError(
                f"Size mismatch between tensors: given lengths {[len(t) for t in tensors]}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def take(self, indices: Sequence[int]) -> list[Tensor] | None:
        """The rows at `indices`, one gather for each tensor."""
        rows = list(indices)
        return [t[rows] for t in self.tensors]


class StackDataset(Dataset):
    """Several data sets side by side: item i is a tuple, or a dict for those given by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.datasets = kwargs or args
        parts = list(kwargs.values()) if kwargs else list(args)
        if not parts or (args and kwargs):
            raise ValueError(
                "StackDataset expects data sets, either all by position or all by name"
            )
        self._length = len(parts[0])
        if any(len(p) != self._length for p in parts):
            raise ValueError("Size mismatch between datasets")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {k: d[index] for k, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


class Subset(Dataset):
    """The items of a data set at `indices`."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Sequence[int]) -> list[Tensor] | None:
        """A whole batch, where the data set beneath can do so."""
        inner = getattr(self.dataset, "take", None)
        return inner([self.indices[i] for i in indices]) if inner else None


class ConcatDataset(Dataset):
    """Data sets one after another, by number."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        k = bisect_right(self.cumulative_sizes, index)
        return self.datasets[k][index - (self.cumulative_sizes[k - 1] if k else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset):
    """Iterable data sets one after another."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for d in self.datasets:
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Split at random into parts of the given lengths, or fractions that sum to 1.

    Raises:
        ValueError: the lengths do not sum to the length of the data set.
    """
    n = len(dataset)
    if abs(sum(lengths) - 1) < 1e-6 and sum(lengths) <= 1 + 1e-6 and n != 1:
        if any(not 0 <= f <= 1 for f in lengths):
            raise ValueError(
                f"random_split: fractions must be between 0 and 1, given {list(lengths)}"
            )
        counts = [floor(n * f) for f in lengths]
        for k in range(n - sum(counts)):
            counts[k % len(counts)] += 1
    else:
        counts = [int(c) for c in lengths]
    if sum(counts) != n:
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset: {sum(counts)} and {n}"
        )
    order = randperm(n, generator=generator, device="cpu").tolist()
    ends = list(accumulate(counts))
    return [Subset(dataset, order[e - c : e]) for e, c in zip(ends, counts, strict=True)]
