"""What stands between a worker and the hub of a chaos run: connections through it can fall silent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

__all__ = ["Proxy"]

_RECORDED = 64 << 10
"""Bytes at the beginning of what a member sends on a connection."""
_ROOM = 4096
"""Bytes that a system keeps of what the hub sends, once nobody takes it: few, so that the hub notices."""


class Proxy:
    """Listens on a port of its own, and connects to the hub's for each connection that comes.

    Attributes:
        port: where it listens.
        recorded: what was sent to the hub on each connection, the beginning of it.
    """

    def __init__(self, hub_port: int) -> None:
        self._hub_port = hub_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.recorded: list[bytearray] = []
        self._links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self, both: bool) -> bool:
        """From now on, nothing that the hub sends on a connection of now is taken; whether there is one.

        Args:
            both: what the member sends goes nowhere, too.
        """
        links = [link for link in self._links if link.open]
        for link in links:
            link.silent_down, link.silent_up = True, both
        return bool(links)

    def close(self) -> None:
        """End all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                member, _ = self._listener.accept()
                hub = socket.socket()
                hub.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
                try:
                    hub.connect(("127.0.0.1", self._hub_port))
                except OSError:
                    hub.close()
                    member.close()
                    continue
                recorded = bytearray()
                self.recorded.append(recorded)
                self._links.append(_Link(member, hub, recorded))


class _Link:
    """A connection, with a thread for each direction."""

    def __init__(self, member: socket.socket, hub: socket.socket, recorded: bytearray) -> None:
        self._member, self._hub, self._recorded = member, hub, recorded
        self.silent_up = self.silent_down = False
        self.open = True
        for work in (self._up, self._down):
            threading.Thread(target=work, daemon=True).start()

    def _up(self) -> None:
        with suppress(OSError):
            while data := self._member.recv(1 << 16):
                if self.silent_up:
                    return
                self._recorded += data[: max(0, _RECORDED - len(self._recorded))]
                self._hub.sendall(data)
        self._end()

    def _down(self) -> None:
        with suppress(OSError):
            while data := self._hub.recv(1 << 16):
                if self.silent_down:
                    return
                self._member.sendall(data)
        if not self.silent_down:
            self._end()

    def _end(self) -> None:
        """Neither side is told more than it would be without this proxy between them."""
        self.open = False
        for end in (self._member, self._hub):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._end()
        self._member.close()
        self._hub.close()
