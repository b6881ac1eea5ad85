"""Tables of what was measured, in the README and in the docs, between comments that mark their place."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

from ..records import folder
from .markdown import table
from .results import GROUPS, OURS, Results, read, title
from .tables import ratio_text, time_text
from .together import together_table

__all__ = ["marks", "readme_differs", "readme_table", "update_readme"]

CAPTURED = "-captured"  # how the names of captured steps end


def readme_table(results: Sequence[Path]) -> str:
    """Geometric means against each peer, and captured training steps, as Markdown.

    Raises:
        ResultError: there are no results, or a line is no record.
    """
    found = read(results)
    groups = [g for g in GROUPS if any(r.group == g for r in found.records)]
    head = ["where", "against", "all cases", *(GROUPS[g] for g in groups), "slowest case"]
    rows: list[list[str]] = []
    for standing in found.standings():
        (slowest,) = standing.slowest(1)
        means = [standing.mean(group) for group in (None, *groups)]
        rows.append(
            [
                standing.environment,
                title(standing.peer),
                *("-" if mean is None else ratio_text(mean) for mean in means),
                f"{slowest.ours.case} {ratio_text(slowest.value)}",
            ]
        )
    parts = [_made_on(found)]
    if rows:
        parts += [
            "Geometric means of a peer's time over ours; above 1x tensorgl is faster.",
            table(head, rows),
        ]
    return "\n\n".join([*parts, *_steps(found)])


def update_readme(path: Path, results: Sequence[Path]) -> None:
    """Rewrite the tables between the marks of a file.

    Raises:
        ResultError: as `readme_table`.
        ValueError: the marks are missing.
    """
    path.write_text(_updated(path, results), encoding="utf-8")


def readme_differs(path: Path, results: Sequence[Path]) -> bool:
    """Whether `update_readme` would change the file; raises as it does."""
    return _updated(path, results) != path.read_text(encoding="utf-8")


def marks(name: str) -> tuple[str, str]:
    """The lines between which a table goes: `speed` or `together`."""
    return (
        f"<!-- {name}: written by `python -m bench report --readme` -->",
        f"<!-- end of {name} -->",
    )


def _updated(path: Path, results: Sequence[Path]) -> str:
    text = path.read_text(encoding="utf-8")
    tables = {"speed": lambda: readme_table(results), "together": lambda: together_table(folder())}
    found = [name for name in tables if marks(name)[0] in text]
    for name in found or ["speed"]:
        before, start, rest = text.partition(marks(name)[0])
        _, end, after = rest.partition(marks(name)[1])
        if not (start and end):
            first, last = marks(name)
            raise ValueError(
                f"{path}: expected the lines {first!r} and {last!r}, between which the table goes"
            )
        text = f"{before}{start}\n\n{tables[name]()}\n\n{end}{after}"
    return text


def _made_on(results: Results) -> str:
    """Machines, date and commit."""
    newest = results.records[-1]
    machines = "; ".join(dict.fromkeys(r.computer for r in results.records))
    date, commit = f"{newest.date:%Y-%m-%d}", newest.revision
    return f"Measured on {machines}; the newest record is of {date}, commit {commit}."


def _steps(results: Results) -> list[str]:
    """Our captured training steps in each environment, each with the ratio of the fastest peer."""
    fastest: dict[tuple[str, str], tuple[float, str]] = {}
    for standing in results.standings():
        for r in standing.ratios:
            key = standing.environment, r.ours.case
            fastest[key] = min(fastest.get(key, (inf, "")), (r.value, title(standing.peer)))
    cells: dict[str, dict[str, str]] = {}
    for environment in results.environments:
        for r in results.latest(environment):
            if r.group == "training" and r.case.endswith(CAPTURED) and r.side in OURS:
                ratio, peer = fastest.get((environment, r.case), (None, ""))
                beside = "" if ratio is None else f", {ratio_text(ratio)} {peer}"
                cells.setdefault(r.case, {})[environment] = time_text(r.median) + beside
    if not cells:
        return []
    places = [e for e in results.environments if any(e in row for row in cells.values())]
    rows = [
        [case.removesuffix(CAPTURED), *(row.get(place, "-") for place in places)]
        for case, row in cells.items()
    ]
    text = "Captured training steps, the loss read in each, with the ratio of the fastest peer."
    return [text, table(["training step", *places], rows)]
