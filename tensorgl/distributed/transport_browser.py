"""A member's connection to its hub in a browser's tab, where Python cannot hear while it computes.

How Python waits for an answer depends on the page and the browser; the first of these that they have:

    websocket+sab    it sleeps until there is something in memory that both share; for pages that are
                     cross-origin isolated, as those of `tensorgl run --browser` are
    websocket+jspi   the browser suspends it, and runs its event loop meanwhile
    xhr              it makes requests that wait for their answer: transport_polling.py

A WebSocket belongs to a worker of its own, wasm/sync.js, which says what passes between the two. Python
sends to it at any time, and it tells the hub that the member is there. With requests nothing travels while
Python computes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import js
from pyodide.ffi import JsException, can_run_sync, run_sync, to_js

from tensorgl.distributed.exchange import split
from tensorgl.distributed.transport_polling import PollingTransport

__all__ = ["BrowserTransport", "connect", "finish", "start"]

OPENING_S = 30.0
ANSWER_S = 60.0
"""How long the answer to a POST may take: what the hub waits with it, and what the line takes for 3 MiB."""
_MAILBOX = 4 << 20
_TICK_S = 0.05
"""How long Ctrl-C may go unheard: Python looks for it between its steps."""
_worker: Any = None
_polling: PollingTransport | None = None  # the last one


async def start() -> None:
    """Start the worker; it comes up only while Python leaves the tab's event loop alone."""
    global _worker
    if _worker is not None:
        return
    worker = js.Worker.new(js.URL.new("sync.js", js.location.href), _object(type="module"))
    started = asyncio.get_running_loop().create_future()
    worker.onmessage = lambda _: started.set_result(None)
    worker.onerror = lambda _: started.set_exception(
        ConnectionError("sync.js did not start: it has to lie beside the worker that runs Python")
    )
    worker.postMessage(_object(type="start"))
    try:
        await started
    finally:
        worker.onmessage = worker.onerror = None
    _worker = worker


def finish() -> None:
    """Close what a script left open; the worker would go on telling the hub that it is alive."""
    if _worker is not None:
        _post("close")
    if _polling is not None:
        _polling.close()


def connect(url: str, heartbeat: bytes, every: float) -> BrowserTransport | PollingTransport:
    """Connect to a hub.

    Args:
        url: of its socket, ws://… or wss://….
        heartbeat: the frame that is sent whenever nothing else was for a while.
        every: that while, in seconds.

    Raises:
        ConnectionError: that failed.
    """
    global _polling
    if _worker is None and can_run_sync():
        run_sync(start())
    if _worker is not None and (js.crossOriginIsolated or can_run_sync()):
        return BrowserTransport(url, heartbeat, every)
    _polling = PollingTransport(url, heartbeat, every, _request)
    return _polling


class BrowserTransport:
    """A connection; the worker has one at a time, so a new one ends that before it."""

    def __init__(self, url: str, heartbeat: bytes, every: float) -> None:
        self._answers = _Shared() if js.crossOriginIsolated else _Posted()
        self.name = self._answers.name
        parts = urlsplit(url)
        self._host = parts._replace(scheme=parts.scheme.replace("ws", "http"), path="").geturl()
        self._frames: deque[bytes] = deque()
        self._lost = ""
        where = {"shared": self._answers.memory, "port": self._answers.port}
        given = [where["port"]] if where["port"] else []
        _post("open", given, url=url, heartbeat=heartbeat, every=every, **where)
        try:
            opened = self._hear(OPENING_S)
        except ConnectionError as error:
            raise ConnectionError(
                f"no connection to {url}: {error}; is the hub there, does it allow the origin "
                f"{js.location.origin}, and the page's policy the hub?"
            ) from None
        if not opened:
            self.close()
            raise ConnectionError(f"no connection to {url}: no answer in {OPENING_S:.0f} s")

    def send(self, data: bytes) -> None:
        """Queue a frame.

        Raises:
            ConnectionError: the connection is lost.
        """
        if self._lost or self._answers.lost():
            raise ConnectionError(self._lost or "the connection ended")
        frame = to_js(data)
        _post("send", [frame.buffer], frame=frame)

    def receive(self, timeout: float | None) -> bytes | None:
        """The next frame; None if none came in so many seconds.

        Raises:
            ConnectionError: the connection is lost, and all that came was received.
        """
        if not self._frames:
            self._hear(timeout)
        return self._frames.popleft() if self._frames else None

    def fetch(self, path: str, headers: dict[str, str]) -> bytes:
        """What the hub has under a path.

        Raises:
            OSError: it could not be had.
        """
        return _request(self._host + path, headers, None)

    def close(self) -> None:
        """End the connection; what was sent goes out first."""
        if not self._lost:
            self._lost = "the connection was closed"
            _post("close")

    def _hear(self, timeout: float | None) -> bool:
        """Take an answer of the worker, and ask for the next; whether there was one."""
        if self._lost:
            raise ConnectionError(self._lost)
        answer = self._answers.wait(timeout)
        if answer is None:
            return False
        number, data = answer
        if number < 0:
            self._lost = f"the connection ended: {data.decode()}"
            raise ConnectionError(self._lost)
        _post("next")
        self._frames.extend(split(data))
        return True


