"""What a benchmark case is: data, and what its op makes of them with a library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["OPS", "TOLERANCE", "Case", "Size", "Workload", "arrays", "op"]

TOLERANCE = 1e-4
"""The error that a result may have, relative to its largest number.

Three steps of training move a loss by ten times that. In batch normalisation float32's rounding shows:
there TensorFlow.js differs by 7e-5.
"""

Size = int | str
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Workload:
    """A case made with a library.

    Attributes:
        run: one call; starts the work and returns the tensor, the tensors, or what was read already:
            an array, or the loss as a float.
        check: the results of one call as arrays of float64; of training, the losses of three steps
            from the first state.
    """

    run: Callable[[], object]
    check: Callable[[], list[Array]]

    @classmethod
    def of(cls, run: Callable[[], object]) -> Workload:
        """A function that gives the same results each time."""
        return cls(run, lambda: arrays(run()))


Build = Callable[[Any, Mapping[str, Any]], Workload]
OPS: dict[str, Build] = {}
"""By the name of an op: a function of a library (tensorgl or torch) and sizes."""


def op(build: Build) -> Build:
    """Register an op under the function's name."""
    OPS[build.__name__] = build
    return build


def arrays(result: Any) -> list[Array]:
    """A result as arrays of float64."""
    results = result if isinstance(result, tuple | list) else (result,)
    numbers = (r.detach().cpu().numpy() if hasattr(r, "detach") else r for r in results)
    return [np.asarray(n, np.float64) for n in numbers]


@dataclass(frozen=True)
class Case:
    """A thing to time: nothing but data, so that a peer in another language can do the same.

    Attributes:
        name: as the command line and the results have it.
        op: what is done, a key of `OPS`.
        sizes: of its operands, and what else decides the work.
        group: "kernel", "training", "inference", or "start": a call that only a fresh process, or a
            fresh tab, can make. Every sample of a start case takes a new one.
        flops: floating-point operations of a call, where they are known.
        bytes: what a call must read and write at least, in float32.
        needs: "gl" where the case says something new on device "gl" only, "gpu" where anything
            but a hardware GPU takes too long; such a case still runs anywhere if it is named.
        limit: how many times PyTorch's time it may take, both on the CPU; None where there is no bar.
        absolute: most seconds a call may take on the CPU of this class of machine; None: no bar.
        memory: whether to measure peak memory too.
    """

    name: str
    op: str
    sizes: dict[str, Size] = field(default_factory=dict)
    group: str = "kernel"
    flops: int | None = None
    bytes: int | None = None
    needs: str | None = None
    limit: float | None = None
    absolute: float | None = None
    memory: bool = False

    def build(self, lib: Any) -> Workload:
        """The case made with tensorgl or torch; new tensors are made on the default device."""
        return OPS[self.op](lib, self.sizes)
