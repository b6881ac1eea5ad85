"""What is timed beside what: a library on a device, in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PEERS", "SIDES", "Side", "main_side"]


@dataclass(frozen=True)
class Side:
    """One column of the table.

    Attributes:
        library: tensorgl or torch.
        device: where new tensors are made.
        settings: environment variables of its process.
    """

    library: str = "tensorgl"
    device: str = "cpu"
    settings: dict[str, str] = field(default_factory=dict)


_UNFUSED = {"TENSORGL_EAGER": "1"}
SIDES = {"tensorgl": Side(), "numpy": Side(), "torch": Side("torch")}
"""By the name that the table gives them; on the CPU tensorgl is its numpy backend."""

for _target in ("", "compute", "fragment"):
    _chosen = {"TENSORGL_GL_TARGET": _target} if _target else {}
    _name = f"gl-{_target}" if _target else "gl"
    SIDES[_name] = Side(device="gl", settings=_chosen)
    SIDES[f"{_name}-unfused"] = Side(device="gl", settings=_chosen | _UNFUSED)

PEERS = ("torch", "numpy", "unfused")


def main_side(device: str, target: str | None) -> str:
    """The name of tensorgl's side on a device; without a target the context decides."""
    if device == "cpu":
        return "tensorgl"
    return f"gl-{target}" if target else "gl"
