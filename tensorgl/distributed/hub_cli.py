"""`tensorgl hub`: make a run, serve it, give tokens for it, and look at it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from tensorgl.distributed import tokens
from tensorgl.errors import SerializationError

if TYPE_CHECKING:
    import argparse
    import ssl

    from tensorgl.distributed.pages import Script

__all__ = ["add_parser", "main"]

_TIMEOUT = 10.0
_LINK_S = 7 * 86_400  # how long the links that `serve` prints are good for


def add_parser(subparsers: Any) -> None:
    """Add the command `hub` to those of `tensorgl`."""
    hub = subparsers.add_parser("hub", help="let browsers and machines train one model together")
    commands = hub.add_subparsers(dest="hub_command", required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="make the directory of a new run")
    init.add_argument("directory", metavar="DIR")
    init.add_argument("--up", default="int8", help="codec of contributions; default: int8")
    init.add_argument("--down", default="int8", help="codec of updates; default: int8")
    init.add_argument("--rule", default="mean", help="how they become one; default: mean")
    init.add_argument("--least-members", type=int, default=1, metavar="N", help="so many begin")
    serve = commands.add_parser("serve", help="serve a run until it is stopped")
    serve.add_argument("directory", metavar="DIR")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    serve.add_argument("--port", type=int, default=8765, help="default: 8765; 0: any free one")
    serve.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    serve.add_argument("--tls-key", metavar="FILE", help="its key, PEM")
    serve.add_argument(
        "--insecure", action="store_true", help="serve other machines without TLS nonetheless"
    )
    serve.add_argument(
        "--origin",
        action="append",
        default=[],
        help="let pages of this origin connect, such as https://example.org; may be repeated",
    )
    serve.add_argument(
        "--script",
        help="let browsers join on a page that runs this script; needs tensorgl[browser]",
    )
    token = commands.add_parser("token", help="print a token that lets somebody in")
    token.add_argument("directory", metavar="DIR")
    token.add_argument("--role", choices=tokens.ROLES, default="worker", help="default: worker")
    token.add_argument(
        "--ttl", default="7d", help="how long it is valid: 7d, 12h, 30m; default: 7d"
    )
    status = commands.add_parser("status", help="show how a run is getting on")
    status.add_argument(
        "place", metavar="DIR|URL", help="a URL needs a token for observer in TENSORGL_TOKEN"
    )


def main(options: argparse.Namespace) -> int:
    """Run a command of `tensorgl hub`; returns its exit code."""
    commands = {"init": _init, "serve": _serve, "token": _token, "status": _status}
    try:
        return commands[options.hub_command](options)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("tensorgl"):
            raise
        extras = "browser,distributed" if getattr(options, "script", None) else "distributed"
        print(f"tensorgl hub: {missing}: pip install 'tensorgl[{extras}]'", file=sys.stderr)
        return 1
    except (OSError, ValueError, RuntimeError, SerializationError) as error:
        print(f"tensorgl hub: {error}", file=sys.stderr)
        return 1


def _init(options: argparse.Namespace) -> int:
    from tensorgl.distributed import config

    made = config.create(
        options.directory,
        up=options.up,
        down=options.down,
        rule=options.rule,
        least_members=options.least_members,
    )
    print(
        f"run {made.run} in {options.directory}; serve it: tensorgl hub serve {options.directory}"
    )
    return 0


def _token(options: argparse.Namespace) -> int:
    print(_sign(options.directory, options.role, tokens.ttl(options.ttl)))
    return 0


def _sign(directory: str, role: str, seconds: int) -> str:
    from tensorgl.distributed import config

    run = config.read(directory).run
    return tokens.sign(tokens.read_secret(directory), run, role, time.time() + seconds)


def _serve(options: argparse.Namespace) -> int:
    import asyncio  # here, as are others below: every command builds its parser from this module
    import resource
    import ssl

    if bool(options.tls_cert) != bool(options.tls_key):
        raise ValueError("--tls-cert and --tls-key go together")
    tls = None
    if options.tls_cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a file for each connection
    return asyncio.run(_run(options, tls, _script(options.script) if options.script else None))


def _script(path: str) -> Script:
    """What browsers are to run, and the site that runs it, which is built if need be."""
    from importlib import import_module
    from pathlib import Path

    from tensorgl.distributed.pages import Script

    source = Path(path).read_text(encoding="utf-8")
    print("Preparing the page; the first time this fetches Pyodide.", file=sys.stderr)
    return Script(Path(path).name, source, import_module("tensorgl.wasm.site").cached())


async def _run(
    options: argparse.Namespace, tls: ssl.SSLContext | None, script: Script | None
) -> int:
    import asyncio

    from tensorgl.distributed.hub import Hub

    hub = Hub(options.directory, options.origin, script)
    url = await hub.start(options.host, options.port, tls, options.insecure)
    page = _page(url)
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: stopping.append(loop.create_task(hub.stop())))
    observer, worker = (_sign(options.directory, role, _LINK_S) for role in ("observer", "worker"))
    print(
        f"hub of run {hub.config.run}, round {hub.core.version}, at {url}; "
        f"watch: {page}/#token={observer}"
    )
    print(
        f"join: TENSORGL_HUB={url} TENSORGL_TOKEN=$(tensorgl hub token {options.directory}) "
        f"python {options.script or 'SCRIPT'}",
        flush=True,
    )
    if script:
        print(f"join in a browser: {page}/join#token={worker}", flush=True)
    await hub.wait()
    print(f"stopped after round {hub.core.version}")
    return 0


def _page(url: str) -> str:
    """The origin of the pages of a hub that listens at a ws:// address."""
    import socket

    name = socket.gethostname()
    for every in ("0.0.0.0", "[::]"):
        url = url.replace(f"//{every}:", f"//{name}:")
    return f"http{url.removeprefix('ws')}"


def _status(options: argparse.Namespace) -> int:
    import urllib.error
    import urllib.request

    url, token = options.place, os.environ.get("TENSORGL_TOKEN", "")
    if "://" not in url:
        from tensorgl.distributed.store import Store

        token = _sign(url, "observer", 60)
        told = Store.told(url)
        if not told:
            print(f"no hub runs on {url}")
            return 1
        url = told.split()[0]
    request = urllib.request.Request(
        f"http{url.removeprefix('ws')}/v1/status" if url.startswith("ws") else f"{url}/v1/status",
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.build_opener().open(request, timeout=_TIMEOUT) as answer:
            print(json.dumps(json.load(answer), indent=2))
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url}: {error.read().decode().strip() or error}") from None
    return 0
