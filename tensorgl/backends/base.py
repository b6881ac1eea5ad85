"""The contract of a backend. It runs primitives on handles; it never sees a gradient or a Tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from tensorgl.avals import Aval
from tensorgl.errors import UnsupportedError
from tensorgl.primitives import Primitive

__all__ = ["Backend", "Handle", "unsupported"]

Handle = Any
"""A backend's own value for one tensor: an ndarray, a graph node. Others only pass it around."""


class Backend(ABC):
    """Twelve methods. Handles are immutable values to everyone but `assign`."""

    name: str
    observer: Callable[[Any, list[int]], None] | None = None
    """For the profiler: told of the launches of each flush and of the nanoseconds that each took."""

    @abstractmethod
    def bind(
        self, primitive: Primitive, avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any
    ) -> Callable[..., Any]:
        """A function from input handles to the result's handle (a tuple of them where `out` is one).

        Called once for each new combination and then cached, so choices by shape belong here. The
        inputs it will get have the dtypes in `avals`; one whose aval is a Python number arrives as
        that number. For a view primitive the result shares the input's memory.

        Raises:
            UnsupportedError: there is no kernel for this primitive and dtype.
        """

    @abstractmethod
    def upload(self, array: Any, aval: Aval) -> Handle:
        """A handle on a numpy array of the aval's shape and dtype. The caller gives the array up."""

    @abstractmethod
    def download(self, handle: Handle, aval: Aval) -> Any:
        """The values as a numpy array, finished. On `cpu` it shares the handle's memory."""

    async def download_async(self, handle: Handle, aval: Aval) -> Any:
        """As `download`, while others work, where the device can do that."""
        return self.download(handle, aval)

    @abstractmethod
    def assign(self, target: Handle, source: Handle, aval: Aval) -> None:
        """Write `source` over the memory that `target` shows; both have this aval.

        Every handle that views the same memory sees it from then on.
        """

    @abstractmethod
    def strides(self, handle: Handle, aval: Aval) -> tuple[int, ...]:
        """How many elements apart neighbours along each dim lie in memory."""

    def flush(self) -> None:
        """Start all work that was asked for; nothing to do for a backend that starts it at once."""
        return

    def recording(self) -> Any:
        """For `compile`: records what is asked for from here on, to run it again; None if eager."""
        return None

    @abstractmethod
    def synchronize(self) -> None:
        """Return when all work that was asked for is done."""

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Running totals: at least "launches" where launches exist.

        A backend with memory of its own counts it: "bytes_live" in tensors, "bytes_pooled" kept for others,
        "bytes_peak" and "bytes_reserved_peak" the most of the first and of both since `reset_peak`.
        """

    def empty_cache(self) -> None:
        """Give memory that no tensor uses back to the system."""
        return

    def reset_peak(self) -> None:
        """Count maxima of memory from here on."""
        return


def unsupported(backend: str, primitive: Primitive, avals: tuple[Aval, ...]) -> UnsupportedError:
    """The error for a primitive that a backend cannot do."""
    dtypes = ", ".join(a.dtype.name for a in avals)
    return UnsupportedError(
        f"{primitive.name}: not supported for ({dtypes}) on the {backend} backend; move the operands "
        "with .cpu() or cast them with .to(dtype)"
    )
