"""Which accelerator a portable script should use: PyTorch's `torch.accelerator`.

The accelerator is device "gl" where a hardware GPU answers, and where `TENSORGL_DEVICE=gl` asks for it.
A software rasteriser is none, as on a CPU numpy is faster; it serves device "gl" where that is asked for
by name. There is one device, with the index 0. What is said of memory is 0 until the device is used.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from tensorgl import backends
from tensorgl.avals import device

__all__ = [
    "current_accelerator",
    "current_device_index",
    "device_count",
    "device_index",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device_index",
    "synchronize",
]

_GL = device("gl")
_Index = int | str | device | None


class Choice(NamedTuple):
    """The accelerator, or None, and why."""

    device: device | None
    reason: str


def choice() -> Choice:
    """Which accelerator there is, in words for people too."""
    asked = os.environ.get("TENSORGL_DEVICE", "")
    if asked == "cpu":
        return Choice(None, "TENSORGL_DEVICE=cpu asks for the CPU")
    try:
        found = backends.describe(_GL)
    except RuntimeError as error:
        return Choice(None, str(error))
    if asked == "gl":
        return Choice(_GL, "TENSORGL_DEVICE=gl asks for it")
    if found.software:
        return Choice(
            None,
            f"{found.renderer} draws with the CPU, where device cpu is faster; "
            'device="gl" or TENSORGL_DEVICE=gl uses it all the same',
        )
    return Choice(_GL, "a hardware GPU answers")


def is_available() -> bool:
    """Whether there is an accelerator."""
    return choice().device is not None


def current_accelerator(check_available: bool = False) -> device | None:
    """The accelerator's device, or None. It is always checked whether it is available."""
    return choice().device


def device_count() -> int:
    """How many accelerators there are: 0 or 1."""
    return int(is_available())


def current_device_index() -> int:
    """The index of the accelerator that is used: 0.

    Raises:
        RuntimeError: there is none.
    """
    _require()
    return 0


def set_device_index(device: _Index, /) -> None:
    """Use the accelerator with this index, of which there is one.

    Raises:
        RuntimeError: there is none, or no such index.
    """
    _require()
    _check(device)


class device_index:  # noqa: N801  PyTorch's name
    """A context in which the accelerator with this index is used; None changes nothing."""

    def __init__(self, device: int | None, /) -> None:
        self.idx = device

    def __enter__(self) -> None:
        """Check the index."""
        if self.idx is not None:
            set_device_index(self.idx)

    def __exit__(self, *error: object) -> None:
        pass


def synchronize(device: _Index = None, /) -> None:
    """Wait until all that was asked for on device "gl" is done; on cpu there is nothing to wait for."""
    _check(device)
    backend = backends.existing(_GL)
    if backend is not None:
        backend.synchronize()


def empty_cache() -> None:
    """Give the memory back that no tensor uses but that is kept for others."""
    backend = backends.existing(_GL)
    if backend is not None:
        backend.empty_cache()


def memory_allocated(device_index: _Index = None, /) -> int:
    """Bytes of the device that tensors take."""
    return memory_stats(device_index)["allocated_bytes.all.current"]


def max_memory_allocated(device_index: _Index = None, /) -> int:
    """The most bytes that tensors took since the last `reset_peak_memory_stats`."""
    return memory_stats(device_index)["allocated_bytes.all.peak"]


def memory_reserved(device_index: _Index = None, /) -> int:
    """Bytes of the device that tensors take or that are kept for others."""
    return memory_stats(device_index)["reserved_bytes.all.current"]


def max_memory_reserved(device_index: _Index = None, /) -> int:
    """The most bytes that were reserved since the last `reset_peak_memory_stats`."""
    return memory_stats(device_index)["reserved_bytes.all.peak"]


def memory_stats(device_index: _Index = None, /) -> dict[str, int]:
    """Bytes allocated and reserved, now and at most, under PyTorch's names."""
    _check(device_index)
    backend = backends.existing(_GL)
    counts = backend.counters() if backend is not None else {}
    live, pooled = counts.get("bytes_live", 0), counts.get("bytes_pooled", 0)
    return {
        "allocated_bytes.all.current": live,
        "allocated_bytes.all.peak": counts.get("bytes_peak", 0),
        "reserved_bytes.all.current": live + pooled,
        "reserved_bytes.all.peak": counts.get("bytes_reserved_peak", 0),
    }


def reset_peak_memory_stats(device_index: _Index = None, /) -> None:
    """Count maxima from here on."""
    _check(device_index)
    backend = backends.existing(_GL)
    if backend is not None:
        backend.reset_peak()


def _require() -> None:
    found = choice()
    if found.device is None:
        raise RuntimeError(
            f"Cannot access accelerator device when none is available: {found.reason}"
        )


def _check(index: Any) -> None:
    """That this is the one device.

    Raises:
        RuntimeError: it is not.
    """
    if index is None or index is _GL or (type(index) is int and index == 0):
        return
    if isinstance(index, str) and device(index) is _GL:
        return
    raise RuntimeError(f"accelerator: expected index 0 or device 'gl', given {index!r}")
