"""`tensorgl serve`: the playground, on this machine only, until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import sys
from pathlib import Path

from . import server, site, vendor

__all__ = ["serve"]


def serve(port: int) -> int:
    """Serve the playground on the loopback interface; returns the command's exit code.

    Args:
        port: 0 takes any free one.
    """
    print("Preparing the playground; the first time this fetches Pyodide.", file=sys.stderr)
    try:
        asyncio.run(_serve(site.cached(), port))
    except vendor.VendorError as error:
        print(f"tensorgl: {error}", file=sys.stderr)
        return 1
    except (OSError, OverflowError) as error:
        print(f"tensorgl: cannot listen on port {port}: {_reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


async def _serve(folder: Path, port: int) -> None:
    async with server.serving(server.application(folder), port=port) as url:
        print(f"The playground is at {url}\nCtrl-C stops it.", flush=True)
        await asyncio.Event().wait()


def _reason(error: OSError | OverflowError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return "another program uses it; end that, or choose a port with --port (0: any free one)"
    if number == errno.EACCES:
        return "it is reserved; choose one above 1023 with --port"
    return str(error)
