"""A hub in a process of its own, as people run it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensorgl.distributed import config, tokens

__all__ = ["hub", "serving"]


@contextmanager
def hub(**settings: Any) -> Generator[tuple[str, str, int]]:
    """The address of a hub, a token for its members, and its process.

    Args:
        settings: of the run; those of hub.json.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory = str(Path(folder) / "run")
        made = config.create(directory, **settings)
        token = tokens.sign(tokens.read_secret(directory), made.run, "worker", 4e9)
        with serving(directory) as (url, pid):
            yield url, token, pid


@contextmanager
def serving(directory: str) -> Generator[tuple[str, int]]:
    """The address of a hub that serves the run of a directory, and its process."""
    command = [sys.executable, "-m", "tensorgl", "hub", "serve", directory, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            said = process.stdout.readline()
            found = re.search(r"ws://[\w.:]+", said)
            if not found:
                raise RuntimeError(f"the hub did not start: {said}")
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait()
