"""Shaders without a driver: a device that only keeps their texts, and Khronos's own compiler to judge them."""

from __future__ import annotations

import shutil
import subprocess
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tensorgl.backends.glsl.device import Device, Limits
from tensorgl.backends.glsl.memory import BYTES
from tests.gl import REQUIRED

ES = "\n".join(
    ["#version 300 es", "precision highp float;", "precision highp int;"]
    + [f"precision highp {kind}sampler2D;" for kind in ("", "i", "u")]
)
"""How a fragment shader begins in a browser, where no type but int has a default precision."""


def limits(target: str, header: str = "", **changes: Any) -> Limits:
    """Those of a common device of a target."""
    fragment = target == "fragment"
    values: dict[str, Any] = {
        "target": target,
        "header": header or ("#version 330" if fragment else "#version 430"),
        "renderer": "none",
        "software": True,
        "draw_buffers": 8,
        "inputs": 16,
        "texels": 1 << 24,
        "rows": 4096 if fragment else 0,
        "number_bytes": 1 << 14,
        "number_alignment": 256,
    }
    return Limits(**(values | changes))


class TextDevice(Device):
    """Runs nothing: memory reads as zeros. `sources` are the shaders that it was given."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sources: list[str] = []
        self._bytes: list[int] = []

    def allocate(self, kind: str, texels: int, width: int) -> int:
        self._bytes.append(BYTES[kind])
        return len(self._bytes) - 1

    def free(self, memory: int) -> None:
        pass

    def write(self, memory: int, start: int, data: bytes) -> None:
        pass

    def read(self, memory: int, start: int, texels: int) -> bytes:
        return bytes(texels * self._bytes[memory])

    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        self.sources.append(source)
        return len(self.sources) - 1

    def run(self, launches: array[int], slots: Sequence[int], numbers: Any) -> None:
        pass

    def timed(self, launches: array[int], slots: Sequence[int], numbers: Any) -> list[int]:
        raise NotImplementedError

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


def complaints(sources: Iterable[str], target: str, folder: Path) -> str:
    """What glslangValidator says against shaders, with the text of the first that it rejects."""
    validator = shutil.which("glslangValidator")
    if validator is None:
        missing = "glslangValidator is not installed; on Debian run: apt-get install glslang-tools"
        (pytest.fail if "opengl" in REQUIRED else pytest.skip)(missing)
    ending = {"compute": "comp", "fragment": "frag"}[target]
    names: list[str] = []
    for source in sources:
        names.append(f"{len(names)}.{ending}")
        (folder / names[-1]).write_text(source)
    found = subprocess.run([validator, *names], cwd=folder, capture_output=True, text=True)
    if found.returncode == 0:
        return ""
    lines = found.stdout.splitlines()
    rejected = [k for k, line in enumerate(lines) if line.startswith("ERROR")]
    first = next(line for line in reversed(lines[: rejected[0]]) if line in names)
    errors = "\n".join(lines[k] for k in rejected[:20])
    return f"{errors}\n{first}:\n{(folder / first).read_text()}"
