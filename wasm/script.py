"""What python does around a script, for a tab: finds its packages, and ends it in good order."""

from __future__ import annotations

import atexit
import gc
import io
import sys
import time
from pathlib import Path

__all__ = ["finish", "load_packages", "make_sleep_interruptible"]


async def load_packages(script: str) -> None:
    """Load the packages of Pyodide that a script and the modules beside it import."""
    import pyodide_js

    source = "".join(f"import {name}\n" for name in imports(Path(script)))
    # Otherwise it tells of each among what the script prints.
    await pyodide_js.loadPackagesFromImports(source, messageCallback=lambda *_: None)
    if "import tqdm\n" in source:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its monitor is a thread, which a tab has not


def imports(script: Path) -> list[str]:
    """The modules that a script imports, and those that modules beside it import in turn."""
    from pyodide.code import find_imports

    found: dict[str, None] = {}
    waiting = [script]
    while waiting:
        source = waiting.pop().read_text(encoding="utf-8", errors="replace")
        for name in find_imports(source):
            if name in found:
                continue
            found[name] = None
            beside = script.parent / name
            if (beside / "__init__.py").is_file():
                waiting += beside.rglob("*.py")
            elif beside.with_suffix(".py").is_file():
                waiting.append(beside.with_suffix(".py"))
    return [name for name in found if name.isidentifier()]


def make_sleep_interruptible() -> None:
    """Let Ctrl-C end time.sleep: Pyodide looks for it only between steps of Python."""
    import js

    if not hasattr(js, "SharedArrayBuffer"):
        return  # there is no Ctrl-C either
    wait, cell = js.Atomics.wait, js.Int32Array.new(js.SharedArrayBuffer.new(4))

    def sleep(seconds: float, /) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            wait(cell, 0, 0, 1000 * min(left, 0.05))

    time.sleep = sleep


def finish() -> None:
    """Do what the end of a process does: call what was registered for it, end connections, write files."""
    atexit._run_exitfuncs()
    transport = sys.modules.get("tensorgl.distributed.transport_browser")
    if transport:
        transport.finish()
    for thing in gc.get_objects():
        # type() and not isinstance, which asks a proxy for what it stands for.
        if not issubclass(type(thing), io.IOBase):
            continue
        try:
            if not thing.closed and thing.writable():
                thing.flush()
        except Exception as error:
            print(f"Exception ignored in: {thing!r}\n{error}", file=sys.stderr)
