"""Times cases side by side, prints the table, and keeps records of it."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .cases import CASES
from .cases.case import Case
from .timing import Timing, interleaved
from .worker import Worker

__all__ = ["machine", "report", "save"]

PAUSE = 0.15  # OpenBLAS keeps a waiting thread busy for 0.1 s after a product
RESULTS = Path(__file__).parent / "results"
GL = ("renderer", "target", "software")  # what a worker says of its device


def machine() -> dict[str, object]:
    """What a record says of the machine that it was made on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def save(name: str, record: dict[str, object]) -> None:
    """Write a record with date and machine to results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    date = datetime.now(UTC).isoformat(timespec="seconds")
    path.write_text(json.dumps({"date": date, "machine": machine()} | record, indent=1) + "\n")
    print(f"written: {path}")


def report(names: list[str], sides: list[str], budget: float) -> dict[str, object]:
    """Time cases on all sides, of which the first is ours; prints a line each, returns a record."""
    width = max(map(len, names)) + 2
    side_width = max(18, *(len(s) + 2 for s in sides))
    head = f"{'case':<{width}}" + "".join(f"{s:>{side_width}}" for s in sides)
    head += "".join(f"{'/' + s:>{len(s) + 4}}" for s in sides[1:])
    print(f"{head}   GFLOP/s  launches   bar")
    devices: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for name in names:
        workers = {s: Worker(__package__ or "bench", s, name) for s in sides}
        timings = interleaved(workers, budget, pause=PAUSE if len(workers) > 1 else 0.0)
        row = _row(CASES[name], workers, timings)
        rows.append(row)
        devices |= {
            s: {k: w.about[k] for k in GL} for s, w in workers.items() if "renderer" in w.about
        }
        line = f"{name:<{width}}" + "".join(f"{_text(timings[s]):>{side_width}}" for s in sides)
        line += "".join(f"{row['ratios'][s]:>{len(s) + 3}.2f}x" for s in sides[1:])
        rate, launches = row[sides[0]].get("gflops"), row[sides[0]].get("launches")
        line += f"{'' if rate is None else f'{rate:.1f}':>10}"
        line += f"{'' if launches is None else launches:>10}   {_bar(row)}"
        print(line.rstrip(), flush=True)
        if "peak_bytes" in row:
            text = "".join(
                f"{p / 2**20:>{side_width - 4}.1f} MiB" for p in row["peak_bytes"].values()
            )
            print(f"{'  peak memory':<{width}}{text}", flush=True)
        for worker in workers.values():
            worker.close()
    return {"devices": devices, "rows": rows}


def _row(case: Case, workers: dict[str, Worker], timings: dict[str, Timing]) -> dict[str, Any]:
    """What a record says of a case."""
    row: dict[str, Any] = {"case": case.name}
    for side, t in timings.items():
        row[side] = {"median_s": t.median, "spread": t.spread}
        if case.flops is not None:
            row[side]["gflops"] = case.flops / t.median * 1e-9
        row[side] |= {k: v for k, v in workers[side].about.items() if k not in GL}
    ours, *others = timings
    row["ratios"] = {s: timings[ours].median / timings[s].median for s in others}
    if ours == "tensorgl":
        if case.limit is not None and "torch" in others:
            row["limit"] = case.limit
        if case.absolute is not None:
            row["absolute_s"] = case.absolute
    if case.memory and sys.platform == "linux":
        row["peak_bytes"] = {s: worker.peak_memory() for s, worker in workers.items()}
    return row


def _bar(row: dict[str, Any]) -> str:
    """Whether a row meets its bars."""
    texts: list[str] = []
    if "limit" in row:
        met = row["ratios"]["torch"] <= row["limit"]
        texts.append(f"{'met' if met else 'MISSED'} (at most {row['limit']}x)")
    if "absolute_s" in row:
        met = row["tensorgl"]["median_s"] <= row["absolute_s"]
        texts.append(f"{'met' if met else 'MISSED'} (at most {row['absolute_s'] * 1e6:g} us)")
    return ", ".join(texts)


def _text(t: Timing) -> str:
    value = t.median
    unit, scale = ("us", 1e6) if value < 1e-3 else ("ms", 1e3)
    return f"{value * scale:.2f} {unit} ±{100 * t.spread:.0f}%"
