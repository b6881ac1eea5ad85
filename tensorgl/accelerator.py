"""Which accelerator a portable script should use: PyTorch's `torch.accelerator`.

The gl backend is not part of this version, so there is none; scripts that ask run on cpu.
"""

from __future__ import annotations

from tensorgl.avals import device

__all__ = ["current_accelerator", "device_count", "is_available", "synchronize"]


def is_available() -> bool:
    """Whether a hardware GPU can run tensorgl."""
    return False


def current_accelerator(check_available: bool = False) -> device | None:
    """The accelerator's device, or None."""
    return None


def device_count() -> int:
    """How many accelerators there are."""
    return 0


def synchronize() -> None:
    """Wait for all work on the accelerator; nothing to wait for on cpu."""