class _Shared:
    """Answers in shared memory."""

    name = "websocket+sab"

    def __init__(self) -> None:
        self.memory = js.SharedArrayBuffer.new(_MAILBOX)
        self.port = None
        self._state = js.Int32Array.new(self.memory, 0, 2)
        self._room = js.Uint8Array.new(self.memory, 8)

    def wait(self, timeout: float | None) -> tuple[int, bytes] | None:
        end = None if timeout is None else time.monotonic() + timeout
        while not (number := js.Atomics.load(self._state, 0)):
            left = _TICK_S if end is None else min(_TICK_S, end - time.monotonic())
            if left <= 0:
                return None
            js.Atomics.wait(self._state, 0, 0, 1000 * left)
        data = self._room.subarray(0, abs(number) - 1).to_bytes()
        js.Atomics.store(self._state, 0, 0)
        return number, data

    def lost(self) -> bool:
        return bool(js.Atomics.load(self._state, 1))


class _Posted:
    """Answers as messages, for which the browser has to suspend Python."""

    name = "websocket+jspi"

    def __init__(self) -> None:
        channel = js.MessageChannel.new()
        self.memory, self.port = None, channel.port2
        self._came: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._own = channel.port1
        self._own.onmessage = self._hear

    def _hear(self, event: Any) -> None:
        number, data = event.data
        self._came.put_nowait((number, data.to_bytes()))

    def wait(self, timeout: float | None) -> tuple[int, bytes] | None:
        # Messages come while Python is suspended only, so 0 s would be too short for any.
        seconds = None if timeout is None else max(timeout, 0.001)
        try:
            return run_sync(asyncio.wait_for(self._came.get(), seconds))
        except TimeoutError:
            return None

    def lost(self) -> bool:
        return False  # `wait` tells


def _request(url: str, headers: dict[str, str], body: bytes | None) -> bytes:
    """What is at an address: by GET, or by POST of a body.

    Raises:
        OSError: it could not be had.
    """
    request = js.XMLHttpRequest.new()
    method = "GET" if body is None else "POST"
    request.open(method, url, False)
    request.responseType = "arraybuffer"
    request.timeout = 0 if body is None else 1000 * ANSWER_S  # 0: none
    for name, value in headers.items():
        request.setRequestHeader(name, value)
    with suppress(JsException):  # of which the status tells
        request.send(None if body is None else to_js(body))
    if request.status != 200:
        status = f"status {request.status}" if request.status else "nothing that it may read"
        raise OSError(f"{method} {url}: the page got {status}")
    return request.response.to_bytes()


def _post(kind: str, given: Sequence[Any] = (), **fields: Any) -> None:
    """Send the worker a message, and give it these objects."""
    _worker.postMessage(_object(type=kind, **fields), to_js(given))


def _object(**fields: Any) -> Any:
    return to_js(fields, dict_converter=js.Object.fromEntries)
