"""Answers scripts that set up cuDNN: there is none here, and its settings have no effect."""

from __future__ import annotations

__all__ = ["is_available", "version"]

enabled = False
benchmark = False
deterministic = False
allow_tf32 = False


def is_available() -> bool:
    """False."""
    return False


def version() -> int | None:
    """None."""
    return None
