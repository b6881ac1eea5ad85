"""Times and peak memory of small functions, robustly: medians over repetitions, interleaved runs."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Timing", "interleaved", "peak_memory"]


@dataclass(frozen=True)
class Timing:
    """Seconds a call, over several repetitions."""

    median: float
    fastest: float
    spread: float  # the distance between the quartiles, over the median
    repetitions: int


def interleaved(
    functions: dict[str, Callable[[], object]], budget: float = 3.0, least: int = 7
) -> dict[str, Timing]:
    """Time each function, taking turns, so that drifts of the machine hit all alike.

    Args:
        functions: what to call, by name; warmed up three times each.
        budget: seconds for all of them together.
        least: repetitions that are made whatever they take.
    """
    calls: dict[str, int] = {}
    for name, function in functions.items():
        for _ in range(3):
            function()
        start = time.perf_counter()
        function()
        once = max(time.perf_counter() - start, 1e-7)
        calls[name] = max(1, int(0.005 / once))  # a sample lasts at least 5 ms
    samples: dict[str, list[float]] = {name: [] for name in functions}
    gc.collect()
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(next(iter(samples.values()))) < least:
        for name, function in functions.items():
            n = calls[name]
            start = time.perf_counter()
            for _ in range(n):
                function()
            samples[name].append((time.perf_counter() - start) / n)
    return {name: _summary(values) for name, values in samples.items()}


def _summary(values: list[float]) -> Timing:
    low, median, high = statistics.quantiles(values, n=4)
    return Timing(median, min(values), (high - low) / median, len(values))


def peak_memory(function: Callable[[], object]) -> int:
    """Bytes by which a call raises the process's peak resident memory (Linux only).

    Run it in a fresh process: memory that was already taken and is free again does not count.
    """
    for _ in range(2):
        function()
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # makes the peak start anew
    before = _status("VmRSS")
    function()
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024
