"""The `tensorgl` command: what this machine offers, and running scripts."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from types import ModuleType

from tensorgl.version import __version__

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tensorgl", description="Deep learning in plain Python on any GPU."
    )
    parser.add_argument("--version", action="version", version=f"tensorgl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("info", help="show version, devices, limits, and what is missing")
    run = commands.add_parser("run", help="run a script as `python SCRIPT ARGS` would")
    run.add_argument(
        "--as-torch", action="store_true", help="let the script's `import torch` give tensorgl"
    )
    run.add_argument("script", metavar="SCRIPT", help="path of a Python file")
    run.add_argument("args", metavar="ARGS", nargs=argparse.REMAINDER, help="the script's own")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(argv)
    if options.command == "info":
        return _info()
    return _run(options.script, options.args, options.as_torch)


def _info() -> int:
    import numpy

    from tensorgl import accelerator
    from tensorgl.backends.opengl import probe

    def line(name: str, value: object) -> None:
        print(f"{name:<14}{value}")

    line("tensorgl", __version__)
    line("Python", f"{platform.python_version()} on {platform.platform()}")
    line("numpy", numpy.__version__)
    line("device cpu", f"numpy backend, {os.cpu_count()} cores")
    try:
        gl = probe.probe()
    except RuntimeError as missing:
        line("OpenGL", "not available")
        line("", missing)
    else:
        kind = "software" if gl.software else "hardware"
        line("OpenGL", f"{gl.renderer} ({kind})")
        line("", f"version {gl.version}, compute shaders {'yes' if gl.compute else 'no'}")
        for name, value in gl.limits.items():
            line("", f"{name} {value}")
    line("device gl", "no backend in this version; tensors live on cpu")
    line("accelerator", accelerator.current_accelerator() or "none: scripts run on cpu")
    return 0


def _run(script: str, args: list[str], as_torch: bool) -> int:
    """Run a script with the sys.argv, sys.path, __name__ and exit code that python gives it."""
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        print(f"tensorgl: can't open file '{script}': {error.strerror}", file=sys.stderr)
        return 2
    if as_torch:
        from tensorgl.as_torch import install

        install()
    module = ModuleType("__main__")
    module.__file__ = path = os.path.abspath(script)
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [script, *args]
    sys.path[0] = os.path.dirname(path)
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        # Show the script's own frames only, as python does.
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, frames)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
