"""Answers scripts that ask for CUDA before they choose a device: there is none here."""

from __future__ import annotations

__all__ = ["device_count", "empty_cache", "is_available", "manual_seed", "manual_seed_all"]


def is_available() -> bool:
    """False: tensorgl never runs on CUDA; see `tensorgl.accelerator`."""
    return False


def device_count() -> int:
    """0."""
    return 0


def empty_cache() -> None:
    """Do nothing: there is no cache."""


def manual_seed(seed: int) -> None:
    """Do nothing: `tensorgl.manual_seed` seeds every device."""


def manual_seed_all(seed: int) -> None:
    """Do nothing: `tensorgl.manual_seed` seeds every device."""
