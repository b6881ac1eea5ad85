"""What the core of a hub is told at the start, what it asks for, and what it must know after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tensorgl.distributed.wire import Dtype, Kind

__all__ = [
    "Answer",
    "Close",
    "Combine",
    "Discard",
    "Effect",
    "Log",
    "Part",
    "Reduce",
    "Send",
    "Session",
    "Settings",
    "Share",
    "Snapshot",
]

Session: TypeAlias = int
"""A connection, as whoever has the sockets numbers it; no number is used twice."""
Share: TypeAlias = tuple[int, int]
"""Samples from, up to: of the endless stream of epochs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is held. Times are in seconds.

    Attributes:
        lease: silence after which a member is gone. Nor is anybody waited for so long past the deadline
            who does nothing, if others wait.
        quorum: which part of the expected samples a round needs at its deadline.
        grace: how long a round waits for everybody at least.
        slack: the deadline in multiples of what nine of ten members take.
        most_stale: rounds that a contribution may be late; after that it is sent back.
        least_members: so many begin the run.
        most_members: at the same time.
        most_samples: of a contribution that is of no share.
        strikes: unsound contributions after which a member is locked out; one that counts makes up for one.
        balanced: shares follow each member's speed; else they are equal.
        streaming: buckets are reduced as they come in; else when the round ends, as rules need that
            compare whole contributions.
    """

    lease: float = 30.0
    quorum: float = 0.8
    grace: float = 10.0
    slack: float = 1.25
    most_stale: int = 4
    least_members: int = 1
    most_members: int = 1000
    most_samples: int = 1 << 20
    strikes: int = 3
    balanced: bool = True
    streaming: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """What one contribution counts in a reduction."""

    member: str
    seq: int
    weight: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message."""

    session: Session
    kind: Kind
    fields: dict[str, Any]
    seq: int = 0
    round: int = 0


@dataclass(frozen=True, slots=True)
class Close:
    """Send ERROR with the reason, and close the connection. The core has forgotten it already."""

    session: Session
    reason: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget what was received under this number. What was asked for before still has to be done with it."""

    member: str
    seq: int


@dataclass(frozen=True, slots=True)
class Reduce:
    """Reduce a bucket of these contributions, take the optimizer's step as a trial, send RESULT to `to`.

    An attempt that comes again is for somebody who missed it: its parts and its result are the same.
    """

    round: int
    bucket: int
    attempt: int
    parts: tuple[Part, ...]
    lr: tuple[float, ...]
    to: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """Make a state durable; then tell `durable`.

    It is that of a round, whose trials become final with it and whose parts may be forgotten, or that
    of a definition. There is one at a time.
    """

    snapshot: Snapshot
    round: int | None
    parts: tuple[Part, ...] = ()
    lr: tuple[float, ...] = ()
    definition: tuple[str, dict[str, Any]] | None = None  # part and value; not with a round


@dataclass(frozen=True, slots=True)
class Combine:
    """Combine the arrays of a collective operation, in this order; then tell `combined`.

    Attributes:
        number: of the operation, for `combined`.
        op: sum, mean (weighted), max, min, or broadcast, which has one part.
        size: elements of each array.
        parts: whose arrays, under bucket 0.
    """

    number: int
    op: str
    dtype: Dtype
    size: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Send a RESULT for each payload, all of bucket 0 and round 0, and RETURN."""

    session: Session
    seq: int
    dtype: Dtype
    payloads: tuple[bytes, ...]
    world: int


Effect: TypeAlias = Send | Close | Discard | Reduce | Log | Combine | Answer


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a hub must know to go on after a restart, beside the arrays. Plain values, for JSON.

    Attributes:
        version: rounds that are over.
        members: by name, those of the last round: rank, and the highest seq that counts for good.
        counted: by name, the highest seq of those that have left.
        defined: by part of the definition, its digest.
        cursor: where in the stream the next share begins.
        leftover: shares that came back, and are to be given out again.
        tasks: by name, the round for which a member was given a share that is not counted, and the share.
        speeds: by name, samples a second, so that shares are divided as they were.
        joined: by name, the version at which who is a member became one, if not 0.
        banned: names of members that were locked out.
    """

    version: int = 0
    members: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    counted: dict[str, int] = field(default_factory=dict[str, int])
    defined: dict[str, str] = field(default_factory=dict[str, str])
    cursor: int = 0
    leftover: tuple[Share, ...] = ()
    tasks: dict[str, tuple[int, int, int]] = field(default_factory=dict[str, tuple[int, int, int]])
    speeds: dict[str, float] = field(default_factory=dict[str, float])
    joined: dict[str, int] = field(default_factory=dict[str, int])
    banned: tuple[str, ...] = ()
