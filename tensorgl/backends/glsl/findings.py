"""What was measured of kernels' variants: findings, and the files that keep them.

A file holds findings by the name of a device: shaders/tuning.json, which comes with the package, and one
of the user's, which goes before it.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tensorgl.backends.glsl.device import Limits

__all__ = [
    "Finding",
    "Key",
    "Variant",
    "decoded",
    "device_name",
    "encoded",
    "keep",
    "known",
    "path",
    "shipped",
    "users",
]

_VERSION = re.compile(r"\d+(\.\d+)+[\w.-]*")

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Variant:
    """A kernel, and the values of the parameters in its head."""

    kernel: str
    values: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, kernel: str, **values: int) -> Variant:
        """A variant by its parameters' names."""
        return cls(kernel, tuple(sorted(values.items())))

    def __getitem__(self, name: str) -> int:
        return dict(self.values)[name]

    def get(self, name: str, default: int) -> int:
        """The value of a parameter, if the kernel has it."""
        return dict(self.values).get(name, default)

    def __str__(self) -> str:
        return " ".join((self.kernel, *(f"{name}={value}" for name, value in self.values)))


def device_name(limits: Limits) -> str:
    """What tells devices apart that want other variants: the renderer without versions, and the target."""
    renderer = " ".join(_VERSION.sub("", limits.renderer).split()).replace(" ,", ",")
    return f"{renderer} / {limits.target} / {limits.draw_buffers}"


@dataclass(frozen=True)
class Finding:
    """What was measured of problems that are alike.

    Attributes:
        family: the family's name.
        key: theirs.
        variant: the best; None: the one by estimate.
        gain: how many times the time of the best the one by estimate takes, in all of the case.
        case: what was timed.
    """

    family: str
    key: Key
    variant: Variant | None
    gain: float
    case: str

    @classmethod
    def decoded(cls, data: Any) -> Finding:
        """From JSON."""
        kernel, values = data["kernel"], data["values"]
        variant = None if kernel is None else Variant.of(str(kernel), **_integers(values))
        found = cls(data["family"], _tuple(data["key"]), variant, float(data["gain"]), data["case"])
        hash(found)  # raises TypeError where anything of it is an object or a list
        return found

    def encoded(self) -> dict[str, Any]:
        """As JSON."""
        kernel, values = (
            (self.variant.kernel, dict(self.variant.values)) if self.variant else (None, {})
        )
        told = {"family": self.family, "key": self.key, "kernel": kernel, "values": values}
        return told | {"gain": round(self.gain, 3), "case": self.case}


Findings = dict[str, list[Finding]]
"""By the name of a device."""


def _tuple(data: Any) -> Any:
    return tuple(map(_tuple, data)) if isinstance(data, list) else data


def _integers(data: Mapping[str, Any]) -> dict[str, int]:
    if not all(isinstance(value, int) for value in data.values()):
        raise TypeError(f"expected integers, given {data}")
    return dict(data)


def decoded(text: str) -> Findings:
    """A tuning file's contents.

    Raises:
        ValueError: it is none.
    """
    try:
        return {
            name: [Finding.decoded(f) for f in found] for name, found in json.loads(text).items()
        }
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError) as error:
        raise ValueError(f"no tuning file: {error!r}") from None


def encoded(findings: Findings) -> str:
    """A tuning file's contents, a line for each finding."""
    devices = (
        f"{json.dumps(name)}: [\n"
        + ",\n".join(f"  {json.dumps(f.encoded())}" for f in found)
        + "\n]"
        for name, found in findings.items()
    )
    return "{" + ",\n".join(devices) + "}\n"


@cache
def shipped() -> Findings:
    """What comes with the package."""
    return decoded((files("tensorgl.shaders") / "tuning.json").read_text(encoding="utf-8"))


def users() -> Findings:
    """What this user measured."""
    try:
        return decoded(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warnings.warn(f"{path()} is left out: {error}; delete it, or tune again", stacklevel=2)
        return {}


def path() -> Path:
    """The file of what a user measured: `TENSORGL_TUNING`, else tensorgl/tuning/tuning.json in ~/.cache."""
    given = os.environ.get("TENSORGL_TUNING")
    if given:
        return Path(given)
    cached = os.environ.get("XDG_CACHE_HOME")
    return (Path(cached) if cached else Path.home() / ".cache") / "tensorgl/tuning/tuning.json"


def known(limits: Limits) -> list[Finding]:
    """What a user measured on a device."""
    return users().get(device_name(limits), [])


def keep(limits: Limits, findings: list[Finding]) -> Path:
    """Write what a user measured on a device, instead of what is there of it; the file's path."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(encoded(users() | {device_name(limits): findings}), encoding="utf-8")
    new.replace(file)
    return file
