"""What the worker calls in the tab: running a script as `python SCRIPT ARGS` would."""

from __future__ import annotations

import sys
from typing import Any

from tensorgl import cli

__all__ = ["run"]


async def run(path: str, args: Any, as_torch: bool) -> int:
    """Run a script of the tab's file system; its exit code."""
    import pyodide_js

    with open(path, encoding="utf-8") as file:
        await pyodide_js.loadPackagesFromImports(file.read())
    options = ["run", *(["--as-torch"] if as_torch else []), path, *args]
    try:
        return cli.main(options)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
