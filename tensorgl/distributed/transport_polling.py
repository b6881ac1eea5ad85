"""A member's connection to its hub where there is nothing but requests that wait for their answer.

So it is in a tab that can neither share memory nor suspend Python. Frames leave and come when Python
sends much, or receives; polling.py is the other end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import urlsplit

from tensorgl.distributed.exchange import NOBODY, PATH, SESSION, Head, join, split
from tensorgl.distributed.wire import ProtocolError

__all__ = ["PollingTransport", "Request"]

Request: TypeAlias = Callable[[str, dict[str, str], bytes | None], bytes]
"""What is at an address, asked with some headers: by GET, or by POST of a body, whose answer is not waited
for without end. Raises OSError: it could not be had."""

_ENOUGH = 256 << 10
"""Bytes that leave without anybody receiving; on a slow line, more would take longer than a lease."""
_LOOK_S = 0.05
"""How often the hub is asked by who does not want to wait."""


class PollingTransport:
    """A session at the hub.

    Args:
        url: of the hub's socket, ws://… or wss://…; beside it lies what is asked here.
        heartbeat: the frame that is sent where there is no other.
        every: how long a request may wait for frames, in seconds; the next one shows that this end is there.
        request: how requests are made.
    """

    name = "xhr"

    def __init__(self, url: str, heartbeat: bytes, every: float, request: Request) -> None:
        parts = urlsplit(url)
        self._host = parts._replace(scheme=parts.scheme.replace("ws", "http"), path="").geturl()
        self._heartbeat, self._every, self._request = heartbeat, every, request
        self._session, self._number = NOBODY, 0
        self._leaving: list[bytes] = []
        self._bytes = 0  # in it
        self._frames: deque[bytes] = deque()
        self._asked = time.monotonic()
        self._lost = ""

    def send(self, data: bytes) -> None:
        """Queue a frame. It leaves with the next request: now, if there is much or the last is long ago.

        Raises:
            ConnectionError: the connection is lost.
        """
        if self._lost:
            raise ConnectionError(self._lost)
        self._leaving.append(bytes(data))
        self._bytes += len(data)
        if self._bytes >= _ENOUGH or time.monotonic() - self._asked > self._every:
            self._exchange(0)

    def receive(self, timeout: float | None) -> bytes | None:
        """The next frame; None if none came in so many seconds.

        Raises:
            ConnectionError: the connection is lost, and all that came was received.
        """
        now = time.monotonic()
        if timeout == 0 and not self._frames and (self._leaving or now - self._asked > _LOOK_S):
            self._exchange(0)
        end = float("inf") if timeout is None else now + timeout
        while not self._frames and (left := end - time.monotonic()) > 0:
            self._exchange(min(left, self._every))
        return self._frames.popleft() if self._frames else None

    def fetch(self, path: str, headers: dict[str, str]) -> bytes:
        """What the hub has under a path.

        Raises:
            OSError: it could not be had.
        """
        return self._request(self._host + path, headers, None)

    def close(self) -> None:
        """End the connection; what was sent goes out first."""
        if not self._lost and self._session != NOBODY:
            with suppress(ConnectionError):
                self._exchange(0, last=True)
        self._lost = "the connection was closed"

    def _exchange(self, wait: float, last: bool = False) -> None:
        """Send what was queued, and take in what is there, for which the hub may wait some seconds."""
        if self._lost:
            raise ConnectionError(self._lost)
        head = Head(self._session, self._number, wait, last)
        body = head.encode() + join(self._leaving or [self._heartbeat])
        self._leaving, self._bytes = [], 0
        self._number += 1
        self._lost = "a request was interrupted"  # unless it ends well
        try:
            answer = self._request(self._host + PATH, {}, body)
            self._frames.extend(split(answer[SESSION:]))
        except (OSError, ProtocolError) as error:
            self._lost = f"the connection ended: {error}"
            raise ConnectionError(self._lost) from None
        self._session = answer[:SESSION]
        self._asked = time.monotonic()
        self._lost = ""
