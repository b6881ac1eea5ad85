"""`python -m tensorgl.wasm`: fetch the third-party parts, and build the static site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import site, vendor

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tensorgl.wasm")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fetch = commands.add_parser("vendor", help="fetch the third-party parts into the cache")
    build = commands.add_parser("build", help="build the static site")
    build.add_argument("folder", type=Path, metavar="FOLDER", help="where to write it")
    for command in (fetch, build):
        command.add_argument(
            "--offline", type=Path, metavar="DIR", help="take the parts from this folder"
        )
    options = parser.parse_args(argv)
    try:
        if options.command == "vendor":
            vendor.frontend(None, options.offline)
            print(vendor.pyodide(options.offline))
        else:
            site.build(options.folder, options.offline)
            print(site.sizes(options.folder))
    except (vendor.VendorError, FileExistsError) as error:
        print(f"tensorgl: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
