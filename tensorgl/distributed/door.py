"""The hub's door: how many connections there are, of whom, and how long one may say nothing.

Connections are counted as they are accepted, before TLS and HTTP: strangers that send nothing cannot use
up the files that the process may open, which members and what the hub writes need. Standard library only.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tensorgl.distributed.metrics import Metrics

__all__ = ["Door"]

_PATIENCE = 5.0  # seconds for a whole request's head, TLS included
_STRANGERS = 32  # connections of one address on which none came yet
_SHARE = 0.75  # of the files that the process may open
_MOST = 100_000  # where it may open any number


@dataclass(slots=True)
class _Guest:
    socket: socket.socket
    address: str
    since: float
    member: bool = False  # what was asked last is a member's

    @property
    def open(self) -> bool:
        return self.socket.fileno() >= 0


class Door:
    """Lets connections in.

    A connection that no request comes on is closed after 5 seconds; an address has 32 such at most. When
    as many connections are open as there may be, the oldest that is no member's is closed for a new one.
    """

    def __init__(self, metrics: Metrics) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = _MOST if files == resource.RLIM_INFINITY else min(_MOST, int(_SHARE * files))
        self._metrics = metrics
        # By file descriptor, the oldest first; some may be closed.
        self._guests: dict[int, _Guest] = {}
        self._silent: dict[int, _Guest] = {}  # those on which no request came yet

    async def listen(self, host: str, port: int) -> list[socket.socket]:
        """Sockets that listen at all addresses of a host, for asyncio to accept from.

        Raises:
            OSError: an address is taken, or not of this machine.
        """
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listeners: list[socket.socket] = []
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                bound = socket.create_server(address, family=family)  # type: ignore[arg-type]
                listeners.append(_Listener(self, bound.detach()))
        except OSError:
            for listener in listeners:
                listener.close()
            raise
        return listeners

    def asked(self, transport: asyncio.Transport | None, member: bool = False) -> None:
        """A request's head came on a connection, which is a member's or not until this is called again."""
        number = _number(transport) if transport else -1
        if guest := self._guests.get(number):
            guest.member = member
            self._silent.pop(number, None)

    def sweep(self) -> None:
        """Close connections on which no request came in time."""
        late = time.monotonic() - _PATIENCE
        self._silent = _open(self._silent)
        for guest in self._silent.values():
            if guest.since < late:
                _end(guest)

    def close(self) -> None:
        """End all connections that are left, as one that asyncio accepts just when its server ends."""
        for guest in self._guests.values():
            _end(guest)
        self._guests.clear()
        self._silent.clear()

    def admit(self, connection: socket.socket, address: str) -> bool:
        """Whether a connection that was accepted may stay."""
        number = connection.fileno()
        for guests in (self._guests, self._silent):
            guests.pop(number, None)  # closed, as its number is another's now
        silent = sum(guest.address == address and guest.open for guest in self._silent.values())
        if silent >= _STRANGERS or not self._has_room():
            self._metrics.add("refused_total", label="crowd")
            return False
        self._guests[number] = self._silent[number] = _Guest(connection, address, time.monotonic())
        return True

    def _has_room(self) -> bool:
        """Whether there may be one more connection, one being closed for it if need be."""
        if len(self._guests) < self._most:
            return True
        self._guests = _open(self._guests)
        if len(self._guests) < self._most:
            return True
        for number, guest in self._guests.items():
            if not guest.member:
                self._metrics.add("dropped_total", label="crowd")
                _end(guest)
                del self._guests[number]
                return True
        return False


class _Listener(socket.socket):
    """A socket that listens, of which asyncio hears only what the door lets in."""

    def __init__(self, door: Door, number: int) -> None:
        super().__init__(fileno=number)
        self._door = door
        self._turn = False

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            BlockingIOError: there is none, or others are to be closed first, and asyncio comes again.
        """
        self._turn = not self._turn
        if not self._turn:
            raise BlockingIOError
        try:
            connection, address = super().accept()
            while not self._door.admit(connection, str(address[0])):
                connection.close()
                connection, address = super().accept()
        except BaseException:
            self._turn = False
            raise
        return connection, address


def _number(transport: asyncio.Transport) -> int:
    found = transport.get_extra_info("socket")
    return found.fileno() if found else -1


def _open(guests: dict[int, _Guest]) -> dict[int, _Guest]:
    return {number: guest for number, guest in guests.items() if guest.open}


def _end(guest: _Guest) -> None:
    """Let its transport see that a connection is at its end, whatever that does."""
    with suppress(OSError):
        guest.socket.shutdown(socket.SHUT_RDWR)
