"""`python -m bench run [CASE…]` times tensorgl; `compare --peer torch` times a peer beside it."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .cases import CASES
from .timing import Timing, interleaved
from .worker import Worker, serve

PAUSE = 0.15  # OpenBLAS keeps a waiting thread busy for 0.1 s after a product
RESULTS = Path(__file__).parent / "results"


def _machine() -> dict[str, object]:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def _text(t: Timing) -> str:
    value = t.median
    unit, scale = ("us", 1e6) if value < 1e-3 else ("ms", 1e3)
    return f"{value * scale:.2f} {unit} ±{100 * t.spread:.0f}%"


def _report(names: list[str], libraries: list[str], budget: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    width = max(map(len, names)) + 2
    print(f"{'case':<{width}}" + "".join(f"{n:>18}" for n in libraries) + "     ratio   bar")
    for name in names:
        case = CASES[name]
        workers = {n: Worker(__package__ or "bench", n, name) for n in libraries}
        timings = interleaved(workers, budget, pause=PAUSE if len(workers) > 1 else 0.0)
        row: dict[str, Any] = {"case": name}
        row |= {n: {"median_s": t.median, "spread": t.spread} for n, t in timings.items()}
        ours = timings["tensorgl"].median
        line = f"{name:<{width}}" + "".join(f"{_text(t):>18}" for t in timings.values())
        bar = None
        if len(libraries) > 1:
            row["ratio"] = ours / timings[libraries[1]].median
            line += f"{row['ratio']:>9.2f}x"
            if case.limit is not None:
                bar, row["limit"] = row["ratio"] <= case.limit, case.limit
                line += f"   {'met' if bar else 'MISSED'} (at most {case.limit}x)"
        if case.absolute is not None:
            bar, row["absolute_s"] = ours <= case.absolute, case.absolute
            line += f"   {'met' if bar else 'MISSED'} (at most {case.absolute * 1e6:g} us)"
        print(line, flush=True)
        if case.memory and sys.platform == "linux":
            peaks = {n: worker.peak_memory() for n, worker in workers.items()}
            row["peak_bytes"] = peaks
            text = "".join(f"{p / 2**20:>14.1f} MiB" for p in peaks.values())
            print(f"{'  peak memory':<{width}}{text}", flush=True)
        for worker in workers.values():
            worker.close()
        rows.append(row)
    return rows


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "time tensorgl"), ("compare", "time tensorgl beside a peer")):
        command = commands.add_parser(name, help=text)
        command.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
        command.add_argument("--budget", type=float, default=3.0, help="seconds a case (default 3)")
        command.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json")
        if name == "compare":
            command.add_argument("--peer", default="torch", choices=["torch"])
    worker = commands.add_parser("worker", help="what the others start for each library and case")
    worker.add_argument("library", choices=["tensorgl", "torch"])
    worker.add_argument("case", choices=list(CASES))
    options = parser.parse_args()
    if options.command == "worker":
        serve(options.library, options.case)
        return 0
    unknown = [c for c in options.cases if c not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; choose from {', '.join(CASES)}")
    libraries = ["tensorgl"]
    if options.command == "compare":
        try:
            importlib.import_module(options.peer)
        except ImportError:
            parser.error(f"{options.peer} is not installed here; run: pip install {options.peer}")
        libraries.append(options.peer)
    rows = _report(options.cases or list(CASES), libraries, options.budget)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{options.save}.json"
        date = datetime.now(UTC).isoformat(timespec="seconds")
        path.write_text(
            json.dumps({"date": date, "machine": _machine(), "rows": rows}, indent=1) + "\n"
        )
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
