"""A case of one side in a process of its own.

Two libraries in one process would share its cores with each other's waiting threads, and each would
look many times slower than it is.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from .cases import CASES
from .sides import SIDES
from .timing import PeakMemory, sampler

__all__ = ["Worker", "serve", "started"]


class Worker:
    """The parent's end: call it with a number of calls, and it gives the seconds a call took.

    Attributes:
        about: what the worker says of its device and of one call.
    """

    def __init__(self, package: str, side: str, case: str) -> None:
        command = [sys.executable, "-m", package, "worker", side, case]
        self._process: Any = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | SIDES[side].settings,
        )
        self.about: dict[str, Any] = json.loads(self._read())  # it is warm

    def __call__(self, n: int) -> float:
        """Time n calls; the seconds that one took."""
        return float(self._ask(str(n)))

    def peak_memory(self) -> int:
        """Bytes that building and running the case has added to the worker's memory at most."""
        return int(self._ask("memory"))

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(10)

    def _ask(self, question: str) -> str:
        self._process.stdin.write(question + "\n")
        return self._read()

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"worker {self._process.args} ended with {self._process.wait()}")
        return line


def serve(side: str, case: str) -> None:
    """The worker's end: answers each line of its input."""
    lib = importlib.import_module(SIDES[side].library)
    device = SIDES[side].device
    lib.ones(8, 8).mm(lib.ones(8, 8))  # loads what is loaded when it is first used
    lib.set_default_device(device)
    peak = PeakMemory() if sys.platform == "linux" else None
    function, finish, about = started(CASES[case].build(lib), device)
    sample = sampler(function, finish)
    print(json.dumps(about()), flush=True)
    for question in sys.stdin:
        asked = question.strip()
        print(peak() if asked == "memory" and peak else sample(int(asked)), flush=True)


Started = tuple[Callable[[], object], Callable[[], object], Callable[[], dict[str, Any]]]


def started(run: Callable[[], object], device: str) -> Started:
    """A case as it is timed on a device, which it is run on once.

    Returns:
        A function that starts the work of one call, one that waits for all that was started, and one
        that describes a call and the device.
    """
    if device != "gl":
        return run, lambda: None, dict
    from tensorgl.avals import device as device_of
    from tensorgl.backends import backend_of

    backend: Any = backend_of(device_of(device))

    def start() -> object:
        result = run()  # must be alive at the flush, which computes what Python still sees
        backend.flush()
        return result

    begin = time.perf_counter()
    start()
    backend.synchronize()
    first = time.perf_counter() - begin

    def about() -> dict[str, Any]:
        before = backend.counters()
        start()
        after = backend.counters()
        limits = backend.device.limits
        return {
            "launches": after["launches"] - before["launches"],
            "bytes_peak": after["bytes_peak"],
            "first_s": first,
            "renderer": limits.renderer,
            "target": limits.target,
            "software": limits.software,
        }

    return start, backend.synchronize, about
