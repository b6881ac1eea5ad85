"""Result records: read from bench/results/*.jsonl, checked, and compared. Knows nothing of HTML or plots."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..cases import CASES

__all__ = [
    "GROUPS",
    "OURS",
    "Ratio",
    "Record",
    "ResultError",
    "Results",
    "Standing",
    "read",
    "title",
]

OURS = ("webgl", "gl", "gl-compute", "gl-fragment", "tensorgl")
"""The sides that others are compared with: of a round, the first of these that it has."""

GROUPS = {
    "kernel": "kernels",
    "training": "training steps",
    "inference": "inference",
    "start": "start",
}
"""Groups of cases and their headings, in the order of the report."""

_PROCESSOR = {
    "tensorgl": "CPU",
    "numpy": "CPU",
    "torch": "CPU",
    "pyodide-numpy": "CPU by WebAssembly",
}
_TITLES = {
    "tfjs": "TensorFlow.js",
    "torch": "PyTorch",
    "numpy": "numpy backend",
    "pyodide-numpy": "numpy in Pyodide",
}


class ResultError(ValueError):
    """A results file that cannot be read; the message names file and line."""


def title(side: str) -> str:
    """What a reader calls a side."""
    return _TITLES.get(side, side)


@dataclass(frozen=True)
class Record:
    """How long a case took on a side; times in seconds, medians over samples.

    Attributes:
        machine: as the file has it.
        group: a key of `GROUPS`.
        iqr: between the quartiles of the samples.
        gpu: what the GPU's own clock says, or None.
        error: the largest relative error against numpy, or None.
        flops: floating-point operations of a call, or None.
        bytes: that a call must read and write at least, or None.
        round: shared by the sides that were timed in turns.
        environment: what a reader calls the place where the round was timed.
        device: what computed: the renderer, or the CPU.
    """

    date: datetime
    commit: str
    machine: dict[str, Any]
    case: str
    group: str
    op: str
    side: str
    median: float
    iqr: float
    gpu: float | None
    launches: int | None
    error: float | None
    flops: int | None
    bytes: int | None
    round: str
    environment: str = ""
    device: str = ""

    @property
    def revision(self) -> str:
        """The commit, shortened."""
        return self.commit[:7] + ("-dirty" if self.commit.endswith("-dirty") else "")

    @property
    def computer(self) -> str:
        """The machine's name for people."""
        return f"{self.machine.get('cpu', 'unknown CPU')}, {self.machine.get('cores', '?')} cores"

    @property
    def gflops(self) -> float | None:
        """Achieved GFLOP/s."""
        return None if self.flops is None else self.flops / self.median * 1e-9

    @property
    def gbytes(self) -> float | None:
        """Achieved GB/s."""
        return None if self.bytes is None else self.bytes / self.median * 1e-9


@dataclass(frozen=True)
class Ratio:
    """A peer's time over ours, both of one round."""

    ours: Record
    theirs: Record

    @property
    def value(self) -> float:
        """Above 1 where we are faster."""
        return self.theirs.median / self.ours.median


@dataclass(frozen=True)
class Standing:
    """How we stand against a peer in an environment: the newest ratio of each case."""

    environment: str
    peer: str
    ratios: Sequence[Ratio]

    def of(self, group: str) -> list[Ratio]:
        """The ratios of a group of cases."""
        return [r for r in self.ratios if r.ours.group == group]

    def mean(self, group: str | None = None) -> float | None:
        """The geometric mean, of all cases or of a group; None where there are none."""
        values = [r.value for r in (self.ratios if group is None else self.of(group))]
        return statistics.geometric_mean(values) if values else None

    def slowest(self, n: int) -> list[Ratio]:
        """The n cases in which we stand worst, the worst first."""
        return sorted(self.ratios, key=lambda r: r.value)[:n]


class Results:
    """What the report asks of records, which are in the order of their dates.

    Attributes:
        environments: browsers first.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        places = dict.fromkeys(r.environment for r in records)
        self.environments = sorted(places, key=lambda name: name.startswith("native"))
        cases = dict.fromkeys(
            (*CASES, *(r.case for r in records))
        )  # what is a case no more is last
        self._place = {case: k for k, case in enumerate(cases)}

    def latest(self, environment: str) -> list[Record]:
        """The newest record of each case and side: by group, case, and ours before peers'."""
        newest = {(r.case, r.side): r for r in self.records if r.environment == environment}
        return sorted(newest.values(), key=lambda r: (*self._order(r), r.side not in OURS))

    def history(self, environment: str) -> dict[tuple[str, str], list[Record]]:
        """Ours by case and side, a record a commit, where there are several commits."""
        found = {
            (r.case, r.side): dict[str, list[Record]]()
            for r in self.latest(environment)
            if r.side in OURS
        }
        for r in self.records:
            if r.environment == environment and r.side in OURS:
                found[r.case, r.side].setdefault(r.revision, []).append(r)
        return {
            key: [_joined(records) for records in commits.values()]
            for key, commits in found.items()
            if len(commits) > 1
        }

    def standings(self) -> list[Standing]:
        """Against each peer in each environment."""
        newest: dict[tuple[str, str], dict[str, Ratio]] = {}
        for sides in _rounds(self.records):
            ours = _ours(sides)
            for theirs in sides:
                if ours is not None and theirs.side != ours.side:
                    ratios = newest.setdefault((ours.environment, theirs.side), {})
                    ratios[ours.case] = Ratio(ours, theirs)
        return [
            Standing(place, peer, sorted(ratios.values(), key=lambda r: self._order(r.ours)))
            for environment in self.environments
            for (place, peer), ratios in newest.items()
            if place == environment
        ]

    def _order(self, record: Record) -> tuple[int, int]:
        """By group, then as the harness lists its cases."""
        return list(GROUPS).index(record.group), self._place[record.case]


