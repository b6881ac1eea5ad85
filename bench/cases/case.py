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
        build: from a library (tensorgl or torch) to the function to time, which returns the tensors
            that it computes or, of a training step, the loss as a float. New tensors are made on the
            default device, which the harness sets.
        flops: floating-point operations of a call, where they are known.
        needs: "gl" where the case says something new on device "gl" only, "gpu" where anything
            but a hardware GPU takes too long; such a case still runs anywhere if it is named.
        limit: how many times PyTorch's time it may take, both on the CPU; None where there is no bar.
        absolute: most seconds a call may take on the CPU of this class of machine; None: no bar.
        memory: whether to measure peak memory too.
    """

    name: str
    build: Callable[[Any], Callable[[], object]]
    flops: int | None = None
    needs: str | None = None
    limit: float | None = None
    absolute: float | None = None
    memory: bool = False
