"""How many threads numpy's matrix products use; nothing else in the numpy backend uses threads.

numpy itself has no function for it, but the OpenBLAS in its wheels has, under one of these names.
"""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["get_num_threads", "set_num_threads"]

_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


@functools.cache
def _functions() -> tuple[Any, Any] | None:
    """OpenBLAS's getter and setter; None if numpy has another BLAS."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in folder.glob("*openblas*"):
            library = ctypes.CDLL(str(path))
            for name in _NAMES:
                if hasattr(library, name.format("get")):
                    return getattr(library, name.format("get")), getattr(
                        library, name.format("set")
                    )
    return None


def get_num_threads() -> int:
    """Threads of a large matrix product; of another BLAS than OpenBLAS, what is usual: the cores."""
    found = _functions()
    return int(found[0]()) if found else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Set them; warns if numpy has another BLAS than OpenBLAS, as that cannot be told."""
    found = _functions()
    if found:
        found[1](n)
    else:
        warnings.warn(
            "set_num_threads has no effect: numpy was not built with the OpenBLAS of its wheels; set "
            "your BLAS's environment variable before numpy is imported",
            UserWarning,
            stacklevel=3,
        )
