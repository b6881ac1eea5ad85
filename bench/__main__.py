"""Speed, measured: `python -m bench run`, `compare` and `overhead`.

`run [CASE…]` times tensorgl; `compare --peer torch` times a peer beside it; both on the CPU or with
`--device gl`. `overhead` times what Python costs on device "gl", without the GPU's work.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from .cases import CASES
from .report import report, save
from .sides import PEERS, SIDES, main_side
from .worker import serve

TARGETS = ("compute", "fragment")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "time tensorgl"), ("compare", "time tensorgl beside peers")):
        command = commands.add_parser(name, help=text)
        command.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
        command.add_argument("--device", default="cpu", choices=["cpu", "gl"])
        command.add_argument("--target", choices=TARGETS, help="of device gl")
        command.add_argument("--budget", type=float, default=3.0, help="seconds a case (default 3)")
        command.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json")
        if name == "compare":
            command.add_argument(
                "--peer",
                action="append",
                choices=PEERS,
                help="torch on the CPU (default), numpy: tensorgl on the CPU, unfused: device gl "
                "without fusion; may be given again",
            )
    overhead = commands.add_parser("overhead", help="time what Python costs on device gl")
    overhead.add_argument("--target", choices=TARGETS)
    overhead.add_argument("--save", metavar="NAME", help="write bench/results/NAME.json")
    worker = commands.add_parser("worker", help="what the others start for each side and case")
    worker.add_argument("side", choices=list(SIDES))
    worker.add_argument("case", choices=list(CASES))
    return parser


def _chosen(device: str) -> list[str]:
    """The cases that say something on a device."""
    able: set[str | None] = {None}
    if device == "gl":
        from tensorgl.backends.opengl.probe import describe

        able |= {"gl"} if describe().software else {"gl", "gpu"}
    return [name for name, case in CASES.items() if case.needs in able]


def _sides(parser: argparse.ArgumentParser, options: Any) -> list[str]:
    """Ours, then the peers."""
    if options.target and options.device != "gl":
        parser.error("--target is for --device gl")
    sides = [main_side(options.device, options.target)]
    peers = (options.peer or ["torch"]) if options.command == "compare" else []
    for peer in dict.fromkeys(peers):
        if peer != "torch" and options.device != "gl":
            parser.error(f"--peer {peer} is for --device gl")
        if peer == "torch":
            try:
                importlib.import_module(peer)
            except ImportError:
                parser.error(f"{peer} is not installed here; run: pip install {peer}")
        sides.append(f"{sides[0]}-unfused" if peer == "unfused" else peer)
    return sides


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args()
    if options.command == "worker":
        serve(options.side, options.case)
        return 0
    if options.command == "overhead":
        if options.target:
            os.environ["TENSORGL_GL_TARGET"] = options.target
        from .overhead import measured

        record: dict[str, object] = measured()
    else:
        unknown = [c for c in options.cases if c not in CASES]
        if unknown:
            parser.error(f"unknown case {unknown[0]!r}; choose from {', '.join(CASES)}")
        sides = _sides(parser, options)
        record = report(options.cases or _chosen(options.device), sides, options.budget)
    if options.save:
        save(options.save, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
