"""One member's connection at the hub: a bounded queue of what is to be sent, and limits of what comes.

It knows frames as bytes, and nothing of what they say.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from tensorgl.distributed.faults import fail_point
from tensorgl.distributed.messages import pack
from tensorgl.distributed.metrics import Metrics
from tensorgl.distributed.wire import Kind

__all__ = ["Connection", "Pipe"]

_KIND = 5  # a frame's byte that says its kind
_FRAMES, _BYTES = 5000.0, 512e6
"""A second, of one member; twice that at once. Far above what training does, and below a flood."""
_PULL = 500
"""Frames' worth: all parameters are copied, and a round's results computed again."""


class Pipe(Protocol):
    """How frames come and go: a WebSocket, or requests of HTTP."""

    async def receive(self) -> bytes | None:
        """The next frame; None at the end.

        Raises:
            ProtocolError: what came is no frame.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Send a frame; returns when another one may follow.

        Raises:
            ConnectionError: the other end is gone.
        """
        ...

    async def close(self) -> None:
        """End; what was sent still arrives, if the other end takes it soon."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...


class Connection:
    """A connection whose member is known.

    Attributes:
        number: the core's Session.
        member: its name.
        key: its resume key.
        agent: what it says of itself.
        address: where it connects from.
        defines: seq and value of the model that it defined, if it did.
        said: the numbers that came with its last contribution.
    """

    def __init__(
        self,
        pipe: Pipe,
        number: int,
        member: str,
        key: str,
        agent: str,
        address: str,
        metrics: Metrics,
    ) -> None:
        self.number, self.member, self.key = number, member, key
        self.agent, self.address = agent, address
        self.defines: tuple[int, dict[str, object]] | None = None
        self.said: dict[str, float] = {}
        self.queued = 0  # bytes
        self.closed = False
        self._pipe, self._metrics = pipe, metrics
        self._download: asyncio.Transport | None = None
        self._queue: deque[bytes | None] = deque()  # None: close
        self._filled = asyncio.Event()
        self._sent = time.monotonic()
        self._frames = _Allowance(_FRAMES)
        self._bytes = _Allowance(_BYTES)

    def send(self, data: bytes, most: int) -> None:
        """Queue a frame; the connection is dropped if more than `most` bytes would wait."""
        if self.closed:
            return
        if self.queued + len(data) > most:
            self.drop("slow")
            return
        self._queue.append(data)
        self.queued += len(data)
        self._filled.set()

    def finish(self, reason: str) -> None:
        """Send what is queued, and why it ends if there is a reason; then close."""
        if not self.closed:
            self._metrics.add("dropped_total", label="told" if reason else "left")
            if reason:
                self._queue.append(pack(Kind.ERROR, reason=_plain(reason)))
            self._queue.append(None)
            self._filled.set()
            self.closed = True

    def drop(self, why: str) -> None:
        """Close at once; what is queued is lost."""
        if not self.closed:
            self._metrics.add("dropped_total", label=why)
        self.closed = True
        self._queue.clear()
        self._queue.append(None)
        self._filled.set()
        self._pipe.abort()

    async def throttle(self, data: bytes) -> None:
        """Wait as long as it takes until a frame like this may come; the sender then waits too."""
        self._metrics.add("frames_total", label="in")
        self._metrics.add("bytes_total", len(data), label="in")
        cost = _PULL if data[_KIND : _KIND + 1] == bytes([Kind.PULL]) else 1
        wait = max(self._frames.take(cost), self._bytes.take(len(data)))
        if wait > 0:
            await asyncio.sleep(wait)

    async def write(self, patience: float) -> None:
        """Send what is queued, until it is closed; who takes no frame for so many seconds is dropped."""
        try:
            while True:
                while not self._queue:
                    self._filled.clear()
                    await self._filled.wait()
                data = self._queue.popleft()
                if data is None:
                    break
                async with asyncio.timeout(patience):
                    await self._pipe.send(data)
                self.queued -= len(data)
                self._sent = time.monotonic()
                self._metrics.add("frames_total", label="out")
                self._metrics.add("bytes_total", len(data), label="out")
                if data[_KIND] in (Kind.RESULT, Kind.CLOSED):
                    fail_point("mid-broadcast")
            await self._pipe.close()
        except TimeoutError:
            self.drop("slow")
        except ConnectionError:
            self.drop("lost")

    @contextmanager
    def downloading(self, transport: asyncio.Transport) -> Generator[None]:
        """While parameters are fetched on a connection of HTTP; what was fetched before breaks off."""
        self.break_off()
        self._download = transport
        try:
            yield
        finally:
            if self._download is transport:
                self._download = None

    def break_off(self) -> None:
        """End the download, if there is one."""
        if self._download:
            self._download.abort()

    def beat(self, every: float) -> None:
        """Send a heartbeat, if nothing was sent for so long and nothing waits."""
        if not self._queue and time.monotonic() - self._sent >= every:
            self.send(pack(Kind.HEARTBEAT), 1 << 10)


class _Allowance:
    """So much a second, and what was not used in the second before."""

    def __init__(self, rate: float) -> None:
        self._rate, self._left, self._then = rate, 2 * rate, time.monotonic()

    def take(self, amount: float) -> float:
        """Use some; how many seconds to wait until it was allowed."""
        now = time.monotonic()
        self._left = min(2 * self._rate, self._left + (now - self._then) * self._rate) - amount
        self._then = now
        return max(0.0, -self._left / self._rate)


def _plain(reason: str) -> str:
    """A reason as a message can hold it."""
    return reason.encode("ascii", "replace").decode()[:200].replace("\n", " ")
