"""`tensorgl run --browser`: a script of this machine, run in a browser as python would run it here.

A server on the loopback interface gives the browser the page run.html and, under a path that nobody
can guess, a socket for what goes in and out (run.js says what) and the folders of the script.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from tensorgl.backends.glsl import findings

from . import browsers, server
from .folders import MAX_BYTES, Folders
from .site import cached
from .vendor import PYTHON

__all__ = ["run"]

TICK_S = 0.5
OPENING_TICKS = 120
"""How long a browser may take to open the page."""
LOADING_TICKS = 240
"""How long a stage of starting Python in the tab may take."""
SILENT_TICKS = 60
"""How long a tab may leave a question unanswered. Its page answers while the script computes."""
PROMPT_TICKS = 4
"""The same, when somebody presses Ctrl-C."""

_OWN_FOLDERS = ("/dev", "/home/pyodide", f"/lib/python{PYTHON}", "/proc")
_KEPT_BACK = ("PATH", "HOME", "PWD", "OLDPWD", "SHELL", "TMPDIR", "TEMP", "TMP", "LANG", "LANGUAGE")
_KEPT_BACK_PREFIXES = ("PYTHON", "LD_", "DYLD_", "LC_", "MPL")
_PYTHON = ("PYTHONHASHSEED", "PYTHONWARNINGS")


def run(
    script: str,
    args: Sequence[str],
    *,
    as_torch: bool = False,
    name: str = "chromium",
    headed: bool = False,
    browser_args: Sequence[str] = (),
) -> int:
    """Run a script in a browser; its exit code.

    Args:
        script: path of the script.
        args: its arguments.
        as_torch: let `import torch` give tensorgl.
        name: "chromium" or "firefox".
        headed: show the browser's window.
        browser_args: more arguments for the browser.
    """
    try:
        with open(script, "rb"):
            pass
    except OSError as error:
        _say(f"can't open file '{script}': {error.strerror}")
        return 2
    try:
        roots = _roots(script)
        browsers.find(name)  # before a site is built for it
        site = cached()
    except (OSError, RuntimeError) as error:
        _say(error)
        return 1
    session = _Session(
        {
            "type": "start",
            "path": script,
            "args": list(args),
            "asTorch": as_torch,
            "env": _environment(),
            "terminal": {s: getattr(sys, s).isatty() for s in ("stdin", "stdout", "stderr")},
            "files": {"roots": roots, "cwd": os.getcwd(), "maxBytes": MAX_BYTES},
        }
    )
    try:
        return asyncio.run(_serve(session, site, roots, name, headed, browser_args))
    except browsers.BrowserError as error:
        _say(error)
        return 1


async def _serve(
    session: _Session,
    site: Path,
    roots: Sequence[str],
    name: str,
    headed: bool,
    browser_args: Sequence[str],
) -> int:
    session.begin()
    token = secrets.token_urlsafe(32)
    async with server.serving(_application(site, token, session, roots)) as url:
        # After "#" it is the page's alone to know: a browser sends it to nobody.
        page = f"{url}run.html#{token}"
        with browsers.launch(name, page, headed=headed, args=browser_args) as browser:
            return await session.watch(browser)


def _application(
    site: Path, token: str, session: _Session, roots: Sequence[str]
) -> web.Application:
    private = web.Application(middlewares=[_own_page_only])
    private.router.add_get("/socket", session.socket)
    private.router.add_post("/files/{operation}", Folders(roots).answer)
    app = server.application(site, _hub())
    app.add_subapp(f"/{token}", private)
    return app


@web.middleware
async def _own_page_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse what other pages ask, also those that had a name changed to our address."""
    assert request.transport
    host, port = request.transport.get_extra_info("sockname")[:2]
    if request.host != f"{host}:{port}" or request.headers.get("Origin") != f"http://{host}:{port}":
        raise web.HTTPForbidden
    return await handler(request)


