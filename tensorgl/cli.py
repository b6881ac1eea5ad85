"""The `tensorgl` command: what this machine offers, running scripts, hubs, and benchmarks."""

from __future__ import annotations

import os
import platform
import sys
import traceback
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tensorgl.version import __version__

if TYPE_CHECKING:
    import argparse

__all__ = ["main", "run_script"]

_IN_BROWSER = sys.platform == "emscripten"


def _parser() -> argparse.ArgumentParser:
    import argparse  # here, as a tab runs scripts without it and would take long to import it

    parser = argparse.ArgumentParser(
        prog="tensorgl", description="Deep learning in plain Python on any GPU."
    )
    parser.add_argument("--version", action="version", version=f"tensorgl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("info", help="show version, devices, limits, and what is missing")
    serve = commands.add_parser("serve", help="open the playground to the browsers of this machine")
    serve.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any free one")
    commands.add_parser("bench", help="measure speed: tensorgl bench --help", add_help=False)
    import_module("tensorgl.distributed.hub_cli").add_parser(commands)
    run = commands.add_parser("run", help="run a script as `python SCRIPT ARGS` would")
    run.add_argument(
        "--as-torch", action="store_true", help="let the script's `import torch` give tensorgl"
    )
    run.add_argument("--browser", action="store_true", help="run it in a browser, on WebGL2")
    run.add_argument("--headed", action="store_true", help="show the browser's window")
    run.add_argument(
        "--browser-name", choices=("chromium", "firefox"), help="which browser; default: chromium"
    )
    run.add_argument(
        "--browser-arg",
        metavar="ARG",
        action="append",
        help="an argument for the browser, as --browser-arg=ARG; may be repeated",
    )
    run.add_argument("script", metavar="SCRIPT", help="path of a Python file")
    run.add_argument("args", metavar="ARGS", nargs=argparse.REMAINDER, help="the script's own")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["bench"]:  # all that follows is its own
        return import_module("tensorgl.bench.__main__").main(argv[1:], "tensorgl bench")
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command == "info":
        return _info()
    if options.command == "serve":
        return _serve(options.port)
    if options.command == "hub":
        return import_module("tensorgl.distributed.hub_cli").main(options)
    if options.browser:
        return _run_in_browser(options)
    if options.headed or options.browser_name or options.browser_arg:
        parser.error("--headed, --browser-name and --browser-arg need --browser")
    return run_script(options.script, options.args, options.as_torch)


def _info() -> int:
    import numpy

    from tensorgl import accelerator, settings

    _line("tensorgl", __version__)
    _line("Python", f"{platform.python_version()} on {platform.platform()}")
    _line("numpy", numpy.__version__)
    _line("device cpu", f"numpy backend, {os.cpu_count()} cores")
    found = _gl()
    chosen = accelerator.choice()
    reason = chosen.reason if found else "device gl is not available"
    _line("accelerator", f"{chosen.device or 'none'}: {reason}")
    said = os.environ.get("TENSORGL_DEVICE")
    why = f"TENSORGL_DEVICE={said}" if said else "TENSORGL_DEVICE is not set"
    _line("new tensors", f"on {settings.get_default_device()}: {why}")
    return 0


def _gl() -> bool:
    """Say what serves device "gl" and how, or what is missing; whether it can be used."""
    from tensorgl import backends
    from tensorgl.avals import device

    try:
        gl = backends.describe(device("gl"))
        target, why = _target(gl)
    except RuntimeError as missing:
        _line("device gl", "not available")
        _line("", missing)
        return False
    kind = "software, which draws with the CPU" if gl.software else "hardware"
    _line("device gl", f"{gl.renderer} ({kind})")
    _line("", gl.version if _IN_BROWSER else f"OpenGL {gl.version}")
    _line("", f"target {target}: {why}")
    for name, value in gl.limits.items():
        _line("", f"{name} {value}")
    return True


def _target(gl: Any) -> tuple[str, str]:
    """What kind of kernels device "gl" runs, and why."""
    if _IN_BROWSER:
        return "fragment", "WebGL has no compute shaders"
    from tensorgl.backends.opengl import target_for

    target = target_for(gl.version, gl.compute)
    if os.environ.get("TENSORGL_GL_TARGET"):
        return target, "as TENSORGL_GL_TARGET says"
    return target, f"it has {'' if gl.compute else 'no '}compute shaders"


def _line(name: str, value: object) -> None:
    print(f"{name:<14}{value}")


def _browser_part(name: str) -> Any:
    """A module of tensorgl.wasm; None, and said, if the packages that it needs are missing."""
    try:
        return import_module(f"tensorgl.wasm.{name}")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("tensorgl"):
            raise
        print(f"tensorgl: {missing}: pip install 'tensorgl[browser]'", file=sys.stderr)
        return None


def _serve(port: int) -> int:
    part = _browser_part("serve")
    return part.serve(port) if part else 1


def _run_in_browser(options: argparse.Namespace) -> int:
    part = _browser_part("run")
    if part is None:
        return 1
    return part.run(
        options.script,
        options.args,
        as_torch=options.as_torch,
        name=options.browser_name or "chromium",
        headed=options.headed,
        browser_args=options.browser_arg or (),
    )


def run_script(script: str, args: list[str], as_torch: bool) -> int:
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
