"""What a member needs of a connection to its hub; transport_native.py and transport_browser.py have it.

All of it is called from one thread, and waits. While nobody calls, a connection still receives, and
sends a heartbeat when nothing else was sent for a while; but not that of transport_polling.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol, TypeAlias

__all__ = ["Connect", "Transport", "connect"]


class Transport(Protocol):
    """A connection that is open, or was."""

    name: str
    """For the log."""

    def send(self, data: bytes) -> None:
        """Queue a frame, and return.

        Raises:
            ConnectionError: the connection is lost.
        """
        ...

    def receive(self, timeout: float | None) -> bytes | None:
        """The next frame; None if none came in so many seconds. 0: only what is there.

        Raises:
            ConnectionError: the connection is lost, and all that came was received.
        """
        ...

    def fetch(self, path: str, headers: dict[str, str]) -> bytes:
        """What the hub has under a path.

        Raises:
            OSError: it could not be had.
        """
        ...

    def close(self) -> None:
        """End the connection; what was sent goes out first."""
        ...


Connect: TypeAlias = Callable[[str, bytes, float], Transport]
"""Of the address of a socket, the frame of a heartbeat, and seconds between two of them."""


def connect(url: str, heartbeat: bytes, every: float) -> Transport:
    """Connect to a hub, as this platform does.

    Raises:
        ConnectionError: that failed.
    """
    if sys.platform == "emscripten":
        from tensorgl.distributed.transport_browser import connect as browser  # needs a browser

        return browser(url, heartbeat, every)
    from tensorgl.distributed.transport_native import connect as native  # needs aiohttp

    return native(url, heartbeat, every)
