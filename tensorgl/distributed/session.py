"""A member's conversation with its hub, over connections that may break.

A connection that is lost is made again, by the same name, after pauses that grow. This module knows
how to get in and to stay in; what is said meanwhile is its user's affair, and is said again by it.
"""

from __future__ import annotations

import logging
import platform
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from tensorgl.distributed.faults import fail_point
from tensorgl.distributed.messages import pack, parse
from tensorgl.distributed.transport import Connect, Transport
from tensorgl.distributed.wire import DATA, Frame, Kind, ProtocolError, decode

__all__ = ["Fields", "HubError", "Session"]

Fields: TypeAlias = dict[str, Any]

HEARTBEAT_S = 2.0
PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_logger = logging.getLogger("tensorgl.distributed")


class HubError(RuntimeError):
    """The hub refuses what this member does, and would do so again."""


class Session:
    """What outlives connections.

    Args:
        url: of the hub's socket.
        token: that lets in.
        connect: makes connections.
        timeout: seconds that anything may be waited for.
        welcome: is given the fields of WELCOME, on each new connection.
        handle: is given each frame that comes after it, with its fields if it is a message.
    """

    def __init__(
        self,
        url: str,
        token: str,
        connect: Connect,
        timeout: float,
        welcome: Callable[[Fields], None],
        handle: Callable[[Frame, Fields], None],
    ) -> None:
        self.url, self.timeout = url, timeout
        self._token, self._connect = token, connect
        self._welcome, self._handle = welcome, handle
        self._member = self._resume = ""
        self._lease = 30.0
        self._heard = 0.0
        self._reason = self._last_reason = ""  # of ERROR, on this connection and the one before
        self._transport: Transport

    @property
    def transport(self) -> str:
        """The name of the kind of connection."""
        return self._transport.name

    def open(self) -> None:
        """Get in.

        Raises:
            HubError: the hub does not let this member in.
            ConnectionError: there is no hub.
        """
        deadline, pause = time.monotonic() + self.timeout, PAUSE_S
        while True:
            try:
                self._transport, fields = self._reach()
                fail_point("after-welcome")
                break
            except ConnectionError as error:
                if time.monotonic() > deadline:
                    raise ConnectionError(f"no hub for {self.timeout:g} s: {error}") from None
                _logger.warning("%s; trying again", error)
            # All members lose a hub at once; chance spreads their return.
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._resume, self._lease = fields["resume"], fields["lease"]
        self._reason = ""
        self._heard = time.monotonic()
        self._welcome(fields)

    def send(self, data: bytes) -> None:
        """Send a frame, or lose it with the connection."""
        with suppress(ConnectionError):  # who receives comes to know
            self._transport.send(data)

    def fetch(self, path: str) -> bytes:
        """What the hub has for members under a path.

        Raises:
            OSError: it could not be had. A pause was made, so that the hub may be asked again.
        """
        try:
            return self._transport.fetch(path, {"Authorization": f"Bearer {self._resume}"})
        except OSError:
            time.sleep(random.uniform(0, PAUSE_S))
            raise

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Hear all that has come, and go on until something is the case.

        Raises:
            TimeoutError: it was not for too long.
            HubError: the hub refuses what this member does.
        """
        deadline = time.monotonic() + self.timeout
        while self._hear(0):
            pass
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self.url}: waited {self.timeout:g} s for {what}")
            self._hear(min(left, self._lease))

    def goes_well(self) -> None:
        """The hub does what it was asked for; earlier trouble is over."""
        self._last_reason = ""

    def close(self) -> None:
        """Leave."""
        self.send(pack(Kind.BYE))
        self._transport.close()

    def _reach(self) -> tuple[Transport, Fields]:
        """A connection on which the hub has said WELCOME, and its fields."""
        transport = self._connect(self.url, pack(Kind.HEARTBEAT), HEARTBEAT_S)
        try:
            return transport, self._greet(transport)
        except BaseException:
            transport.close()
            raise

    def _greet(self, transport: Transport) -> Fields:
        if not self._resume:  # an earlier WELCOME may be lost, and the name with it
            self._member = secrets.token_hex(16)
        agent = f"tensorgl {transport.name} {platform.system()} {platform.machine()}"[:200]
        transport.send(
            pack(
                Kind.HELLO, token=self._token, member=self._member, resume=self._resume, agent=agent
            )
        )  # fmt: skip
        data = transport.receive(self._lease)
        if data is None:
            raise ConnectionError(f"{self.url}: the hub did not answer")
        try:
            frame = decode(data)
            fields = parse(frame)
        except ProtocolError as error:
            raise ConnectionError(f"{self.url}: {error}") from None
        if frame.kind is Kind.ERROR:
            kind = ConnectionError if _passes(fields["reason"]) else HubError
            raise kind(f"{self.url}: {fields['reason']}")
        if frame.kind is not Kind.WELCOME:
            raise ConnectionError(f"{self.url}: expected WELCOME, given {frame.kind.name}")
        return fields

    def _hear(self, timeout: float) -> bool:
        """Take one frame in; whether there was one, or another connection had to be made."""
        try:
            data = self._transport.receive(timeout)
            if data is None:
                # A hub sends heartbeats; the socket of one that is no more may stay open for long.
                if timeout and time.monotonic() - self._heard > self._lease:
                    raise ConnectionError(f"{self.url}: nothing was heard for {self._lease:g} s")
                return False
            self._heard = time.monotonic()
            frame = decode(data)
            fields = {} if frame.kind > DATA else parse(frame)
            if frame.kind is Kind.ERROR:
                self._reason = fields["reason"]
            else:
                self._handle(frame, fields)
        except (ConnectionError, ProtocolError) as error:
            self._again(error)
        return True

    def _again(self, error: Exception) -> None:
        """Connect again. If that ends for the same reason as before, so would the next connection."""
        reason = self._reason
        if reason and reason == self._last_reason and not _passes(reason):
            raise HubError(f"{self.url}: {reason}")
        self._last_reason = reason
        _logger.warning("%s; connecting again", reason or error)
        self._transport.close()
        if reason:  # there is a hub, and it has had enough for now
            time.sleep(random.uniform(PAUSE_S / 2, PAUSE_S))
        self.open()


def _passes(reason: str) -> bool:
    """Whether what the hub refuses now it may not refuse later."""
    return "try again" in reason or reason.startswith("silent")
