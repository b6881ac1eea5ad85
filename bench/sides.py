"""What is timed beside what: a library on a device, in a process of its own or in a browser's tab."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BROWSERS", "COLD", "PEERS", "SIDES", "Side", "main_side"]


@dataclass(frozen=True)
class Side:
    """One column of the table.

    Attributes:
        library: tensorgl, torch, tfjs or jax-js.
        device: where new tensors are made.
        settings: environment variables of its process.
        where: "process" or "tab".
    """

    library: str = "tensorgl"
    device: str = "cpu"
    settings: dict[str, str] = field(default_factory=dict)
    where: str = "process"


_UNFUSED = {"TENSORGL_EAGER": "1"}
SIDES = {"tensorgl": Side(), "numpy": Side(), "torch": Side("torch")}
"""By the name that the table gives them; on the CPU tensorgl is its numpy backend."""

for _target in ("", "compute", "fragment"):
    _chosen = {"TENSORGL_GL_TARGET": _target} if _target else {}
    _name = f"gl-{_target}" if _target else "gl"
    SIDES[_name] = Side(device="gl", settings=_chosen)
    SIDES[f"{_name}-unfused"] = Side(device="gl", settings=_chosen | _UNFUSED)

SIDES |= {
    "webgl": Side(device="gl", where="tab"),
    "pyodide-numpy": Side(where="tab"),
    "tfjs": Side("tfjs", "webgl", where="tab"),
    "jax-js": Side("jax-js", "webgl", where="tab"),
}

PEERS = {
    "torch": "PyTorch on the CPU",
    "numpy": "tensorgl on the CPU",
    "unfused": "device gl without fusion",
    "tfjs": "TensorFlow.js on WebGL",
    "jax-js": "jax-js on WebGL",
    "pyodide-numpy": "tensorgl on the CPU in the same tab",
}
"""What the command line may put beside tensorgl, and what it is."""

BROWSERS: dict[str, tuple[str, ...]] = {
    "swiftshader": ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "llvmpipe": ("--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist"),
    "gpu": (),
}
"""What draws in Chromium, its own rasteriser, Mesa's or what the machine has; and its arguments for that."""

COLD = {"MESA_SHADER_CACHE_DISABLE": "true", "__GL_SHADER_DISK_CACHE": "0"}
"""Environment variables that keep a driver from finding compiled shaders on the disk."""


def main_side(device: str, target: str | None, browser: str | None = None) -> str:
    """The name of tensorgl's side on a device; without a target the context decides."""
    if browser:
        return "webgl"
    if device == "cpu":
        return "tensorgl"
    return f"gl-{target}" if target else "gl"
