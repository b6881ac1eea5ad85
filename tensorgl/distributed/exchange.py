"""The bytes of POST /v1/exchange, by which a member without a WebSocket sends frames and gets others.

    offset  size  field    little-endian
         0    16  session  that the hub's first answer named; zeros in the first request, which is HELLO
        16     4  number   of the request in its session, from 0 on: none counts twice
        20     4  wait     milliseconds that the hub may take until it has a frame to answer with
        24     4  last     1: the session ends with this request; else 0
        28        frames   at least one, each behind its length as 4 bytes

An answer is the session, 16 bytes that are zeros if the hub lets nobody in, and the frames that wait for
the member. All is in the body, as browsers ask a hub for leave before they send headers to it.

This module knows only bytes: standard library, no sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tensorgl.distributed.wire import ProtocolError

__all__ = ["HEAD", "LARGEST_BODY", "NOBODY", "PATH", "SESSION", "Head", "join", "split"]

PATH = "/v1/exchange"
SESSION = 16
NOBODY = bytes(SESSION)
LARGEST_BODY = 2 << 20
_FIELDS = struct.Struct(f"<{SESSION}sIII")
_LENGTH = struct.Struct("<I")
HEAD = _FIELDS.size


@dataclass(frozen=True, slots=True)
class Head:
    """How a request begins; `wait` is in seconds."""

    session: bytes
    number: int
    wait: float
    last: bool = False

    def encode(self) -> bytes:
        """Its bytes."""
        return _FIELDS.pack(self.session, self.number, round(1000 * self.wait), self.last)

    @staticmethod
    def decode(data: bytes) -> Head:
        """The head that some bytes are.

        Raises:
            ProtocolError: they are none.
        """
        if len(data) != HEAD:
            raise ProtocolError(f"a request begins with {HEAD} bytes, given {len(data)}")
        session, number, wait, last = _FIELDS.unpack(data)
        if last > 1:
            raise ProtocolError(f"last: expected 0 or 1, given {last}")
        return Head(session, number, wait / 1000, bool(last))


def join(frames: Iterable[bytes]) -> bytes:
    """Frames, each behind its length."""
    return b"".join(part for frame in frames for part in (_LENGTH.pack(len(frame)), frame))


def split(data: bytes) -> list[bytes]:
    """The frames that lie behind their lengths.

    Raises:
        ProtocolError: a length is cut off, or reaches beyond the end.
    """
    frames: list[bytes] = []
    at = 0
    while at < len(data):
        begin = at + _LENGTH.size
        if begin > len(data):
            raise ProtocolError("the length of a frame is cut off")
        at = begin + _LENGTH.unpack_from(data, begin - _LENGTH.size)[0]
        if at > len(data):
            raise ProtocolError("a frame reaches beyond the end")
        frames.append(data[begin:at])
    return frames
