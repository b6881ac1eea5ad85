"""Settings of the whole process that PyTorch's scripts read and change."""

from __future__ import annotations

from typing import Literal

from tensorgl.avals import default_devices, process_device
from tensorgl.avals import device as device_type

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_default_device",
    "get_float32_matmul_precision",
    "get_num_threads",
    "set_default_device",
    "set_float32_matmul_precision",
    "set_num_threads",
    "use_deterministic_algorithms",
]

Precision = Literal["highest", "high", "medium"]
_PRECISIONS = ("highest", "high", "medium")
_precision: Precision = "highest"
_deterministic = False


def get_default_device() -> device_type:
    """Where new tensors are made if no device is given."""
    return default_devices[-1]


def set_default_device(device: str | device_type | None) -> None:
    """Make new tensors here if no device is given; None: as at first, which is on the cpu.

    The environment variable `TENSORGL_DEVICE`, cpu or gl, says what it is at first.
    """
    default_devices[0] = process_device if device is None else device_type(device)


def get_num_threads() -> int:
    """How many threads a large matrix product on cpu uses."""
    from tensorgl.backends.numpy import threads  # a backend is imported when it is first used

    return threads.get_num_threads()


def set_num_threads(n: int) -> None:
    """Let large matrix products on cpu use n threads.

    Raises:
        RuntimeError: n is not a positive integer.
    """
    if not isinstance(n, int) or n < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, given {n!r}")
    from tensorgl.backends.numpy import threads

    threads.set_num_threads(n)


def get_float32_matmul_precision() -> str:
    """The precision that was asked for."""
    return _precision


def set_float32_matmul_precision(precision: Precision) -> None:
    """Allow products of float32 to be less precise; all backends use full precision regardless.

    Raises:
        ValueError: it is none of "highest", "high" and "medium".
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ValueError(
            f"set_float32_matmul_precision: expected one of {', '.join(_PRECISIONS)}, given "
            f"{precision!r}"
        )
    _precision = precision


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for algorithms whose results repeat. There are no others; the answer is kept for readers."""
    global _deterministic
    _deterministic = mode


def are_deterministic_algorithms_enabled() -> bool:
    """Whether they were asked for."""
    return _deterministic
