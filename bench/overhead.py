"""What Python costs on device "gl": recording, scheduling and replaying, without the GPU's work.

Each time is the median over rounds, of the processor time of this thread: other work on the machine does
not count. In all lines but the last the device's `run` does nothing, so that neither the driver nor the
GPU is timed. In the last, launches are bound but neither drawn nor dispatched.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of

from .cases.models import lenet
from .cases.training import training_step

__all__ = ["measured"]

ROUNDS = 30
OPS = 1000
GL = device("gl")


class _Nothing:
    """A program that is neither drawn nor dispatched."""

    def run(self, *groups: int) -> None:
        """Dispatch nothing."""

    def render(self, *arguments: Any, **options: Any) -> None:
        """Draw nothing."""


def _median(
    function: Callable[[], object], rounds: int, before: Callable[[], object] = lambda: None
) -> float:
    """Seconds of a call; `before` is called before each and not timed."""
    times: list[float] = []
    for _ in range(rounds + 3):
        before()
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return statistics.median(times[3:])


def _record_op(backend: Any, rounds: int) -> float:
    """Seconds to record one op with autograd."""
    a, b = tg.ones(16, device=GL), tg.ones(16, device=GL, requires_grad=True)
    backend.synchronize()
    made: list[Any] = []

    def record() -> None:
        for _ in range(OPS):
            made.append(a + b)

    def forget() -> None:
        made.clear()
        backend.graph.clear()

    seconds = _median(record, rounds, forget)
    forget()
    return seconds / OPS


def measured(rounds: int = ROUNDS) -> dict[str, object]:
    """Print every time; returns them as a record."""
    backend: Any = backend_of(GL)
    limits = backend.device.limits
    print(f"{limits.renderer}, {limits.target} target; LeNet + Adam, batch 64")
    rows: list[dict[str, object]] = []

    def row(name: str, seconds: float, each: int | None = None) -> None:
        text = f"{name:<44}{seconds * 1e6:>12.2f} us"
        entry: dict[str, object] = {"case": name, "median_s": seconds}
        if each is not None:
            entry |= {"launches": each, "per_launch_s": seconds / each}
            text += f"{each:>6} launches, {seconds / each * 1e6:.2f} us each"
        rows.append(entry)
        print(text, flush=True)

    row("record an op with autograd", _record_op(backend, rounds))
    with GL:
        step = training_step(tg, lenet, "Adam")
        captured = tg.compile(training_step(tg, lenet, "Adam"))
        for run in (step, captured):
            for _ in range(3):
                run()
        backend.synchronize()
        gc.collect()
        launches = _launches(backend, step), _launches(backend, captured)
        with patch.object(backend.device, "run", lambda *arguments: None):
            row("undecorated step, its plan found", _median(step, rounds), launches[0])
            forget = backend._plans.clear
            row("undecorated step, its plan made", _median(step, max(rounds // 4, 3), forget))
            captured()  # it keeps its own plan
            row("captured step", _median(captured, rounds), launches[1])
        with patch.object(
            backend.device, "_programs", [_Nothing()] * len(backend.device._programs)
        ):
            row("captured step with launches bound", _median(captured, rounds), launches[1])
        backend.synchronize()
    about = {"renderer": limits.renderer, "target": limits.target, "software": limits.software}
    return {"devices": {"gl": about}, "rows": rows}


def _launches(backend: Any, step: Callable[[], object]) -> int:
    before = backend.counters()["launches"]
    step()
    return backend.counters()["launches"] - before
