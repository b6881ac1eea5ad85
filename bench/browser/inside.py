"""What runs in the tab's Pyodide: cases of tensorgl, asked for by lines of JSON and answered by such lines.

page.js hands it what Tab asks of the sides "webgl" (device gl) and "pyodide-numpy" (device cpu).
"""

from __future__ import annotations

import base64
import json
import sys
import traceback
from typing import Any

import numpy as np

import tensorgl as tg
from tensorgl.bench.cases import Case
from tensorgl.bench.local import Local

DEVICES = {"webgl": "gl", "pyodide-numpy": "cpu"}


def answer(opened: dict[int, Any], question: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked; `opened` has the `Local` of each case that is open, by key."""
    key, device = question["key"], DEVICES[question["side"]]
    tg.set_default_device(device)
    match question["do"]:
        case "open":
            asked = Case(question["case"], question["op"], question["sizes"], question["group"])
            opened[key] = Local(tg, device, asked)
            return opened[key].about
        case "time":
            return {"seconds": opened[key](question["n"])}
        case "check":
            return {"arrays": [_packed(array) for array in opened[key].check()]}
        case _:
            del opened[key]
            return {}


def _packed(array: np.ndarray) -> dict[str, Any]:
    values = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int32)
    data = base64.b64encode(values.tobytes()).decode()
    return {"shape": array.shape, "dtype": values.dtype.name, "data": data}


def main() -> None:
    """Answer until there is no more input."""
    opened: dict[int, Any] = {}
    print(json.dumps({"versions": {"tensorgl": tg.__version__, "numpy": np.__version__}}))
    for line in sys.stdin:
        try:
            given = answer(opened, json.loads(line))
        except Exception:
            given = {"error": traceback.format_exc()}
        print(json.dumps(given), flush=True)


if __name__ == "__main__":
    main()
