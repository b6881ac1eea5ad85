"""Times and peak memory of small functions, robustly: medians over repetitions, interleaved runs."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["PeakMemory", "Timing", "interleaved", "sampler"]


WARM = 0.01  # seconds of calls before a sample
SAMPLE = 0.1  # seconds that a sample of the fastest lasts at least
LONGEST = 1.0  # seconds that a sample of more than one call lasts at most
PATIENCE = 60.0  # seconds after which FEWEST samples are enough
FEWEST = 3


@dataclass(frozen=True)
class Timing:
    """Seconds a call, over several samples."""

    median: float
    fastest: float
    iqr: float  # the distance between the quartiles
    samples: int


def sampler(
    function: Callable[[], object], finish: Callable[[], object] = lambda: None
) -> Callable[[int], float]:
    """A function that calls `function` n times and gives the seconds a call took.

    Before that it calls it for `WARM` seconds, for threads to wake up and caches to fill, unless a
    single call takes that long; peers/worker.js does the same. `finish` returns when all work is
    done, where calls return before.
    """

    def seconds(n: int) -> float:
        start = time.perf_counter()
        for _ in range(n):
            function()
        finish()
        return (time.perf_counter() - start) / n

    known = seconds(1)
    gc.collect()

    def sample(n: int) -> float:
        nonlocal known
        end = time.perf_counter() + WARM
        while known < WARM and time.perf_counter() < end:
            seconds(1)
        known = seconds(n)
        return known

    return sample


def interleaved(
    samplers: Mapping[str, Callable[[int], float]],
    budget: float = 3.0,
    least: int = 7,
    pause: float = 0.0,
    calls: int | None = None,
) -> dict[str, Timing]:
    """Take samples in turns, so that drifts of the machine hit all alike.

    A sample of each has as many calls as make one of the fastest last for `SAMPLE` seconds, so that
    what a sample costs at its end weighs the same in all; fewer only where it would last for more
    than `LONGEST`.

    Args:
        samplers: by name; see `sampler`.
        budget: seconds for all of them together.
        least: samples that are taken though they exceed the budget, until `PATIENCE` is at an end.
        pause: seconds before each sample, for the threads of the one before to fall asleep.
        calls: of each sample; None: as many as are needed.
    """
    counts = dict.fromkeys(samplers, calls or 1)
    if calls is None:
        once = {name: max(sample(1), 1e-7) for name, sample in samplers.items()}
        most = SAMPLE / min(once.values())
        counts = {name: max(1, int(min(most, LONGEST / s))) for name, s in once.items()}
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    begin, taken = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < budget or taken < (
        least if passed < PATIENCE else FEWEST
    ):
        for name, sample in samplers.items():
            time.sleep(pause)
            samples[name].append(sample(counts[name]))
        taken += 1
    return {name: _summary(values) for name, values in samples.items()}


def _summary(values: list[float]) -> Timing:
    low, median, high = statistics.quantiles(values, n=4)
    return Timing(median, min(values), high - low, len(values))


class PeakMemory:
    """By how many bytes the process's resident memory has grown at most since now (Linux only)."""

    def __init__(self) -> None:
        gc.collect()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # makes the peak start anew
        self._before = _status("VmRSS")

    def __call__(self) -> int:
        """The bytes."""
        return max(0, _status("VmHWM") - self._before)


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024
