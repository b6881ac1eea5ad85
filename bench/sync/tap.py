"""Connections of a chaos run's workers: they note what is contributed, and tamper with it when told to."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, ClassVar

from tensorgl.distributed.messages import parse
from tensorgl.distributed.transport import Transport
from tensorgl.distributed.transport_native import connect
from tensorgl.distributed.wire import Frame, Kind, decode

__all__ = ["Entry", "Tap", "entries"]


@dataclass(slots=True)
class Entry:
    """A contribution as it was sent.

    Attributes:
        payloads: of each chunk, by bucket.
    """

    member: str
    seq: int
    round: int
    samples: int
    share: tuple[int, int]
    payloads: dict[int, list[bytes]] = field(default_factory=dict[int, list[bytes]])


class Tap:
    """Makes connections, as `Connect` is, whose contributions are written down before they are complete.

    Args:
        path: of the file with the entries.
        draw: what chance decides.
        told: is called when frames were tampered with.

    Attributes:
        orders: kinds of tampering, each for one of the next contributions: "replayed" sends frames of
            one that counted again, "corrupted" turns a bit over, "reordered" shuffles all frames.
    """

    orders: ClassVar[list[str]] = []

    def __init__(self, path: str, draw: Random, told: Callable[[str], None]) -> None:
        self.file: BinaryIO = open(path, "wb")  # noqa: SIM115 - as long as the process lives
        self.draw, self.told = draw, told
        self.before: list[bytes] = []  # frames of a contribution that counted
        self.done = 0  # seq of the one that was tampered with last

    def __call__(self, url: str, heartbeat: bytes, every: float) -> Transport:
        """A connection, as `transport.connect` makes them."""
        return _TappedTransport(self, connect(url, heartbeat, every))


class _TappedTransport:
    name = "tapped"

    def __init__(self, tap: Tap, inner: Transport) -> None:
        self._tap, self._inner = tap, inner
        self._member, self._lost = "", False
        self._entry: Entry | None = None
        self._frames: list[bytes] = []  # of a contribution, held back until it is complete
        self._tampering = ""

    def send(self, data: bytes) -> None:
        frame = decode(data)
        if frame.kind is Kind.HELLO:
            self._member = parse(frame)["member"]
        elif frame.kind is Kind.BEGIN:
            self._begin(frame)
        entry = self._entry
        if not entry or frame.kind not in (Kind.BEGIN, Kind.PART, Kind.COMMIT):
            self._pass(data)
            return
        if frame.kind is Kind.PART:
            entry.payloads.setdefault(frame.bucket, []).append(bytes(frame.payload))
        self._frames.append(data)
        if frame.kind is Kind.COMMIT:
            pickle.dump(entry, self._tap.file)
            self._tap.file.flush()
            self._entry = None
        if not self._tampering:
            self._pass(data)
        elif frame.kind is Kind.COMMIT:
            self._tamper()

    def _begin(self, frame: Frame) -> None:
        fields = parse(frame)
        first, last = fields["share"]
        self._entry = Entry(self._member, frame.seq, frame.round, fields["samples"], (first, last))
        self._frames, self._tampering = [], ""
        wanted = Tap.orders[0] if Tap.orders else ""
        # A contribution once: what is refused twice for one reason, its member does not send again.
        if wanted and frame.seq != self._tap.done and (self._tap.before or wanted != "replayed"):
            self._tampering, self._tap.done = Tap.orders.pop(0), frame.seq

    def _tamper(self) -> None:
        """Send what was held back, otherwise than it is meant."""
        draw, frames = self._tap.draw, list(self._frames)
        if self._tampering == "replayed":
            for data in self._tap.before:
                frames.insert(draw.randrange(len(frames)), data)
        elif self._tampering == "corrupted":
            at = draw.randrange(len(frames))
            broken = bytearray(frames[at])
            broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
            frames[at] = bytes(broken)
        else:
            while frames == self._frames:
                draw.shuffle(frames)
        for data in frames:
            self._pass(data)
        self._tap.told(self._tampering)
        if frames[-1] != self._frames[-1]:  # a hub that took it for over would wait for its end
            self._lost = True
            self._inner.close()

    def _pass(self, data: bytes) -> None:
        if self._lost:
            raise ConnectionError("cut by who tampered with it")
        self._inner.send(data)

    def receive(self, timeout: float | None) -> bytes | None:
        if self._lost:
            raise ConnectionError("cut by who tampered with it")
        data = self._inner.receive(timeout)
        frame = decode(data) if data else None
        if frame and frame.kind is Kind.ACK and parse(frame)["outcome"] == "counted":
            self._tap.before = self._frames
        return data

    def fetch(self, path: str, headers: dict[str, str]) -> bytes:
        return self._inner.fetch(path, headers)

    def close(self) -> None:
        if not self._lost:
            self._inner.close()


def entries(paths: list[Path]) -> list[Entry]:
    """What workers have written down; the last one of a worker that was killed may be torn."""
    found: list[Entry] = []
    for path in paths:
        with path.open("rb") as file, suppress(EOFError, pickle.UnpicklingError):
            while True:
                entry: Any = pickle.load(file)
                found.append(entry)
    return found
