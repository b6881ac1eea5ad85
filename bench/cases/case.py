"""What a benchmark case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """A thing to time.

    Attributes:
        name: as the command line and the results have it.
        build: from a library (tensorgl or torch) to the function to time.
        limit: how many times PyTorch's time on CPU it may take; None where there is no bar.
        memory: whether to measure peak memory too.
        absolute: most seconds a call may take on this class of machine; None where there is no bar.
    """

    name: str
    build: Callable[[Any], Callable[[], object]]
    limit: float | None = None
    memory: bool = False
    absolute: float | None = None
