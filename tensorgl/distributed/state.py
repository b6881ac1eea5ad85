"""What a hub knows of a run beside the arrays, and what it must know after a restart.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tensorgl.distributed.collectives import Calls
from tensorgl.distributed.definitions import Definitions
from tensorgl.distributed.effects import Effect, Log, Part, Send, Session, Settings, Snapshot
from tensorgl.distributed.members import Member, Task
from tensorgl.distributed.shares import Shares
from tensorgl.distributed.wire import Kind

__all__ = ["Round", "State"]


@dataclass(slots=True)
class Round:
    """One update of the model, from ROUND to CLOSED.

    Attributes:
        expected: who is waited for: names, in the order of ranks.
        attempts: by bucket, the last attempt at reducing it. A number that is begun anew counts on.
        reduced: by bucket, what that attempt was of. A bucket is not here if it is to be reduced again.
    """

    number: int
    opened: float
    expected: dict[str, None]
    attempts: dict[int, int]
    reduced: dict[int, tuple[Part, ...]] = field(default_factory=dict[int, tuple[Part, ...]])

    def forget(self, name: str, seq: int) -> None:
        """A contribution does not count in this round after all."""
        for bucket, parts in list(self.reduced.items()):
            if any((part.member, part.seq) == (name, seq) for part in parts):
                del self.reduced[bucket]

    def valid_attempts(self, buckets: int) -> list[int]:
        """Of each bucket; shorter if all that follow are the first."""
        attempts = [self.attempts[bucket] for bucket in range(buckets)]
        while attempts and not attempts[-1]:
            attempts.pop()
        return attempts


class State:
    """The state of one run; core.Core has the arguments."""

    def __init__(
        self,
        settings: Settings,
        boot: str,
        codec: str,
        now: float,
        snapshot: Snapshot | None = None,
        hash: str = "",
        buckets: int = 0,
        data: dict[str, int] | None = None,
        local_steps: int = 0,
        statistics: bool = False,
    ) -> None:
        self.settings, self.boot, self.codec = settings, boot, codec
        kept = snapshot or Snapshot()
        self.version, self.hash = kept.version, hash
        self.shares = Shares(kept.cursor, kept.leftover)
        self.definitions = Definitions(kept.defined, buckets, data, local_steps, statistics)
        self.calls = Calls()
        self.counted, self.banned = dict(kept.counted), set(kept.banned)
        self.members: dict[str, Member] = {}
        for name, (rank, committed) in kept.members.items():
            joined = kept.joined.get(name, 0)
            self.members[name] = member = Member(name, rank, now, committed, joined)
            member.speed = kept.speeds.get(name)
            if name in kept.tasks:
                number, start, stop = kept.tasks[name]
                member.task = Task(number, (start, stop), None)
        self.round: Round | None = None
        # Members of the last round are waited for, so that the next one has those of before the restart.
        self._awaited = set(self.members)
        self._awaiting = now + 2 * settings.lease  # until then
        self._started = bool(kept.version)
        self._upload: tuple[tuple[str, int] | None, float] = (
            None,
            now,
        )  # whose it is, and when it went on
        self._sessions: dict[Session, Member] = {}
        self._attempts: dict[int, int] = {}  # of the number of the round that is or will be open
        self._logging: Log | None = None
        self._closing: tuple[Member, ...] = ()  # whose contributions are being logged
        self._out: list[Effect] = []

    @property
    def world(self) -> int:
        """How many members there are."""
        return sum(not m.gone for m in self.members.values())

    def _snapshot(self) -> Snapshot:
        """The state as it is once what is being logged is durable."""
        members = list(self.members.values())
        closing = {m.name: m.work.seq for m in self._closing if m.work}
        committed = {m.name: closing.get(m.name, m.committed) for m in members}
        there = [m for m in members if not m.gone]
        tasks = {
            m.name: (m.task.round, *m.task.share)
            for m in there
            if m.task and m.task.share and m.name not in closing
        }
        left = {m.name: committed[m.name] for m in members if m.gone and committed[m.name]}
        return Snapshot(
            version=self.round.number if self._closing and self.round else self.version,
            members={m.name: (m.rank, committed[m.name]) for m in there},
            counted=self.counted | left,
            defined=dict(self.definitions.digests),
            cursor=self.shares.cursor,
            leftover=tuple(self.shares.leftover),
            tasks=tasks,
            speeds={m.name: m.speed for m in there if m.speed},
            joined={m.name: m.joined for m in there if m.joined},
            banned=tuple(sorted(self.banned)),
        )

    def _send(
        self, member: Member, kind: Kind, seq: int = 0, round: int = 0, **fields: Any
    ) -> None:
        if member.session is not None:
            self._out.append(Send(member.session, kind, fields, seq, round))