class _Session:
    """One run: what the page says, and what it does not say in time."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._start = start
        self._page: web.WebSocketResponse | None = None
        self._ready = False
        self._interrupted = False
        self._silent = 0  # ticks since the page last said anything
        self._waiting = 0  # ticks since the start last got on
        self._reading = False

    def begin(self) -> None:
        """Take over signals; there must be a loop."""
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._end, 128 + number)

    def _end(self, code: int, message: str = "") -> None:
        if not self._outcome.done():
            if message:
                _say(message)
            self._outcome.set_result(code)

    def _interrupt(self) -> None:
        """Ctrl-C is for the script; one that it does not see, or the page, ends the browser."""
        self._interrupted = True
        if self._ready and self._silent < PROMPT_TICKS:
            self._send({"type": "interrupt"})
        else:
            self._end(130)

    def _send(self, message: dict[str, Any] | bytes) -> None:
        page = self._page
        if page is None or page.closed:
            return
        send = page.send_bytes(message) if isinstance(message, bytes) else page.send_json(message)
        task = self._loop.create_task(send)
        # A page that is gone is noticed where its messages are read.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def watch(self, browser: browsers.Browser) -> int:
        """Wait for the end, or for one of the things that should not happen; the exit code."""
        closed = False
        while True:
            try:
                return await asyncio.wait_for(asyncio.shield(self._outcome), TICK_S)
            except TimeoutError:
                pass
            # A blocked terminal holds up this loop and so its ticks: they are not the tab's.
            self._silent += 1
            self._waiting += 1
            if browser.ended():
                self._end(1, f"the browser was closed or crashed\n{browser.said()}".rstrip())
            elif self._page is None:
                if self._waiting > OPENING_TICKS:
                    seconds = OPENING_TICKS * TICK_S
                    said = browser.said()
                    self._end(1, f"the browser did not open the page in {seconds:.0f} s\n{said}")
            elif self._page.closed and closed:
                self._end(1, "the tab crashed, or was closed or reloaded")
            elif not self._ready and self._waiting > LOADING_TICKS:
                seconds = LOADING_TICKS * TICK_S
                self._end(1, f"Python did not start in the tab: no progress in {seconds:.0f} s")
            elif self._silent > SILENT_TICKS:
                self._end(1, f"the tab hangs: no answer in {SILENT_TICKS * TICK_S:.0f} s")
            else:
                self._send({"type": "ping"})
            # Look again: a browser that ends closes its page first.
            closed = self._page is not None and self._page.closed

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Talk with the page; there is one."""
        if self._page is not None:
            raise web.HTTPConflict
        self._page = page = web.WebSocketResponse(max_msg_size=MAX_BYTES)
        await page.prepare(request)
        self._waiting = 0
        self._send(self._start)
        async for message in page:
            self._silent = 0
            if message.type == WSMsgType.BINARY:
                self._print(message.data)
            elif message.type == WSMsgType.TEXT:
                self._hear(json.loads(message.data))
        return page

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "progress":
            self._waiting = 0
        elif kind == "ready":
            self._ready = True
        elif kind == "input":
            if not self._reading:
                self._reading = True
                threading.Thread(target=self._read, args=(message["room"],), daemon=True).start()
        elif kind == "exit":
            self._end(message["code"])
        elif kind == "failed":
            if self._interrupted:
                self._end(130)
            else:
                self._end(1, f"the tab failed: {message['message']}")

    def _print(self, data: bytes) -> None:
        """Write what the script printed where it printed it."""
        rest = memoryview(data)[1:]
        try:
            while rest:
                rest = rest[os.write(data[0], rest) :]
        except OSError as error:
            self._end(1, f"output: {error.strerror}")

    def _read(self, room: int) -> None:
        """Read some input; in a thread, as it may take for ever."""
        try:
            data = os.read(sys.stdin.fileno(), room)
        except OSError:
            data = b""
        self._reading = False
        self._loop.call_soon_threadsafe(self._send, data)


def _roots(script: str) -> list[str]:
    """The folders that the tab gets: the script's, the current one, and that of what was tuned.

    Raises:
        RuntimeError: the tab has a folder of its own where the script's would be.
    """
    folders = [os.path.dirname(os.path.abspath(script)), os.getcwd(), _tuned()]
    if not _free(folders[0]):
        raise RuntimeError(
            f"the tab has a folder {folders[0]} of its own: move the script to another"
        )
    folders = [f for f in folders if _free(f)]
    return sorted({f for f in folders if not any(f != g and _within(f, g) for g in folders)})


def _tuned() -> str:
    """The folder of what `tensorgl bench tune` found for this machine's devices."""
    folder = findings.path().parent
    folder.mkdir(parents=True, exist_ok=True)
    return os.path.abspath(folder)


def _free(folder: str) -> bool:
    return folder != "/" and not any(
        _within(folder, own) or _within(own, folder) for own in _OWN_FOLDERS
    )


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _hub() -> list[str]:
    """The origins of the hub that the script is to connect to; none where that is no hub of a network."""
    url = os.environ.get("TENSORGL_HUB", "")
    found = re.match(r"(?:ws|http)(s?)://([\w.-]+(?::\d+)?)(?:/|$)", url, re.ASCII)
    return [f"{scheme}{found[1]}://{found[2]}" for scheme in ("ws", "http")] if found else []


def _environment() -> dict[str, str]:
    """Our environment, without what describes this machine's own programs and folders."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in _PYTHON or not (key in _KEPT_BACK or key.startswith(_KEPT_BACK_PREFIXES))
    }
    tuned = os.path.abspath(findings.path())
    return kept | {"MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1", "TENSORGL_TUNING": tuned}


def _say(message: object) -> None:
    print(f"tensorgl: {message}", file=sys.stderr)