def read(paths: Iterable[Path]) -> Results:
    """The records of some files.

    Raises:
        ResultError: there are none, or a line is no record.
    """
    records: list[Record] = []
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [_parsed(line, f"{path}:{k}") for k, line in enumerate(lines, 1) if line.strip()]
        if not found:
            raise ResultError(f"{path}: expected a record a line, but the file is empty")
        records += found
    if not records:
        raise ResultError(
            "no results (*.jsonl) to report; make some with: python -m bench run --save NAME"
        )
    return Results(_placed(sorted(records, key=lambda r: r.date)))


def _parsed(line: str, where: str) -> Record:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise ResultError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(data, dict):
        raise ResultError(f"{where}: expected a JSON object, given {type(data).__name__}")

    def field(key: str, *kinds: type, optional: bool = False) -> Any:
        value = data.get(key)
        if value is None and optional:
            return None
        if key not in data:
            raise ResultError(f"{where}: the record has no {key!r}")
        # JSON's true is an int to Python.
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ResultError(f"{where}: expected {key!r} to be {wanted}, given {value!r}")
        return value

    median, iqr = field("median_s", float, int), field("iqr_s", float, int)
    if not (0 < median < math.inf and 0 <= iqr < math.inf):
        raise ResultError(
            f"{where}: expected 'median_s' above 0 and 'iqr_s' of at least 0, given {median} and {iqr}"
        )
    group = field("group", str)
    if group not in GROUPS:
        raise ResultError(f"{where}: expected 'group' of {', '.join(GROUPS)}, given {group!r}")
    date = field("date", str)
    try:
        parsed = datetime.fromisoformat(date).astimezone(UTC)
    except ValueError:
        raise ResultError(f"{where}: expected 'date' in ISO 8601, given {date!r}") from None
    return Record(
        date=parsed,
        commit=field("commit", str, optional=True) or "unknown",
        machine=field("machine", dict),
        case=field("case", str),
        group=group,
        op=field("op", str),
        side=field("side", str),
        median=median,
        iqr=iqr,
        gpu=field("gpu_s", float, int, optional=True),
        launches=field("launches", float, int, optional=True),
        error=field("error", float, int, optional=True),
        flops=field("flops", int, optional=True),
        bytes=field("bytes", int, optional=True),
        round=str(field("round", str, int)),
    )


def _joined(records: Sequence[Record]) -> Record:
    """The first of some records of a case, with the median of their times."""
    median = statistics.median(r.median for r in records)
    return replace(records[0], median=median, iqr=statistics.median(r.iqr for r in records))


def _rounds(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each round, a case at a time."""
    rounds: dict[tuple[str, str], list[Record]] = {}
    for r in records:
        rounds.setdefault((r.round, r.case), []).append(r)
    return list(rounds.values())


def _ours(sides: Sequence[Record]) -> Record | None:
    """The record of a round that the others are compared with; None where all are peers'."""
    ours = [r for r in sides if r.side in OURS]
    return min(ours, key=lambda r: OURS.index(r.side), default=None)


def _placed(records: Sequence[Record]) -> list[Record]:
    """The records with environment and device, which a round's sides have in common."""
    several = len({r.computer for r in records}) > 1
    of_round: dict[tuple[str, str], tuple[str, str]] = {}
    for sides in _rounds(records):
        said = [r.machine for r in (_ours(sides), *sides) if r is not None]
        renderer = next((_short(str(m["renderer"])) for m in said if m.get("renderer")), "")
        browser = next((browser_text(str(m["browser"])) for m in said if m.get("browser")), "")
        ours = _ours(sides)
        if browser:
            product = browser.split()[0]  # without the version: a history outlives it
            name = f"{product}, {renderer}".removesuffix(", ")
        elif ours is None or ours.side == "tensorgl":
            name = "native, CPU"
        else:
            target = ours.side.removeprefix("gl").replace("-", " ")
            name = f"native, {renderer or 'GL'}{target}"
        if several:
            name += f" on {sides[0].computer}"
        of_round[sides[0].round, sides[0].case] = name, renderer
    placed: list[Record] = []
    for r in records:
        environment, renderer = of_round[r.round, r.case]
        device = _PROCESSOR.get(r.side, renderer)
        placed.append(replace(r, environment=environment, device=device))
    return placed


def browser_text(agent: str) -> str:
    """A browser's name and version, of its user agent."""
    found = re.search(r"(Firefox|Chrome)/(\d+)", agent)
    return f"{found[1].replace('Chrome', 'Chromium')} {found[2]}" if found else agent


def _short(renderer: str) -> str:
    """What a driver calls itself, without versions and buses."""
    if renderer.startswith("ANGLE ("):  # ANGLE (vendor, renderer, driver)
        renderer = renderer[len("ANGLE (") :].split(", ", 1)[-1]
    for software in ("SwiftShader", "llvmpipe"):
        if software in renderer:
            return software
    return re.split(r"/| \(|,", renderer)[0].strip()
