"""A case of one side, asked from outside: in a process of its own, or in a browser's tab.

Two libraries in one process would share its cores with each other's waiting threads, and each would
look many times slower than it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .cases import CASES
from .cases.case import Array
from .sides import BROWSERS, COLD, SIDES

__all__ = ["ProcessWorker", "Stage", "UnsupportedError", "Worker"]


class UnsupportedError(RuntimeError):
    """A library cannot do what a case asks for; the message says why."""


class Worker(Protocol):
    """A case of one side, warm.

    Attributes:
        about: what the worker says of its device and of one call; see `Local`.
    """

    about: dict[str, Any]

    def __call__(self, n: int, /) -> float:
        """Time n calls; the seconds that one took."""
        ...

    def check(self) -> list[Array]:
        """What one call computes; see `Workload.check`."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class ProcessWorker:
    """A worker in a process of its own.

    Attributes:
        about: see `Local`.
        start_s: seconds from the start of the process until its first call was done.

    Raises:
        RuntimeError: the process ended; it has said why on its standard error.
    """

    def __init__(self, side: str, case: str) -> None:
        command = [sys.executable, "-m", f"{__package__}.local", side, case]
        settings = SIDES[side].settings | (COLD if CASES[case].group == "start" else {})
        begin = time.perf_counter()
        self._process: Any = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | settings,
        )
        self.about: dict[str, Any] = self._answer()
        self.start_s = time.perf_counter() - begin

    def __call__(self, n: int) -> float:
        """Time n calls; the seconds that one took."""
        return float(self._ask(do="time", n=n))

    def check(self) -> list[Array]:
        """What one call computes."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "results.npz"
            self._ask(do="check", file=str(file))
            with np.load(file) as found:
                return [found[key] for key in found.files]

    def peak_memory(self) -> int | None:
        """Bytes that building and running the case has added to its memory at most; None: unknown."""
        return self._ask(do="memory")

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, **question: Any) -> Any:
        self._process.stdin.write(json.dumps(question) + "\n")
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"{' '.join(self._process.args[2:])} ended with {code}")
        return json.loads(line)


Start = Callable[[], tuple[Worker, float, Callable[[], None]]]


class ColdWorker:
    """A case of the start: every sample takes a new process or a new tab.

    Attributes:
        about: see `Local`.
    """

    def __init__(self, start: Start) -> None:
        """Take what starts a worker: it gives that, the seconds it took, and what ends all of it."""
        self._start = start
        self._worker, _, self.close = start()
        self.about = self._worker.about

    def __call__(self, n: int) -> float:
        """The seconds of one start, whatever n is."""
        _, seconds, close = self._start()
        close()
        return seconds

    def check(self) -> list[Array]:
        """What one call computes."""
        return self._worker.check()


class Stage:
    """Opens workers; those in a tab share one, which is opened when the first of them needs it."""

    def __init__(self, sides: Collection[str], browser: str | None = None) -> None:
        """Take the names of all sides that will be asked for, and of `BROWSERS`."""
        self._in_tab = [side for side in sides if SIDES[side].where == "tab"]
        self._browser = browser
        self._tab: Any = None

    def worker(self, side: str, case: str) -> Worker:
        """A case of a side, warm.

        Raises:
            UnsupportedError: the side cannot do such a thing.
            RuntimeError: it failed.
        """
        cold = CASES[case].group == "start"
        if SIDES[side].where == "process":
            return ColdWorker(lambda: _cold(side, case)) if cold else ProcessWorker(side, case)
        if cold:
            return ColdWorker(lambda: self._cold_tab(side, case))
        if self._tab is None:
            self._tab = self._new_tab(self._in_tab)
        worker: Worker = self._tab.worker(side, case)
        _tell(worker, self._tab)
        return worker

    def close(self) -> None:
        """Close the tab; a worker that needs one opens another."""
        if self._tab is not None:
            self._tab.close()
            self._tab = None

    def _new_tab(self, sides: Collection[str], env: Mapping[str, str] | None = None) -> Any:
        from .browser import Tab

        return Tab(BROWSERS[self._browser or "gpu"], sides, env)

    def _cold_tab(self, side: str, case: str) -> tuple[Worker, float, Callable[[], None]]:
        tab = self._new_tab([side], COLD)
        try:
            worker = tab.worker(side, case)
        except BaseException:
            tab.close()
            raise
        _tell(worker, tab)
        seconds = worker.about["first_s"]
        if CASES[case].op == "start_up":
            seconds += sum(tab.about["load_s"].values())
        return worker, seconds, tab.close


def _cold(side: str, case: str) -> tuple[Worker, float, Callable[[], None]]:
    """A new process."""
    worker = ProcessWorker(side, case)
    seconds = worker.start_s if CASES[case].op == "start_up" else worker.about["first_s"]
    return worker, seconds, worker.close


def _tell(worker: Worker, tab: Any) -> None:
    """Let a worker of a tab say what the tab knows."""
    worker.about |= {"browser": tab.about["browser"], "versions": tab.about["versions"]}
