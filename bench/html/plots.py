"""The report's plots, as SVG that lies in the page and takes its colours and font from it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from .results import GROUPS, OURS, Record, Standing, title
from .tables import ratio_text, time_text

__all__ = ["history", "ratios", "roofline"]

WIDTH = 3.9  # inches; a phone shows them at nearly this size
WORST = 3  # points with a name in a roofline

# Colours that matplotlib can write, and what the page has instead.
TEXT, DIM, LINE, FASTER, SLOWER, PEER, SURFACE = (f"#0{k}0{k}0{k}" for k in range(1, 8))
_COLOURS = {
    TEXT: "currentColor",
    DIM: "var(--dim)",
    LINE: "var(--line)",
    FASTER: "var(--faster)",
    SLOWER: "var(--slower)",
    PEER: "var(--peer)",
    SURFACE: "var(--surface)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tensorgl",
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": TEXT,
    "axes.labelcolor": DIM,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": DIM,
    "ytick.labelcolor": TEXT,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
}


def ratios(standing: Standing) -> str:
    """A bar a case, from 1x to the peer's time over ours, by group, on a log scale."""
    rows: list[tuple[str, float | None, str]] = []  # label, ratio, hint; a heading has no hint
    for group, heading in GROUPS.items():
        found = standing.of(group)
        if found:
            rows.append((heading, standing.mean(group), ""))
        for r in found:
            times = f"{title(standing.peer)} {time_text(r.theirs.median)}"
            hint = (
                f"{r.ours.case}: {ratio_text(r.value)} ({times}, ours {time_text(r.ours.median)})"
            )
            rows.append((r.ours.case, r.value, hint))
    values = [value for _, value, _ in rows if value is not None]

    def draw(axes: Any) -> dict[str, str]:
        hints: dict[str, str] = {}
        for y, (_, value, hint) in enumerate(rows):
            if value is None:
                continue
            colour = FASTER if value >= 1 else SLOWER
            if hint:
                (bar,) = axes.barh(y, value - 1, left=1, height=0.7, color=colour)
                bar.set_gid(f"bar-{y}")
                hints[f"bar-{y}"] = hint
            else:
                axes.plot(value, y, "D", color=colour, markersize=4)
            offset, side = (4, "left") if value >= 1 else (-4, "right")
            axes.annotate(
                ratio_text(value), (value, y), (offset, 0), textcoords="offset points", ha=side, va="center",
                fontsize=7, color=TEXT, fontweight="normal" if hint else "bold",
            )  # fmt: skip
        axes.axvline(1, color=TEXT, linewidth=0.8)
        axes.set_xscale("log")
        low, high = min(*values, 1), max(*values, 1.2)
        room = (high / low) ** 0.25  # for the text beside the longest bars
        axes.set_xlim(low / room if low < 1 else 0.97, high * room)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        for label, (_, _, hint) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("normal" if hint else "bold")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5) if high < 50 * low else (1,))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel(f"{title(standing.peer)}'s time / ours")
        return hints

    mean = standing.mean()
    text = f"{title(standing.peer)}'s time over ours in {standing.environment}, {len(standing.ratios)} cases"
    if mean is not None:
        text += f", geometric mean {ratio_text(mean)}"
    return _svg(
        f"ratios of {standing.environment} {standing.peer}",
        text,
        (WIDTH, 0.6 + 0.17 * len(rows)),
        draw,
    )


def roofline(device: str, records: Sequence[Record]) -> str:
    """Achieved GFLOP/s over arithmetic intensity, under the best rates measured on the device.

    Args:
        device: what computed.
        records: of this device and one environment; those without flops or bytes are not drawn.

    Returns:
        The SVG, or an explanation where no record has both.
    """
    points = [(r, r.flops / r.bytes, r.gflops) for r in records if r.flops and r.bytes and r.gflops]
    if not points:
        return f"<p>No record of {escape(device)} has both flops and bytes.</p>"
    bandwidth = max((r.gbytes for r in records if r.op == "copy" and r.gbytes), default=math.inf)
    rate = max(y for _, _, y in points)
    low, high = min(x for _, x, _ in points) / 2, max(x for _, x, _ in points) * 2
    ridge = min(max(rate / bandwidth, low), high)

    def draw(axes: Any) -> dict[str, str]:
        hints: dict[str, str] = {}
        axes.set_xscale("log")
        axes.set_yscale("log")
        for k, (r, x, y) in enumerate(points):
            ours = r.side in OURS
            axes.plot(
                x, y, "o", gid=f"point-{k}", markersize=4.5 if ours else 3.5, zorder=3 if ours else 2,
                color=FASTER if ours else PEER, markerfacecolor=FASTER if ours else "none",
            )  # fmt: skip
            hints[f"point-{k}"] = f"{r.case}, {title(r.side)}: {y:.3g} GFLOP/s at {x:.3g} FLOP/byte"
        if math.isfinite(bandwidth):
            axes.plot([low, ridge], [low * bandwidth, ridge * bandwidth], color=TEXT, linewidth=1)
            _note(axes, f"measured {bandwidth:.3g} GB/s", ridge, ridge * bandwidth, -6, 5)
        axes.plot([ridge, high], [rate, rate], color=TEXT, linewidth=1)
        _note(axes, f"measured {rate:.3g} GFLOP/s", high, rate, -4, 6)
        for r, x, y in _worst(points, lambda x: min(rate, x * bandwidth)):
            _note(axes, r.case, x, y, 5 if x < (low * high) ** 0.5 else -5, -6)
        axes.set_xlim(low, high)
        axes.grid()
        axes.set_axisbelow(True)
        for axis in (axes.xaxis, axes.yaxis):
            first, last = axis.get_view_interval()
            axis.get_major_locator().set_params(subs=(1, 2, 5) if last < 50 * first else (1,))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter("")
        axes.set_xlabel("FLOP / byte")
        axes.set_ylabel("GFLOP/s")
        return hints

    roofs = [
        f"measured copy bandwidth {bandwidth:.3g} GB/s"
        if math.isfinite(bandwidth)
        else "no copy measured",
        f"best rate {rate:.3g} GFLOP/s",
    ]
    text = f"Roofline of {device}: {', '.join(roofs)}, {len(points)} points"
    return _svg(f"roofline {records[0].environment} {device}", text, (WIDTH, 3.0), draw)


