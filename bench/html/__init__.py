"""The report: one HTML file of plots and tables, and the README's table, both from bench/results/*.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from . import plots, tables
from .readme import marks, readme_differs, readme_table, update_readme
from .results import OURS, ResultError, Results, read

__all__ = [
    "ResultError",
    "marks",
    "readme_differs",
    "readme_table",
    "update_readme",
    "write",
]


def write(results: Sequence[Path], out: Path) -> None:
    """Write the report of some result files to one HTML file that needs nothing else.

    Raises:
        ResultError: there are no results, or a line is no record.
        RuntimeError: matplotlib is not installed.
    """
    found = read(results)
    standings = found.standings()
    folder = Path(__file__).parent
    newest = found.records[-1]
    page = Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        css=(folder / "page.css").read_text(encoding="utf-8"),
        about=f"{len(found.records)} records; the newest of {newest.date:%Y-%m-%d}, "
        f"commit <code>{escape(newest.revision)}</code>.",
        summary=tables.summary(standings),
        machines=tables.machines(found),
        ratios="\n".join(
            _figure(f"Against {tables.title(s.peer)}", s.environment, plots.ratios(s))
            for s in standings
        ),
        rooflines=_rooflines(found),
        history=_history(found),
        tables="\n".join(tables.measurements(found, e, standings) for e in found.environments),
    )
    out.write_text(page, encoding="utf-8")


def _rooflines(results: Results) -> str:
    """A figure for each device of ours in each environment."""
    figures: list[str] = []
    for environment in results.environments:
        records = results.latest(environment)
        for device in dict.fromkeys(r.device for r in records if r.side in OURS):
            plot = plots.roofline(device, [r for r in records if r.device == device])
            figures.append(_figure(device, environment, plot))
    return "\n".join(figures)


def _history(results: Results) -> str:
    """A figure for each case that was timed at several commits, by environment."""
    parts: list[str] = []
    for environment in results.environments:
        figures = [
            _figure(case, side, plots.history(records))
            for (case, side), records in results.history(environment).items()
        ]
        if figures:
            parts.append(f"<h3>{escape(environment)}</h3>")
            parts.append(f'<div class="plots small">{"".join(figures)}</div>')
    return "\n".join(parts) or "<p>No case was timed at several commits yet.</p>"


def _figure(heading: str, remark: str, plot: str) -> str:
    caption = f"{escape(heading)} <small>{escape(remark)}</small>"
    return f"<figure><figcaption>{caption}</figcaption>{plot}</figure>"
