"""Answers scripts that ask for CUDA before they choose a device: there is none here."""

from __future__ import annotations

__all__ = [
    "device_count",
    "empty_cache",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "synchronize",
]


def is_available() -> bool:
    """False: tensorgl never runs on CUDA; see `tensorgl.accelerator`."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def synchronize(device: object = None) -> None:
    """There is nothing to wait for; always raises, as PyTorch does without CUDA.

    Raises:
        AssertionError: always.
    """
    raise AssertionError(
        "tensorgl has no CUDA; ask is_available() first, or use accelerator.synchronize()"
    )


def empty_cache() -> None:
    """Do nothing: there is no cache."""


def memory_allocated(device: object = None) -> int:
    """0."""
    return 0


def max_memory_allocated(device: object = None) -> int:
    """0."""
    return 0


def memory_reserved(device: object = None) -> int:
    """0."""
    return 0


def max_memory_reserved(device: object = None) -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Do nothing: `tensorgl.manual_seed` seeds every device."""


def manual_seed_all(seed: int) -> None:
    """Do nothing: `tensorgl.manual_seed` seeds every device."""