def history(records: Sequence[Record]) -> str:
    """The median over commits with half the interquartile range to either side.

    Args:
        records: one a commit, of one case, side and environment, by date.
    """
    first, last = records[0], records[-1]

    def draw(axes: Any) -> dict[str, str]:
        x = range(len(records))
        medians = [r.median * 1e3 for r in records]
        halves = [r.iqr * 0.5e3 for r in records]
        low = [m - h for m, h in zip(medians, halves, strict=True)]
        high = [m + h for m, h in zip(medians, halves, strict=True)]
        axes.fill_between(x, low, high, color=FASTER, alpha=0.25, linewidth=0)
        axes.plot(x, medians, "o-", color=FASTER, markersize=3, linewidth=1.2)
        axes.set_ylim(0, max(high) * 1.15)
        axes.set_xlim(-0.3, len(records) - 0.7)
        step = -(-len(records) // 5)
        ticks = list(x)[::-step][::-1]  # of the newest always
        axes.set_xticks(
            ticks, [records[k].revision.replace("-dirty", "+") for k in ticks], fontsize=7
        )
        axes.set_ylabel("ms")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        return {}

    text = f"{first.case} over {len(records)} commits: {time_text(first.median)} to {time_text(last.median)}"
    name = f"history {first.environment} {first.case} {first.side}"
    return _svg(name, text, (WIDTH * 0.8, 1.5), draw)


def _worst(
    points: Sequence[tuple[Record, float, float]], roof: Callable[[float], float]
) -> list[tuple[Record, float, float]]:
    """Our points furthest below the roof, at most WORST, without those whose names would overlap."""
    chosen: list[tuple[Record, float, float]] = []
    for point in sorted(points, key=lambda p: p[2] / roof(p[1])):
        apart = all(max(point[2] / y, y / point[2]) > 2 for _, _, y in chosen)
        if point[0].side in OURS and apart and len(chosen) < WORST:
            chosen.append(point)
    return chosen


def _note(axes: Any, text: str, x: float, y: float, right: float, up: float) -> None:
    """Text beside a point, so many points (1/72 inch) away."""
    axes.annotate(
        text, (x, y), (right, up), textcoords="offset points", fontsize=7, color=TEXT, va="center",
        ha="left" if right > 0 else "right", zorder=4,
        bbox={"facecolor": SURFACE, "alpha": 0.75, "linewidth": 0, "pad": 0.5},
    )  # fmt: skip


def _svg(
    name: str, text: str, size: tuple[float, float], draw: Callable[[Any], dict[str, str]]
) -> str:
    """Draw, and fit the SVG to the page.

    Args:
        name: unlike that of every other plot of the page.
        text: for those who do not see it.
        size: width and height in inches.
        draw: given the axes; returns hints that the mouse shows, by gid.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise RuntimeError(
            "the report draws with matplotlib, which is not installed; "
            "run: pip install 'tensorgl[bench]'"
        ) from None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        hints = draw(figure.add_subplot())
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # would hold for the whole page
    svg = re.sub(r" font-family: [^;]*;", "", svg)  # the page's
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><")
    for gid, hint in hints.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(hint)}</title>')
    # What nothing refers to needs no id, and the others must be the page's only ones.
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    key = re.sub(r"\W+", "-", name)
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{key}-", svg)
    svg = re.sub("|".join(_COLOURS), lambda m: _COLOURS[m[0]], svg)
    head = f'<svg role="img" aria-labelledby="{key}-title"'
    return svg.replace("<svg", head, 1).replace(
        ">", f'><title id="{key}-title">{escape(text)}</title>', 1
    )
