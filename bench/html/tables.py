"""The report's tables, as HTML, and how times and ratios are written."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from .results import GROUPS, Record, Results, Standing, browser_text, title

__all__ = ["machines", "measurements", "ratio_text", "summary", "time_text"]

SLOWEST = 3  # cases named in the summary
MACHINE = {
    "date": "date",
    "commit": "commit",
    "cpu": "CPU",
    "cores": "cores",
    "os": "system",
    "python": "Python",
    "browser": "browser",
    "renderer": "renderer",
    "versions": "versions",
}
MEASURED = (
    "case",
    "side",
    "median",
    "iqr",
    "GPU",
    "GFLOP/s",
    "GB/s",
    "launches",
    "error",
    "ratio",
    "commit",
)


def time_text(seconds: float) -> str:
    """Three digits and a unit."""
    unit, scale = ("s", 1) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{_digits(seconds * scale)} {unit}"


def ratio_text(ratio: float) -> str:
    """Such as 1.52x; below 1 the peer is faster."""
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}x"


def summary(standings: Sequence[Standing]) -> str:
    """The geometric means against each peer in each environment, and the slowest cases."""
    rows: list[list[str]] = []
    for standing in standings:
        means = (standing.mean(group) for group in (None, *GROUPS))
        slowest = ", ".join(
            f'<span class="case">{escape(r.ours.case)} {_ratio(r.value)}</span>'
            for r in standing.slowest(SLOWEST)
        )
        rows.append(
            [
                escape(standing.environment),
                escape(title(standing.peer)),
                str(len(standing.ratios)),
                *("-" if mean is None else _ratio(mean) for mean in means),
                slowest,
            ]
        )
    head = ["environment", "peer", "cases", "all cases", *GROUPS.values(), "slowest cases"]
    return _table("Geometric means of a peer's time over ours", head, rows, numbers=range(2, 8))


def machines(results: Results) -> str:
    """Where, when and with what the newest round of each environment was timed."""
    columns: list[list[str]] = []
    for environment in results.environments:
        records = [r for r in results.records if r.environment == environment]
        newest = [r.machine for r in records if r.round == records[-1].round]
        about = {key: value for machine in newest for key, value in machine.items() if value}
        versions = {k: v for machine in newest for k, v in (machine.get("versions") or {}).items()}
        about["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
        about["browser"] = browser_text(str(about.get("browser", "")))
        about["date"], about["commit"] = f"{records[-1].date:%Y-%m-%d}", records[-1].revision
        columns.append([escape(str(about.get(key) or "-")) for key in MACHINE])
    rows = [[name, *cells] for name, *cells in zip(MACHINE.values(), *columns, strict=True)]
    return _table("Machines", ["", *map(escape, results.environments)], rows)


def measurements(results: Results, environment: str, standings: Sequence[Standing]) -> str:
    """The newest record of each case and side, with the ratio where it was timed beside ours."""
    ratios = {
        (r.theirs.case, standing.peer): r.value
        for standing in standings
        if standing.environment == environment
        for r in standing.ratios
    }
    parts: list[str] = []
    records = results.latest(environment)
    for group, heading in GROUPS.items():
        rows: list[list[str]] = []
        case = ""
        for r in records:
            if r.group == group:
                ratio = ratios.get((r.case, r.side))
                rows.append([escape(r.case) if r.case != case else "", *_cells(r, ratio)])
                case = r.case
        if rows:
            parts.append(_table(f"{environment}: {heading}", MEASURED, rows, numbers=range(2, 10)))
    return "\n".join(parts)


def _cells(r: Record, ratio: float | None) -> list[str]:
    return [
        escape(title(r.side)),
        time_text(r.median),
        f"{100 * r.iqr / r.median:.0f} %",
        "-" if r.gpu is None else time_text(r.gpu),
        "-" if r.gflops is None else _digits(r.gflops),
        "-" if r.gbytes is None else _digits(r.gbytes),
        "-" if r.launches is None else f"{r.launches:g}",
        "-" if r.error is None else f"{r.error:.0e}",
        "" if ratio is None else _ratio(ratio),
        f"<code>{escape(r.revision)}</code>",
    ]


def _digits(value: float) -> str:
    """Three significant digits, without an exponent from 0.001 on."""
    if value < 1:
        return f"{value:.2g}"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _ratio(value: float) -> str:
    kind = "faster" if value >= 1 else "slower"
    return f'<span class="{kind}">{ratio_text(value)}</span>'


def _table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], numbers: range = range(0)
) -> str:
    """A table that scrolls by itself where it is wider than the page; cells are HTML.

    A row whose first cell is empty shares that of the row before; `numbers` are the columns of numbers.
    """
    kinds = [' class="number"' if k in numbers else "" for k in range(len(head))]
    lines = [
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(caption)}"><table>',
        f"<caption>{escape(caption)}</caption>",
        "<thead><tr>",
        *(
            f'<th scope="col"{kind}>{escape(name)}</th>'
            for name, kind in zip(head, kinds, strict=True)
        ),
        "</tr></thead><tbody>",
    ]
    starts = [k for k, row in enumerate(rows) if row[0]] + [len(rows)]
    spans = {start: end - start for start, end in pairwise(starts)}
    for k, (first, *others) in enumerate(rows):
        if k not in spans:
            lines.append('<tr class="more">')
        elif spans[k] == 1:
            lines.append(f'<tr><th scope="row">{first}</th>')
        else:
            lines.append(f'<tr><th scope="rowgroup" rowspan="{spans[k]}">{first}</th>')
        lines += (f"<td{kind}>{cell}</td>" for cell, kind in zip(others, kinds[1:], strict=True))
        lines.append("</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])
