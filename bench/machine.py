"""What a result says of where it comes from: the machine, and the commit of this checkout."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tensorgl.version import __version__

__all__ = ["commit", "machine"]


@cache
def machine() -> dict[str, Any]:
    """The processor, its cores, the system, and the versions of what every side needs."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"tensorgl": __version__, "numpy": np.__version__},
    }


@cache
def commit() -> str | None:
    """The commit of the checkout, with "-dirty" if it was changed since; None outside of one."""
    here = Path(__file__).parent
    try:
        _git(
            here, "ls-files", "--error-unmatch", "__init__.py"
        )  # else another project's repository
        return _git(here, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
