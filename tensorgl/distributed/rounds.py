"""How a round is held: it begins, buckets are reduced as they come in, it ends. Standard library only."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from tensorgl.distributed.effects import Discard, Log, Part, Reduce, Session, Share
from tensorgl.distributed.members import Member, Task
from tensorgl.distributed.shares import divide
from tensorgl.distributed.state import Round, State
from tensorgl.distributed.weights import mean_metrics, median_lr, usual_seconds, weigh
from tensorgl.distributed.wire import Kind, ProtocolError

__all__ = ["Rounds"]

_EQUAL = 0.1
"""Of the samples are divided equally. A contribution takes some time however small it is, so who has got
little seems slow and would get ever less; this draws it back."""
_ABSENT_S = 5.0
"""So long after its last word, nobody waits for who has lost the connection and usually would be done."""
_LEASES = 5
"""So many leases past the deadline, nobody is waited for whose task goes on, but slowly."""
_UNITS = 8
"""So many units of samples there are for each member where their speeds decide. Speeds are never twice the
same, and a GPU compiles its programs for each size of a batch: so there are few sizes."""


class Rounds(State):
    """The part of the core that knows rounds, and what members have to do with them."""

    # Beginning

    def _open(self, now: float) -> bool:
        """Begin a round, if it can be; whether it has."""
        if not self.definitions.enough:
            return False
        if now < self._awaiting and not all(self.members[name].ready for name in self._awaited):
            return False  # one that has come back may be lost again
        idle = sorted((m for m in self.members.values() if m.idle), key=lambda m: m.rank)
        if len(idle) < (1 if self._started else self.settings.least_members) and not any(
            m.complete for m in self.members.values()
        ):
            return False
        self._started = True
        self._awaited.clear()
        number = self.version + 1
        expected: dict[str, None] = {}
        self.round = Round(number, now, expected, self._attempts)
        for member, share in zip(idle, self._divide(idle), strict=True):
            if share or not self.definitions.data:
                member.task, member.moved = Task(number, share, now), now
                expected[member.name] = None
        for member in self._sessions.values():
            if member.receiving:
                self._announce(member)
        return True

    def _divide(self, members: list[Member]) -> list[Share | None]:
        """Shares of the samples of the next round, in the order of the members."""
        data, steps = self.definitions.data, self.definitions.local_steps
        if data is None or not members:
            return [None] * len(members)
        whole = self.shares.take(
            data["batch"] * (steps * len(members) if steps else 1), data["size"]
        )
        known = [m.speed for m in members if m.speed] if self.settings.balanced else []
        usual = fmean(known) if known else 1.0
        speeds = [m.speed or usual if known else usual for m in members]
        equal = _EQUAL * fmean(speeds)
        unit = 1
        if steps:
            unit = data["batch"]
        elif known:
            unit = max(1, (whole[1] - whole[0]) // (_UNITS * len(members)))
        return divide(whole, [equal + (1 - _EQUAL) * speed for speed in speeds], unit)

    def _announce(self, member: Member) -> None:
        asked = bool(self.round and member.name in self.round.expected and not member.work)
        share = list(member.task.share) if asked and member.task and member.task.share else None
        self._send(
            member, Kind.ROUND, round=self.version + 1, share=share, expected=asked,
            world=self.world, version=self.version,
        )  # fmt: skip
        member.waits = False

    def _tell_waiting(self) -> None:
        """Tell who has come of the round; if it has a task of before, even if there is none."""
        for member in self._sessions.values():
            if member.waits and (self.round or member.task):
                self._announce(member)

    # Reducing

    def _stream(self, bucket: int) -> None:
        """Reduce a bucket that all have sent who count as far as is known."""
        if not self.settings.streaming or self.round is None or self._closing:
            return
        counting: list[Member] = []
        for member in self.members.values():
            if member.complete or member.name in self.round.expected:
                if not member.work or bucket not in member.work.staged:
                    return
                counting.append(member)
        self._attempt(bucket, weigh(counting, self.round.number))

    def _attempt(self, bucket: int, parts: tuple[Part, ...]) -> None:
        """Reduce a bucket, unless that is done already."""
        assert self.round
        if parts and self.round.reduced.get(bucket) != parts:
            attempt = self.round.attempts.get(bucket, -1) + 1
            self.round.attempts[bucket], self.round.reduced[bucket] = attempt, parts
            to = tuple(s for s, m in self._sessions.items() if m.receiving)
            self._reduce(bucket, attempt, parts, to)

    def _reduce(
        self, bucket: int, attempt: int, parts: tuple[Part, ...], to: tuple[Session, ...]
    ) -> None:
        assert self.round
        self._out.append(Reduce(self.round.number, bucket, attempt, parts, self._lr(parts), to))

    def _lr(self, parts: tuple[Part, ...]) -> tuple[float, ...]:
        members = [self.members[part.member] for part in parts]
        apart = self.settings.streaming  # rules that bear liars let no single one decide
        return median_lr((m.joined if apart else 0, m.work.lr) for m in members if m.work)

    # Ending

    def _end(self, now: float) -> bool:
        """End the round if it is over; whether another one may begin at once."""
        round = self.round
        assert round
        done = [m for m in self.members.values() if m.complete]
        if not self._over(round, now):
            return False
        if not done:  # all that were expected are gone, or were rejected
            self.round = None
            return True
        parts = weigh(done, round.number)
        for bucket in range(self.definitions.buckets):
            self._attempt(bucket, parts)
        self._closing = tuple(sorted(done, key=lambda m: m.rank))
        self._logging = Log(self._snapshot(), round.number, parts, self._lr(parts))
        self._out.append(self._logging)
        return False

    def _over(self, round: Round, now: float) -> bool:
        """Whether nobody is waited for any more."""
        usual = self.settings.slack * usual_seconds(self.members.values())
        end = round.opened + max(self.settings.grace, usual)
        expected = [self.members[name] for name in round.expected]
        if now > round.opened + usual:
            for member in expected:
                absent = member.session is None and now - member.seen > _ABSENT_S
                if absent and not member.complete:
                    self._give_up(member)
        if now < end:
            return all(self.members[name].complete for name in round.expected)
        expected = [self.members[name] for name in round.expected]
        whole = sum(m.size for m in expected)
        there = [m for m in expected if m.complete]
        if there and sum(m.size for m in there) >= self.settings.quorum * whole:
            return True
        for member in expected:
            still = now - max(end, member.moved) <= self.settings.lease
            if not member.complete and not (still and now - end <= _LEASES * self.settings.lease):
                self._give_up(member)
        return all(self.members[name].complete for name in round.expected)

    def _give_up(self, member: Member) -> None:
        """Wait no more for who does nothing though its connection lives, if others do wait."""
        if not any(m.complete or m.idle for m in self.members.values()):
            return
        if member.work:
            reason = "others have its share by now"
            self._send(member, Kind.ACK, member.work.seq, outcome="stale", reason=reason)
        elif member.task and member.task.since is not None:
            # It shows up with BEGIN; of what it has begun nothing more will come.
            member.away = member.task
        self._dismiss(member)

    def _closed(self, log: Log) -> None:
        round, closing = self.round, self._closing
        assert round
        self.round, self._closing, self._attempts = None, (), {}
        self.version = round.number
        said = [
            (part.weight, member.work.metrics or {})
            for part, member in zip(log.parts, closing, strict=True)
            if member.work
        ]
        closed: dict[str, Any] = {
            "version": self.version, "hash": self.hash,
            "samples": sum(part.weight for part in log.parts),
            "attempts": round.valid_attempts(self.definitions.buckets),
            "metrics": mean_metrics(said),
        }  # fmt: skip
        for member in closing:
            assert member.work
            outcome = "counted" if member.work.round == round.number else "carried"
            seq, member.committed = member.work.seq, member.work.seq
            member.task = member.work = None
            member.strikes = max(0, member.strikes - 1)
            self._send(member, Kind.ACK, seq, round.number, outcome=outcome, reason="")
        for member in list(self._sessions.values()):
            if member.receiving:
                self._send(member, Kind.CLOSED, round=round.number, **closed)
            elif member.pulls:
                self._pull(member)
        for member in closing:
            if member.gone:
                self._forget(member)

    # Who gets updates, and who is waited for

    def _pull(self, member: Member) -> None:
        if "model" not in self.definitions.digests:
            raise ProtocolError("PULL: no model is defined yet")
        member.ready = member.receiving = member.waits = False
        member.pulls = bool(self._closing)
        if not member.pulls:
            path = f"/v1/parameters/{self.hash}"
            version = self.version
            self._send(member, Kind.PARAMETERS, version=version, hash=self.hash, path=path)
            self._receive(member)

    def _receive(self, member: Member) -> None:
        """From now on a member gets updates, and what there is of the round's that is open."""
        member.receiving, member.pulls = True, False
        if self.round and not self._closing and member.session is not None:
            for bucket, parts in self.round.reduced.items():
                self._reduce(bucket, self.round.attempts[bucket], parts, (member.session,))

    def _dismiss(self, member: Member) -> None:
        """A member is not waited for. Its share is for others, what it has begun is forgotten."""
        if self.round:
            self.round.expected.pop(member.name, None)
        if member.work:
            self._discard(member)
        self._give_back(member)

    def _give_back(self, member: Member) -> None:
        if member.task and member.task.share:
            self.shares.give_back(member.task.share)
        member.task = None

    def _discard(self, member: Member) -> None:
        assert member.work
        self._out.append(Discard(member.name, member.work.seq))
        if self.round:
            self.round.forget(member.name, member.work.seq)
        member.work = None

    def _forget(self, member: Member) -> None:
        del self.members[member.name]
        if member.committed:
            self.counted[member.name] = member.committed
            while len(self.counted) > 10 * self.settings.most_members:
                del self.counted[next(iter(self.counted))]
