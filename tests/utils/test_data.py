"""Data sets, samplers and the loader."""

from __future__ import annotations

import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[tg.Tensor, int]:
        return tg.tensor([float(index)]), index * index


class Stream(IterableDataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n))


def pairs(n: int) -> TensorDataset:
    return TensorDataset(tg.arange(n).float().unsqueeze(1), tg.arange(n) ** 2)


@given(st.integers(1, 30), st.integers(1, 12), st.booleans(), st.integers(0, 3))
def test_every_sample_comes_once_and_in_order(
    n: int, batch: int, drop_last: bool, workers: int
) -> None:
    for dataset in (Squares(n), pairs(n), Subset(pairs(n + 5), range(n))):
        loader = DataLoader(dataset, batch, drop_last=drop_last, num_workers=workers)
        batches = list(loader)
        assert len(batches) == len(loader) == (n // batch if drop_last else -(-n // batch))
        seen = [i for x, _ in batches for i in x.squeeze(1).tolist()]
        assert seen == list(range(n - n % batch if drop_last else n))
        assert all((y == x.squeeze(1).long() ** 2).all() for x, y in batches)


def test_shuffling_is_a_new_order_each_time_and_the_same_for_a_seed() -> None:
    def epochs(workers: int) -> list[list[int]]:
        generator = tg.Generator()
        generator.manual_seed(7)
        loader = DataLoader(pairs(50), 8, shuffle=True, generator=generator, num_workers=workers)
        return [[i for x, _ in loader for i in x.squeeze(1).long().tolist()] for _ in range(2)]

    first = epochs(0)
    assert first[0] != first[1]
    assert sorted(first[0]) == list(range(50))
    assert epochs(0) == first
    assert epochs(3) == first


def test_workers_run_ahead_but_not_far() -> None:
    made: list[int] = []
    lock = threading.Lock()

    class Slow(Dataset):
        def __len__(self) -> int:
            return 100

        def __getitem__(self, index: int) -> int:
            with lock:
                made.append(index)
            return index

    batches = iter(DataLoader(Slow(), 1, num_workers=2, prefetch_factor=3))
    next(batches)
    deadline = time.monotonic() + 10
    while len(made) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(made) == list(range(7))  # six ahead of the one that was taken
    batches.close()  # type: ignore[attr-defined]


def test_an_error_in_a_worker_reaches_the_loop() -> None:
    class Broken(Squares):
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise KeyError("sample 5")
            return super().__getitem__(index)

    loader = DataLoader(Broken(8), 2, num_workers=2)
    with pytest.raises(KeyError, match="sample 5"):
        list(loader)


def test_worker_init_runs_once_in_each_thread() -> None:
    started: list[int] = []
    list(DataLoader(Squares(40), 1, num_workers=2, worker_init_fn=started.append))
    assert sorted(started) == list(range(len(started)))
    assert 1 <= len(started) <= 2


def test_iterable_datasets() -> None:
    assert [b.tolist() for b in DataLoader(Stream(5), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(5), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), None)) == [0, 1, 2]
    assert [b.tolist() for b in DataLoader(Stream(2) + Stream(2), 3)] == [[0, 1, 0], [1]]


def test_default_collate_keeps_containers() -> None:
    point = namedtuple("point", "x y")
    batch = [
        {"a": tg.ones(2), "b": (1, 2.5), "c": "s", "d": point(True, np.float32(3))},
        {"a": tg.zeros(2), "b": (3, 4.5), "c": "t", "d": point(False, np.float32(4))},
    ]
    out = default_collate(batch)
    assert out["a"].tolist() == [[1, 1], [0, 0]]
    assert [t.tolist() for t in out["b"]] == [[1, 3], [2.5, 4.5]]
    assert out["b"][0].dtype is tg.int64
    assert out["c"] == ["s", "t"]
    assert out["d"].x.tolist() == [True, False]
    assert out["d"].y.dtype is tg.float32
    with pytest.raises(TypeError, match="default_collate"):
        default_collate([object()])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([(1, 2), (1,)])


