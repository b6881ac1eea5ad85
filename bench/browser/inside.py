"""What runs in the tab's Pyodide: cases of tensorgl, asked for by lines of JSON and answered by such lines.

page.js hands it what Tab asks of the sides "webgl" (device gl) and "pyodide-numpy" (device cpu).
"""

from __future__ import annotations

import base64
import json
import sys
import time
import traceback
from typing import Any

import numpy as np

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.bench.cases import OPS

DEVICES = {"webgl": "gl", "pyodide-numpy": "cpu"}
WARM_S = 0.01
"""Seconds of calls before a sample of a quick case, for threads to wake up."""


class Timed:
    """A case on a device, made ready: it has been called."""

    def __init__(self, op: str, sizes: dict[str, Any], on: str) -> None:
        self.backend: Any = backend_of(device(on)) if on == "gl" else None
        self.workload = OPS[op](tg, sizes)
        self.known = self.seconds(1)
        self.about = {
            "first_s": self.known,
            "launches": 0,
            "renderer": "",
            "library": f"tensorgl {tg.__version__}",
        }
        self.seconds(1)
        if self.backend:
            before = self.launches()
            self.call()
            self.about["launches"] = self.launches() - before
            self.about["renderer"] = self.backend.device.limits.renderer

    def call(self) -> object:
        """Start the work of one call; what it gives."""
        result = self.workload.run()
        if self.backend:
            self.backend.flush()  # computes what Python still sees, so the result must be alive
        return result

    def seconds(self, n: int) -> float:
        """Seconds of n calls, with an element of what the last one gave."""
        start = time.perf_counter()
        result: object = None
        for _ in range(n):
            result = self.call()
        if isinstance(result, (list, tuple)):
            result = result[0]
        if isinstance(result, tg.Tensor):
            result.detach().flatten()[0].item()
        return time.perf_counter() - start

    def sample(self, n: int) -> float:
        """Seconds a call."""
        end = time.perf_counter() + WARM_S
        while self.known < WARM_S and time.perf_counter() < end:
            self.seconds(1)
        self.known = self.seconds(n) / n
        return self.known

    def launches(self) -> int:
        """Of kernels so far."""
        return self.backend.counters()["launches"]


def answer(timed: dict[int, Timed], question: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked; `timed` has the cases that are open, by key."""
    key, on = question["key"], DEVICES[question["side"]]
    tg.set_default_device(on)
    match question["do"]:
        case "open":
            timed[key] = Timed(question["op"], question["sizes"], on)
            return timed[key].about
        case "time":
            return {"seconds": timed[key].sample(question["n"])}
        case "check":
            return {"arrays": [_packed(array) for array in timed[key].workload.check()]}
        case _:
            del timed[key]
            return {}


def _packed(array: np.ndarray) -> dict[str, Any]:
    values = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int32)
    data = base64.b64encode(values.tobytes()).decode()
    return {"shape": array.shape, "dtype": values.dtype.name, "data": data}


def main() -> None:
    """Answer until there is no more input."""
    timed: dict[int, Timed] = {}
    print(json.dumps({"versions": {"tensorgl": tg.__version__, "numpy": np.__version__}}))
    for line in sys.stdin:
        try:
            given = answer(timed, json.loads(line))
        except Exception:
            given = {"error": traceback.format_exc()}
        print(json.dumps(given), flush=True)


if __name__ == "__main__":
    main()
