"""A member's connection to its hub outside of browsers: a thread with an event loop, and aiohttp."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

try:
    import aiohttp
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "training together needs aiohttp: pip install 'tensorgl[distributed]'"
    ) from error

from tensorgl.distributed.wire import HEADER, LARGEST_PAYLOAD

__all__ = ["NativeTransport", "connect"]

OPENING_S = 30.0
CLOSING_S = 5.0
_SILENT_S = 120.0
"""How long a download may stand still."""
_LOOK_S = 0.5
_ROOM = 256 << 20
"""Bytes that may wait for Python. Beyond that the socket is not read, and the hub sees who is slow."""


def connect(url: str, heartbeat: bytes, every: float) -> NativeTransport:
    """Connect to a hub.

    Args:
        url: of its socket, ws://… or wss://….
        heartbeat: the frame that is sent whenever nothing else was for a while.
        every: that while, in seconds.

    Raises:
        ConnectionError: that failed.
    """
    return NativeTransport(url, heartbeat, every)


class NativeTransport:
    """A connection, with a thread of its own that ends with it."""

    name = "native"

    def __init__(self, url: str, heartbeat: bytes, every: float) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host = parts._replace(scheme=parts.scheme.replace("ws", "http"), path="").geturl()
        self._heartbeat, self._every = heartbeat, every
        self._came: deque[bytes] = deque()
        self._waiting = 0  # bytes in it
        self._changed = threading.Condition()
        self._lost = ""
        self._sent = 0  # frames
        self._leaving: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the end
        self._room = asyncio.Event()
        self._loop: Any = None
        self._session: Any = None
        self._main: Any = None
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._live, args=[opened], name="tensorgl-hub", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._thread.join()
            raise ConnectionError(
                f"no connection to {url}: {error or type(error).__name__}"
            ) from None

    def send(self, data: bytes) -> None:
        """Queue a frame, and return.

        Raises:
            ConnectionError: the connection is lost.
        """
        if self._lost:
            raise ConnectionError(self._lost)
        self._tell(self._leaving.put_nowait, data)

    def receive(self, timeout: float | None) -> bytes | None:
        """The next frame; None if none came in so many seconds. 0: only what is there.

        Raises:
            ConnectionError: the connection is lost, and all that came was received.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._came or self._lost, timeout)
            if not self._came:
                if self._lost:
                    raise ConnectionError(self._lost)
                return None
            data = self._came.popleft()
            self._waiting -= len(data)
            has_room = self._waiting < _ROOM <= self._waiting + len(data)
        if has_room:
            self._tell(self._room.set)
        return data

    def fetch(self, path: str, headers: dict[str, str]) -> bytes:
        """What the hub has under a path.

        Raises:
            OSError: it could not be had.
        """
        if self._lost:
            raise ConnectionError(self._lost)
        answer: Future[bytes] = Future()
        self._tell(lambda: asyncio.ensure_future(self._get(path, headers, answer)))
        while not answer.done() and self._thread.is_alive():
            wait([answer], _LOOK_S)
        if not answer.done():
            raise ConnectionError(self._lost)
        try:
            return answer.result()
        except asyncio.CancelledError:  # as the thread ends
            raise ConnectionError(self._lost) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"GET {self._host}{path}: {error or type(error).__name__}") from None

    def close(self) -> None:
        """End the connection; what was sent goes out first."""
        self._tell(self._leaving.put_nowait, None)
        self._thread.join(CLOSING_S)
        if self._thread.is_alive():  # the hub does not read
            self._tell(self._main.cancel)
            self._thread.join()

    def _tell(self, function: Callable[..., Any], *args: Any) -> None:
        """Have the thread call a function, unless it has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def _live(self, opened: Future[None]) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._run(opened))

    async def _get(self, path: str, headers: dict[str, str], answer: Future[bytes]) -> None:
        try:
            async with self._session.get(self._host + path, headers=headers) as response:
                response.raise_for_status()
                answer.set_result(await response.read())
        except BaseException as error:
            answer.set_exception(error)

    async def _run(self, opened: Future[None]) -> None:
        """What the thread does: tasks that read and write; when one ends, all does."""
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPENING_S, sock_read=_SILENT_S)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            try:
                socket = await asyncio.wait_for(
                    self._session.ws_connect(
                        self._url, compress=0, max_msg_size=HEADER + LARGEST_PAYLOAD + 1
                    ),
                    OPENING_S,
                )
            except BaseException as error:
                opened.set_exception(error)
                return
            opened.set_result(None)
            tasks = [asyncio.create_task(f(socket)) for f in (self._read, self._write, self._beat)]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                with suppress(TimeoutError, aiohttp.ClientError, OSError):
                    await asyncio.wait_for(socket.close(), CLOSING_S)
            finally:
                for task in tasks:
                    task.cancel()
                errors = await asyncio.gather(*tasks, return_exceptions=True)
                self._end(next((str(e) for e in errors if isinstance(e, Exception)), ""))

    async def _read(self, socket: Any) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                return
            with self._changed:
                self._came.append(message.data)
                self._waiting += len(message.data)
                self._changed.notify()
            while self._waiting >= _ROOM:
                self._room.clear()
                if self._waiting >= _ROOM:
                    await self._room.wait()

    async def _write(self, socket: Any) -> None:
        while (data := await self._leaving.get()) is not None:
            await socket.send_bytes(data)
            self._sent += 1

    async def _beat(self, socket: Any) -> None:
        while True:
            before = self._sent
            await asyncio.sleep(self._every)
            if self._sent == before:
                self._leaving.put_nowait(self._heartbeat)

    def _end(self, why: str) -> None:
        """Tell whoever calls that there is nothing more to come."""
        with self._changed:
            self._lost = f"the connection was lost: {why}" if why else "the connection was lost"
            self._changed.notify()
