"""Speed, measured: `python -m bench run`, `compare`, `tune`, `sync`, `report`, `overhead`.

`run [CASE…]` times tensorgl; `compare --peer torch` times peers beside it: on the CPU, with `--device gl`
on the GPU, with `--browser` in a browser's tab. What a side computes is compared with numpy's result
before it is timed. `tune` finds the best variants of kernels for a device. `sync` times members that train
together. `report` makes a page of what `--save` kept. `overhead` times what Python costs on device gl,
without the GPU's work. Installed as `tensorgl bench`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from .cases import CASES
from .measure import measure
from .records import append, folder, records, write_json
from .sides import BROWSERS, PEERS, main_side
from .table import Progress, Table
from .worker import Stage

__all__ = ["main"]

TARGETS = ("compute", "fragment")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "time tensorgl"), ("compare", "time tensorgl beside peers")):
        command = commands.add_parser(
            name, help=text, epilog=f"cases: {', '.join(CASES)}", allow_abbrev=False
        )
        command.add_argument(
            "cases", nargs="*", metavar="CASE", help="a name, or a pattern: conv-*"
        )
        command.add_argument("--device", choices=["cpu", "gl"], help="default: cpu")
        command.add_argument("--target", choices=TARGETS, help="of device gl")
        command.add_argument("--browser", choices=BROWSERS, help="in a tab; what draws there")
        command.add_argument("--budget", type=float, default=3.0, help="seconds a case (default 3)")
        command.add_argument("--save", metavar="NAME", help="add to bench/results/NAME.jsonl")
        if name == "compare":
            what = "; ".join(f"{peer}: {text}" for peer, text in PEERS.items())
            command.add_argument(
                "--peer",
                action="append",
                choices=PEERS,
                help=f"{what}. May be given again; default: torch, with --browser tfjs",
            )
    tune = commands.add_parser(
        "tune",
        help="find the best variants of kernels for a device",
        description="Find the best variants of kernels for a device. What is found is kept in the user's "
        "cache folder, or in the file that TENSORGL_TUNING names, and used from then on.",
    )
    tune.add_argument("cases", nargs="*", metavar="CASE", help="a name, or a pattern: conv-*")
    tune.add_argument("--target", choices=TARGETS)
    tune.add_argument("--browser", choices=BROWSERS, help="in a tab; what draws there")
    tune.add_argument("--budget", type=float, default=300.0, help="seconds in all (default 300)")
    report = commands.add_parser("report", help="make a page of results, without network access")
    report.add_argument("files", nargs="*", type=Path, help="default: bench/results/*.jsonl")
    report.add_argument("--out", type=Path, default=Path("bench.html"), help="default: bench.html")
    report.add_argument(
        "--readme",
        type=Path,
        nargs="?",
        const=Path("README.md"),
        help="write the table of this file instead (default: README.md)",
    )
    sync = commands.add_parser(
        "sync",
        help="time training together: real hub and members, emulated devices and link",
        allow_abbrev=False,
    )
    sync.add_argument(
        "modes", nargs="*", metavar="MODE", help="a part of a mode's name; default: all"
    )
    sync.add_argument(
        "--step", type=float, default=3.2, help="seconds of a batch on a device (default 3.2)"
    )
    sync.add_argument(
        "--hub",
        action="store_true",
        help="what contributions and idle connections cost a hub instead",
    )
    sync.add_argument(
        "--chaos",
        type=int,
        metavar="RUNS",
        help="runs that accidents of all kinds befall instead",
    )
    sync.add_argument(
        "--real",
        action="store_true",
        help="four browsers and two native workers that learn digits instead",
    )
    sync.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json")
    overhead = commands.add_parser("overhead", help="time what Python costs on device gl")
    overhead.add_argument("--target", choices=TARGETS)
    overhead.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json")
    return parser


def _cases(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """The cases that are asked for, or else those that say something on the device."""
    if not options.cases:
        able: set[str | None] = {None}
        if options.browser:
            able |= {"gl"}
        elif options.device == "gl":
            from tensorgl.backends.opengl.probe import describe

            able |= {"gl"} if describe().software else {"gl", "gpu"}
        return [name for name, case in CASES.items() if case.needs in able]
    names: dict[str, None] = {}
    for pattern in options.cases:
        found = [name for name in CASES if fnmatchcase(name, pattern)]
        if not found:
            parser.error(f"unknown case {pattern!r}; choose from {', '.join(CASES)}")
        names |= dict.fromkeys(found)
    return list(names)


def _sides(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """Ours, then the peers."""
    if options.target and options.device != "gl":
        parser.error("--target is for --device gl")
    if options.browser and options.device:
        parser.error("--device is not for --browser, where it is WebGL2")
    if options.browser and not find_spec("aiohttp"):
        parser.error("--browser needs other packages; run: pip install 'tensorgl[bench]'")
    ours = main_side(options.device or "cpu", options.target, options.browser)
    peers: Sequence[str] = ()
    if options.command == "compare":
        peers = options.peer or ["tfjs" if options.browser else "torch"]
    sides = [ours]
    for peer in dict.fromkeys(peers):
        if peer in ("tfjs", "jax-js", "pyodide-numpy") and not options.browser:
            parser.error(f"--peer {peer} is for --browser")
        if peer == "unfused" and options.device != "gl":
            parser.error("--peer unfused is for --device gl")
        if peer == "numpy" and ours == "tensorgl":
            parser.error("--peer numpy is for --device gl or --browser; device cpu is numpy")
        if peer == "torch" and not find_spec("torch"):
            parser.error("torch is not installed here; run: pip install torch")
        sides.append(f"{ours}-unfused" if peer == "unfused" else peer)
    return sides


def _run(names: Sequence[str], sides: Sequence[str], options: argparse.Namespace) -> int:
    """Measure, print, and save each case as soon as it is done."""
    table, progress, path, faults = Table(names, sides), Progress(len(names)), None, 0
    with closing(progress), closing(Stage(sides, options.browser)) as stage:
        progress.print(table.head())
        for name in names:
            outcomes = measure(
                CASES[name],
                sides,
                stage,
                options.budget,
                lambda s, n=name: progress.show(f"{n}: {s}"),
            )
            said = [outcome.fault for outcome in outcomes.values() if outcome.fault]
            faults += bool(said)
            for fault in said:
                if "\n" in fault:  # a traceback, of which the table shows the last line
                    print(fault, file=sys.stderr)
            for line in table.lines(CASES[name], outcomes):
                progress.print(line)
            if options.save:
                path = append(options.save, records(CASES[name], outcomes))
            progress.step()
    for line in table.foot():
        print(line)
    if path:
        print(f"added to {path}")
    if faults:
        print(f"{faults} of {len(names)} cases failed or were wrong", file=sys.stderr)
    return 1 if faults else 0


def _report(options: argparse.Namespace) -> int:
    from . import html

    files = options.files or sorted(folder().glob("*.jsonl"))
    try:
        if options.readme:
            html.update_readme(options.readme, files)
        else:
            html.write(files, options.out)
    except (OSError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"written: {options.readme or options.out}")
    return 0


def _tune(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.target:
        if options.browser:
            parser.error("--target is not for --browser, where it is fragment")
        os.environ["TENSORGL_GL_TARGET"] = options.target
    from . import tune

    names = tune.tunable(options.cases)
    if not names:
        parser.error(f"no such case; choose from {', '.join(tune.tunable())}")
    if options.browser:
        from tensorgl.wasm.run import run

        script = str(Path(__file__).parent / "browser" / "tuning.py")
        args = [str(options.budget), *names]
        return run(script, args, browser_args=BROWSERS[options.browser])
    return tune.run(names, options.budget)


def _overhead(options: argparse.Namespace) -> int:
    if options.target:
        os.environ["TENSORGL_GL_TARGET"] = options.target
    from .overhead import measured

    record = measured()
    if options.save:
        print(f"written: {write_json(options.save, record)}")
    return 0


def main(argv: Sequence[str] | None = None, prog: str = "python -m bench") -> int:
    """Run the command line; returns the exit code: 1 if a case failed or was wrong."""
    parser = _parser(prog)
    options = parser.parse_args(argv)
    if options.command == "report":
        return _report(options)
    if options.command == "overhead":
        return _overhead(options)
    if options.command == "sync":
        from .sync import chaos, load, real, scaling

        if options.chaos:
            return chaos.run(options.chaos, options.save)
        if options.hub:
            return load.run(options.save)
        if options.real:
            return real.run(options.save)
        return scaling.run(options.step, options.save, options.modes)
    if options.command == "tune":
        return _tune(parser, options)
    sides = _sides(parser, options)
    return _run(_cases(parser, options), sides, options)


if __name__ == "__main__":
    sys.exit(main())
