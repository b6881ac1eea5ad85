"""The settings of a run: hub.json beside its secret, made by `create`, read and checked by `read`."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tensorgl.distributed import codecs, tokens
from tensorgl.distributed.effects import Settings
from tensorgl.distributed.rules import RULES

__all__ = ["Config", "create", "read"]


@dataclass(frozen=True, slots=True)
class Config:
    """What hub.json says.

    Attributes:
        run: the name of the run, which tokens hold.
        up: the codec of contributions.
        down: the codec of updates: raw or int8.
        rule: how contributions become one; but for the mean, a whole round is compared.
        memory: bytes of contributions that may wait at the same time.
        settings: how rounds are held.
    """

    run: str
    up: str = "int8"
    down: str = "int8"
    rule: str = "mean"
    memory: int = 1 << 30
    settings: Settings = field(default_factory=Settings)


_BOUNDS: dict[str, tuple[float, float]] = {
    "lease": (0.1, 86_400),
    "quorum": (0, 1),
    "grace": (0, 86_400),
    "slack": (1, 1000),
    "most_stale": (0, 1000),
    "least_members": (1, 100_000),
    "most_members": (1, 100_000),
    "most_samples": (1, 2**40),
    "strikes": (1, 1000),
    "memory": (1 << 20, 1 << 50),
}
_CHOICES = {"up": tuple(codecs.names()), "down": ("raw", "int8"), "rule": RULES}


def create(directory: str | os.PathLike[str], **values: Any) -> Config:
    """Make the directory of a new run, with a secret; values are those of hub.json.

    Raises:
        FileExistsError: there is a run already.
        ValueError: a value is not what it has to be.
    """
    config = _config({"run": secrets.token_hex(8), **values}, "hub init")
    path = Path(directory)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    tokens.make_secret(path)
    plain = asdict(config)
    plain |= plain.pop("settings")
    del plain["streaming"]  # follows from the rule
    (path / "hub.json").write_text(json.dumps(plain, indent=2) + "\n")
    return config


def read(directory: str | os.PathLike[str]) -> Config:
    """What the hub.json of a directory says; what it leaves out is as it is by default.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it says what it must not.
    """
    path = Path(directory) / "hub.json"
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no run in {directory}; make one: tensorgl hub init {directory}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object")
    return _config(value, str(path))


def _config(values: dict[str, Any], place: str) -> Config:
    checks = _checks()
    for name, value in values.items():
        if name not in checks:
            raise ValueError(f"{place}: expected only {', '.join(checks)}; given {name}")
        expected, check = checks[name]
        if not check(value):
            raise ValueError(f"{place}: {name}: expected {expected}, given {value!r}")
    if "run" not in values:
        raise ValueError(f"{place}: run is missing")
    known = {f.name for f in fields(Settings)}
    settings = {name: value for name, value in values.items() if name in known}
    rest = {name: value for name, value in values.items() if name not in known}
    streaming = values.get("rule", "mean") == "mean"
    return Config(**rest, settings=Settings(**settings, streaming=streaming))


def _checks() -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """For each name: what is expected, and whether a value is that."""
    checks: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "run": ("1 to 64 letters, digits, - and _", _is_name),
        "balanced": ("true or false", lambda v: type(v) is bool),
    }
    for name, choices in _CHOICES.items():
        checks[name] = (f"one of {', '.join(choices)}", choices.__contains__)
    for name, (low, high) in _BOUNDS.items():
        whole = type(getattr(Settings(), name, 1)) is int
        kinds = (int,) if whole else (int, float)
        checks[name] = (
            f"{'a whole' if whole else 'a'} number from {low:g} to {high:g}",
            lambda v, kinds=kinds, low=low, high=high: (
                type(v) in kinds and math.isfinite(v) and low <= v <= high
            ),
        )
    return checks


def _is_name(value: Any) -> bool:
    return (
        type(value) is str
        and 1 <= len(value) <= 64
        and value.isascii()
        and all(c.isalnum() or c in "-_" for c in value)
    )
