"""Answers scripts that ask for Apple's Metal before they choose a device: there is none here."""

from __future__ import annotations

__all__ = ["is_available", "is_built"]


def is_available() -> bool:
    """False; on a Mac's GPU, see `tensorgl.accelerator`."""
    return False


def is_built() -> bool:
    """False."""
    return False
