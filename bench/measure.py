"""Measures a case on several sides: first whether each computes the right thing, then how fast."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tensorgl as tg

from .cases.case import TOLERANCE, Array, Case
from .timing import Timing, interleaved
from .worker import ProcessWorker, Stage, UnsupportedError, Worker

__all__ = ["Outcome", "measure", "relative_error"]

PAUSE = 0.15  # OpenBLAS keeps a waiting thread busy for 0.1 s after a product
STARTS = 3  # samples of a case of the start, which take seconds each


@dataclass
class Outcome:
    """What became of a case on a side.

    Attributes:
        about: what its worker says; see `Local`.
        error: the largest error of a result, relative to its largest number.
        timing: None where it was not timed.
        unsupported: why the side cannot do such a thing.
        fault: why it was not timed though it can.
    """

    about: dict[str, Any] = field(default_factory=dict)
    error: float | None = None
    timing: Timing | None = None
    unsupported: str = ""
    fault: str = ""


def measure(
    case: Case,
    sides: Sequence[str],
    stage: Stage,
    budget: float,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Outcome]:
    """Measure a case on sides, whose samples are taken in turns.

    Args:
        case: the case.
        sides: of SIDES.
        stage: opens the workers.
        budget: seconds for the samples of all sides together.
        say: is told what is being done.

    Returns:
        By side. One that fails, or whose result is wrong, is not timed.
    """
    outcomes = {side: Outcome() for side in sides}
    workers: dict[str, Worker] = {}
    say("numpy's result")
    with tg.device("cpu"):
        expected = case.build(tg).check()
    try:
        for side, outcome in outcomes.items():
            say(f"{side} starts")
            try:
                worker = workers[side] = stage.worker(side, case.name)
                outcome.error = relative_error(worker.check(), expected)
            except UnsupportedError as why:
                outcome.unsupported = str(why)
                continue
            except RuntimeError as failure:
                outcome.fault = f"failed: {failure}"
                continue
            outcome.about = worker.about
            if not outcome.error <= TOLERANCE:
                outcome.fault = (
                    f"wrong: differs from numpy's result by {outcome.error:.1e}, "
                    f"at most {TOLERANCE:.0e} is allowed"
                )
        del expected
        able = {side: w for side, w in workers.items() if not outcomes[side].fault}
        say("samples")
        _time(case, able, outcomes, budget)
    finally:
        for worker in workers.values():
            with suppress(RuntimeError):  # of a tab that has gone
                worker.close()
        if any(outcome.fault.startswith("failed") for outcome in outcomes.values()):
            stage.close()  # the tab may be of no use any more
    return outcomes


def _time(
    case: Case, workers: dict[str, Worker], outcomes: dict[str, Outcome], budget: float
) -> None:
    """Time workers in turns."""
    if not workers:
        return
    pause = PAUSE if len(workers) > 1 else 0.0
    try:
        if case.group == "start":
            timings = interleaved(workers, budget, STARTS, pause, calls=1)
        else:
            timings = interleaved(workers, budget, pause=pause)
    except RuntimeError as failure:
        for side in workers:
            outcomes[side].fault = f"failed: {failure}"
        return
    for side, worker in workers.items():
        outcomes[side].timing = timings[side]
        if case.memory and isinstance(worker, ProcessWorker) and sys.platform == "linux":
            outcomes[side].about["peak_bytes"] = worker.peak_memory()


def relative_error(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference of any array, relative to its largest expected number.

    Infinite where the number of arrays or a shape is another, or a result is no finite number.
    """
    if [a.shape for a in found] != [a.shape for a in expected]:
        return math.inf
    largest = 0.0
    for a, b in zip(found, expected, strict=True):
        if not np.isfinite(a).all():
            return math.inf
        scale = float(np.abs(b).max()) or 1.0
        largest = max(largest, float(np.abs(a - b).max()) / scale)
    return largest