@given(st.integers(0, 40), st.integers(1, 4))
def test_random_split_is_a_partition(n: int, parts: int) -> None:
    counts = [n // parts] * (parts - 1) + [n - n // parts * (parts - 1)]
    split = random_split(range(n), counts)
    assert [len(s) for s in split] == counts
    assert sorted(i for s in split for i in s.indices) == list(range(n))


def test_random_split_by_fractions() -> None:
    assert [len(s) for s in random_split(range(11), [0.5, 0.3, 0.2])] == [6, 3, 2]
    with pytest.raises(ValueError, match="does not equal the length"):
        random_split(range(10), [3, 3])


def test_datasets_of_datasets() -> None:
    both = ConcatDataset([Squares(2), Squares(3)])
    assert [y for _, y in (both[i] for i in range(5))] == [0, 1, 0, 1, 4]
    assert both[-1][1] == 4
    assert len(Squares(2) + Squares(3)) == 5
    assert StackDataset(Squares(3), Squares(3))[2][1][1] == 4
    assert StackDataset(a=Squares(3))[2]["a"][1] == 4
    with pytest.raises(ValueError, match="Size mismatch"):
        StackDataset(Squares(2), Squares(3))
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(tg.ones(2), tg.ones(3))


def test_samplers() -> None:
    tg.manual_seed(0)
    assert sorted(SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    assert len(list(RandomSampler(range(4), replacement=True, num_samples=9))) == 9
    assert sorted(RandomSampler(range(4), num_samples=8)) == [0, 0, 1, 1, 2, 2, 3, 3]
    drawn = list(WeightedRandomSampler([0.0, 1.0, 0.0, 3.0], 2000))
    assert set(drawn) == {1, 3}
    assert drawn.count(3) == pytest.approx(1500, abs=100)
    assert list(BatchSampler(range(5), 2, drop_last=True)) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size should be a positive integer"),
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"sampler": range(2), "shuffle": True}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "drop_last": True}, "mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "disables auto-batching"),
    ],
)
def test_loader_refuses_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(3), **options)


@pytest.mark.parametrize("make", [RandomSampler, lambda data: DataLoader(data, shuffle=True)])
def test_nothing_cannot_be_shuffled(make: Any) -> None:
    with pytest.raises(ValueError, match="num_samples=0"):
        make([])


def test_python_floats_are_collated_as_double() -> None:
    assert default_collate([1.5, 2.5]).dtype is tg.float64
    assert default_collate([True, False]).dtype is tg.bool


def test_single_samples_are_converted() -> None:
    samples = [(np.ones(2, np.float32), "a"), (np.zeros(2, np.float32), "b")]
    for x, name in DataLoader(samples, batch_size=None):
        assert isinstance(x, tg.Tensor)
        assert name in "ab"
    names = DataLoader(samples, batch_size=None, collate_fn=lambda sample: sample[1])
    assert list(names) == ["a", "b"]
    point = namedtuple("point", "x y")
    converted = default_convert({"p": point(np.float32(1), tg.ones(1)), "n": 3})
    assert converted["p"].x.dtype is tg.float32
    assert converted["n"] == 3


def test_a_worker_has_no_part_of_its_own() -> None:
    assert get_worker_info() is None


def test_the_order_does_not_depend_on_the_default_device() -> None:
    def orders() -> list[list[int]]:
        tg.manual_seed(5)
        samplers = [
            RandomSampler(range(9)),
            RandomSampler(range(9), replacement=True),
            SubsetRandomSampler([3, 1, 2]),
            WeightedRandomSampler([0.1, 0.9, 0.5], 4),
        ]
        return [*map(list, samplers), random_split(range(9), [4, 5])[0].indices]

    expected = orders()
    with tg.device("meta"):
        assert orders() == expected
