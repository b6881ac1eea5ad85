"""A case made with a library in this Python, which may be Pyodide's in a tab (browser/inside.py).

As a program (`python -m bench.local SIDE CASE`) it is a worker, which first prints a line of JSON
that describes itself and a call, then answers each line of its input; `worker.py` asks. It imports
little, as starting is among the things that are timed.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from typing import Any

import numpy as np

from .cases import CASES
from .cases.case import Array, Case
from .sides import SIDES
from .timing import PeakMemory, sampler

__all__ = ["Local"]


class Local:
    """A case made with a library on a device, and called once.

    Attributes:
        about: `first_s`, the seconds of the first call, and `versions`; on device gl `renderer`,
            `target`, `software` and, outside of a tab, `driver` too; but for a case of the start also
            `launches` of a call, `bytes_peak` of device memory and `gpu_s`, the seconds that the
            launches of a call took as the profiler has it: by the GPU's own clock, or each waited
            for (software; a tab, where that adds a round trip to every launch).
    """

    def __init__(self, lib: Any, device: str, case: Case) -> None:
        self._lib = lib
        self._backend: Any = None
        self._last: object = None
        self._workload = case.build(lib)
        if device == "gl":
            from tensorgl.avals import device as device_of
            from tensorgl.backends import backend_of

            self._backend = backend_of(device_of(device))
        begin = time.perf_counter()
        self.call()
        self.finish()
        first = time.perf_counter() - begin
        self.about: dict[str, Any] = {"first_s": first, "versions": {lib.__name__: lib.__version__}}
        if case.group != "start":
            self._sample = sampler(self.call, self.finish)
        if self._backend:
            self.about |= self._on_gpu(case)

    def __call__(self, n: int) -> float:
        """Time n calls and the reading of what the last one gave; the seconds that one call took."""
        return self._sample(n)

    def check(self) -> list[Array]:
        """What one call computes; see `Workload.check`."""
        return self._workload.check()

    def close(self) -> None:
        """Nothing has to be ended."""

    def call(self) -> None:
        """Start the work of a call, whose results stay alive until the next."""
        self._last = self._workload.run()
        if self._backend:
            self._backend.flush()  # computes what Python still sees

    def finish(self) -> None:
        """Wait for all that was started, by reading an element of the last result."""
        last: Any = self._last
        last = last[-1] if isinstance(last, tuple) else last
        if isinstance(last, self._lib.Tensor):
            last.detach().flatten()[0].item()
        if self._backend:
            self._backend.synchronize()

    def _on_gpu(self, case: Case) -> dict[str, Any]:
        limits = self._backend.device.limits
        about = {
            "renderer": limits.renderer,
            "target": limits.target,
            "software": limits.software,
        }
        if sys.platform != "emscripten":  # a browser hides its driver
            about["driver"] = self._backend.device.context.info["GL_VERSION"]
        if case.group == "start":
            return about
        before = self._backend.counters()
        self.call()
        after = self._backend.counters()
        gpu = statistics.median(self._gpu_seconds() for _ in range(3))
        return about | {
            "launches": after["launches"] - before["launches"],
            "bytes_peak": after["bytes_peak"],
            "gpu_s": gpu,
        }

    def _gpu_seconds(self) -> float:
        with self._lib.profiler.profile() as profile:
            self.call()
        return profile.key_averages().total_average().gpu_time_total * 1e-6


def _serve(side: str, name: str) -> None:
    """Answer each line of the input."""
    case, device = CASES[name], SIDES[side].device
    lib = importlib.import_module(SIDES[side].library)
    if case.group != "start":
        lib.ones(8, 8).mm(lib.ones(8, 8))  # loads what is loaded when it is first used
    lib.set_default_device(device)
    peak = PeakMemory() if case.memory and sys.platform == "linux" else None
    local = Local(lib, device, case)
    print(json.dumps(local.about), flush=True)
    for line in sys.stdin:
        match json.loads(line):
            case {"do": "time", "n": n}:
                answer: Any = local(n)
            case {"do": "check", "file": file}:
                np.savez(file, *local.check())
                answer = None
            case {"do": "memory"}:
                answer = peak() if peak else None
            case question:
                raise ValueError(f"expected time, check or memory, given {question}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
