"""Records of what was measured: a JSON object a line, one for each case and side.

Sides that were timed in turns share a round, and only their times should be compared. Times are
seconds; `error` is relative to numpy's result; `gpu_s` is what the launches of a call took.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from .cases.case import Case
from .machine import commit, machine
from .measure import Outcome

__all__ = ["RESULTS", "append", "folder", "records", "write_json"]

RESULTS = Path(__file__).parent / "results"
_OF_MACHINE = ("renderer", "driver", "target", "software", "browser")
_OF_CALL = ("launches", "gpu_s", "first_s", "bytes_peak", "peak_bytes")


def records(case: Case, outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """The records of a case: of each side that was timed."""
    first: dict[str, Any] = {"case": case.name, "group": case.group}
    first |= {"op": case.op, "sizes": case.sizes}
    first |= {"round": uuid4().hex[:12], "flops": case.flops, "bytes": case.bytes}
    made: list[dict[str, Any]] = []
    for side, outcome in outcomes.items():
        timing, about = outcome.timing, outcome.about
        if timing is None:
            continue
        place: dict[str, Any] = machine() | {k: about[k] for k in _OF_MACHINE if about.get(k)}
        place["versions"] = machine()["versions"] | about.get("versions", {})
        record: dict[str, Any] = {
            **_head(),
            **first,
            "machine": place,
            "side": side,
            "median_s": timing.median,
            "iqr_s": timing.iqr,
            "fastest_s": timing.fastest,
            "samples": timing.samples,
            "error": outcome.error,
        }
        record |= {key: about[key] for key in _OF_CALL if about.get(key)}
        made.append({key: value for key, value in record.items() if value is not None})
    return made


def _head() -> dict[str, Any]:
    """What every record begins with."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"date": date, "commit": commit(), "machine": machine()}


def append(name: str, made: Iterable[Mapping[str, Any]]) -> Path:
    """Add records to NAME.jsonl of `folder()`, whose path it returns."""
    path = folder() / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in made)
    return path


def write_json(name: str, record: Mapping[str, Any]) -> Path:
    """Write a single record to NAME.json of `folder()`, whose path it returns."""
    path = folder() / f"{name}.json"
    path.write_text(json.dumps({**_head(), **record}, indent=1) + "\n", encoding="utf-8")
    return path


def folder() -> Path:
    """Where results are kept: bench/results of a checkout, and the working folder elsewhere."""
    return RESULTS if RESULTS.is_dir() else Path.cwd()
