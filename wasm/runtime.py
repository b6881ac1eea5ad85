"""What the worker calls in the tab: running a script as `python SCRIPT ARGS` would."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorgl import backends, cli, settings
from tensorgl.accelerator import choice
from tensorgl.avals import device
from tensorgl.optim import Optimizer
from tensorgl.utils import images

from . import script

__all__ = ["describe", "run", "tune", "use_tuning"]

MOST_TUNED, DEEPEST = 300_000, 16
"""Characters of what `tune` found, and how deeply they are nested; it takes far less of both."""
_GL = device("gl")
script.make_sleep_interruptible()


async def run(path: str, args: Any, as_torch: bool, pictures: bool) -> int:
    """Run a script of the tab's file system; its exit code.

    With `pictures` the page gets what the script shows, and at the end the PNG files that it wrote.
    """
    images.viewer = _image if pictures else None
    start = time.perf_counter()
    await script.load_packages(path)
    _progress("packages", start)
    if os.environ.get("TENSORGL_HUB"):
        from tensorgl.distributed import transport_browser

        await transport_browser.start()  # not every browser can while the script runs
    before = _pictures() if pictures else {}
    step = _first_step()
    places = list(sys.path)
    # The first is replaced by the script's folder; Pyodide has the current folder there as well.
    sys.path[:] = ["", *filter(None, places)]
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return cli.run_script(path, list(args), as_torch)
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return (stop.code or 0) & 0xFF  # as a process ends with
        print(stop.code, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing left to stop
        script.finish()
        sys.path[:] = places
        Optimizer.step = step
        sys.stdout.flush()
        sys.stderr.flush()
        after = _pictures() if pictures else {}
        for name in sorted(after, key=lambda name: after[name]):
            if after[name] != before.get(name):
                _image(Path(name).read_bytes(), name)
        _stats()


def describe() -> str:
    """What device "gl" is, as JSON: renderer, software, limits, reason and the default device."""
    try:
        found = backends.describe(_GL)
        device = {"renderer": found.renderer, "software": found.software, "limits": found.limits}
    except RuntimeError:  # the reason says what is missing
        device = {"renderer": "", "software": False, "limits": {}}
    about = {"reason": choice().reason, "default": str(settings.get_default_device())}
    return json.dumps(device | about)


def use_tuning(text: str) -> None:
    """Put what the page kept of an earlier `tune` where device gl looks when it is first used.

    The page has it from where others may write too. Whoever reads it says what is wrong with it, but
    what is too much to be read is dropped: a text that is nested deeply ends Python in a tab.
    """
    from tensorgl.backends.glsl import findings

    if len(text) > MOST_TUNED or _depth(text) > DEEPEST:
        return
    file = findings.path()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", errors="replace")


def _depth(text: str) -> int:
    """How deeply the objects and arrays of JSON are nested."""
    depth = deepest = 0
    for sign in re.findall(r'"(?:\\.|[^"\\])*"|[\[\]{}]', text):
        depth += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, depth)
    return deepest


def tune(cases: Sequence[str], seconds: float) -> int:
    """Find the best variants of kernels, and give the page what was found so far; the exit code.

    Args:
        cases: names or patterns of benchmark cases.
        seconds: after which it ends.
    """
    from tensorgl.backends.glsl import findings

    from ..bench import table, tune

    class Progress(table.Progress):
        """The page shows what is tried, and keeps what is found by the time that it is printed."""

        def show(self, text: str) -> None:
            _post(type="trying", text=text)

        def print(self, line: str) -> None:
            super().print(line)
            if findings.path().exists():
                _post(type="tuned", text=findings.path().read_text(encoding="utf-8"))

    names = tune.tunable(cases)
    code = tune.run(names, seconds, Progress(len(names)))
    return 0 if code == 1 else code  # variants that are wrong are left out, and the table says so


def _post(**message: Any) -> None:
    """Send a message to the page; worker.js says which there are."""
    import js
    from pyodide.ffi import to_js

    js.postMessage(to_js(message, dict_converter=js.Object.fromEntries))


def _progress(stage: str, start: float) -> None:
    _post(type="progress", stage=stage, ms=1000 * (time.perf_counter() - start))


def _first_step() -> Any:
    """Have the first optimizer step reported, with what led to it; the method to put back."""
    start, step = time.perf_counter(), Optimizer.step

    def first(self: Optimizer, closure: Any = None) -> Any:
        Optimizer.step = step
        loss = step(self, closure)
        for backend in backends.loaded():
            backend.synchronize()
        _progress("first step", start)
        return loss

    Optimizer.step = first
    return step


def _pictures() -> dict[str, int]:
    """The PNG files in the working folder and when each was written."""
    return {str(p): p.stat().st_mtime_ns for p in Path().rglob("*.png")}


def _image(png: bytes, title: str) -> None:
    _post(type="image", png=png, title=title)


def _stats(*_: object) -> None:
    """Report counts. A signal asks for it, in the middle of anything: nothing may be changed here."""
    import pyodide_js

    backend: Any = backends.existing(_GL)
    counts = backend.device.js.counts if backend else None
    _post(
        type="stats",
        launches=counts.launches if counts else 0,
        calls=counts.calls if counts else 0,
        live=backend.pool.live if backend else 0,
        pooled=backend.pool.pooled if backend else 0,
        python=pyodide_js._module.HEAPU8.length,
    )


signal.signal(signal.SIGUSR1, _stats)
