"""A case of one library in a process of its own.

Two libraries in one process would share its cores with each other's waiting threads, and each would
look many times slower than it is.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

from .cases import CASES
from .timing import PeakMemory, sampler

__all__ = ["Worker", "serve"]


class Worker:
    """The parent's end: call it with a number of calls, and it gives the seconds a call took."""

    def __init__(self, package: str, library: str, case: str) -> None:
        command = [sys.executable, "-m", package, "worker", library, case]
        self._process: Any = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._read()  # it is warm

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


def serve(library: str, case: str) -> None:
    """The worker's end: answers each line of its input."""
    imported = importlib.import_module(library)
    imported.ones(8, 8).mm(imported.ones(8, 8))  # loads what is loaded when it is first used
    peak = PeakMemory() if sys.platform == "linux" else None
    sample = sampler(CASES[case].build(imported))
    print("ready", flush=True)
    for question in sys.stdin:
        asked = question.strip()
        print(peak() if asked == "memory" and peak else sample(int(asked)), flush=True)
