"""The loader: batches of a data set, made ahead of time by threads if asked to."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgl.dtypes import float64
from tensorgl.ops.joining import stack
from tensorgl.random import Generator
from tensorgl.tensor import Tensor
from tensorgl.utils.data.dataset import Dataset, IterableDataset
from tensorgl.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from tensorgl.values import as_tensor, tensor

if TYPE_CHECKING:
    from concurrent.futures import Future

_HAS_THREADS = sys.platform != "emscripten"  # a browser's tab has one

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]


def default_convert(data: Any) -> Any:
    """One sample, with tensors in place of numpy's arrays and numbers; containers are kept."""
    if isinstance(data, np.ndarray | np.generic):
        return as_tensor(data)
    if isinstance(data, Mapping):
        return type(data)({k: default_convert(v) for k, v in data.items()})  # type: ignore[call-arg]
    if isinstance(data, tuple | list):
        converted = [default_convert(x) for x in data]
        return type(data)(*converted) if hasattr(data, "_fields") else converted
    return data


def get_worker_info() -> None:
    """None: workers are threads that share one data set, so that none has a part of its own."""


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch from a list of samples: tensors stacked, numbers as a tensor, containers kept.

    Raises:
        TypeError: a sample is of a type that cannot be collated.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, np.ndarray | np.generic):
        return stack([as_tensor(x) for x in batch])
    if isinstance(first, float):
        return tensor(list(batch), dtype=float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return type(first)({k: default_collate([x[k] for x in batch]) for k in first})  # type: ignore[call-arg]
    if isinstance(first, tuple | list):
        if any(len(x) != len(first) for x in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
        f"{type(first)}"
    )


class DataLoader:
    """Iterates over a data set in batches.

    Args:
        dataset: with `__getitem__` and `__len__`, or an IterableDataset.
        batch_size: samples a batch; None gives single samples.
        shuffle: a new random order each time.
        sampler: an iterable of indices instead.
        batch_sampler: an iterable of lists of indices instead.
        num_workers: threads that make batches ahead; 0 makes each when it is asked for. The order
            is the same for any number. In a browser, which has no threads, it is always 0.
        collate_fn: makes a batch of a list of samples.
        pin_memory: accepted; there is nothing to pin.
        drop_last: leave out a last batch that is too short.
        timeout: seconds to wait for a worker; 0 waits for ever.
        worker_init_fn: called with its number in each thread that starts.
        generator: of the shuffling.
        prefetch_factor: batches ahead for each worker.
        persistent_workers: accepted; threads are cheap to start.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable threads."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "DataLoader with IterableDataset: expected no shuffle, sampler or batch_sampler option"
            )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_workers, self.timeout = num_workers, timeout
        self.worker_init_fn, self.generator = worker_init_fn, generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.sampler: Any = None
        self.batch_sampler: Any = batch_sampler
        if not iterable and batch_sampler is None:
            self.sampler = sampler
            if sampler is None:
                self.sampler = (
                    RandomSampler(dataset, generator=generator)
                    if shuffle
                    else SequentialSampler(dataset)
                )
            if batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self.collate_fn = collate_fn or (default_convert if batch_size is None else default_collate)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)

    def __iter__(self) -> Iterator[Any]:
        jobs = self._jobs()
        if self.num_workers and _HAS_THREADS:
            return self._ahead(jobs)
        return (job() for job in jobs)

    def _jobs(self) -> Iterator[Callable[[], Any]]:
        """A function for each batch, in order, that makes it."""
        if isinstance(self.dataset, IterableDataset):
            samples = iter(self.dataset)
            if self.batch_size is None:
                for sample in samples:
                    yield lambda sample=sample: self.collate_fn(sample)
                return
            while batch := list(islice(samples, self.batch_size)):
                if len(batch) == self.batch_size or not self.drop_last:
                    yield lambda batch=batch: self.collate_fn(batch)
        elif self.batch_sampler is not None:
            for indices in self.batch_sampler:
                yield lambda indices=indices: self._batch(indices)
        else:
            for index in self.sampler:
                yield lambda index=index: self.collate_fn(self.dataset[index])

    def _batch(self, indices: list[int]) -> Any:
        if self.collate_fn is default_collate and isinstance(self.dataset, Dataset):
            whole = self.dataset.take(indices)
            if whole is not None:
                return whole
        return self.collate_fn([self.dataset[i] for i in indices])

    def _ahead(self, jobs: Iterator[Callable[[], Any]]) -> Iterator[Any]:
        """Results in order, with a bounded number of jobs running ahead in threads."""
        from concurrent.futures import ThreadPoolExecutor  # slow to import; few need it

        started: list[int] = []

        def start() -> None:
            started.append(len(started))
            if self.worker_init_fn is not None:
                self.worker_init_fn(started[-1])

        pool = ThreadPoolExecutor(self.num_workers, "tensorgl-loader", initializer=start)
        waiting: deque[Future[Any]] = deque()
        try:
            for job in islice(jobs, self.num_workers * self.prefetch_factor):
                waiting.append(pool.submit(job))
            while waiting:
                result = waiting.popleft().result(self.timeout or None)
                for job in islice(jobs, 1):
                    waiting.append(pool.submit(job))
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
