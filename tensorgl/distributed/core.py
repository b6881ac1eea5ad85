"""What a hub decides: who is a member, when a round ends, what counts in it and how much.

Methods are told what happened and return what is to be done, in order: the hub, the tests and the
simulator run the same core. It knows neither sockets nor arrays, its clock is the argument `now`
(seconds), and it is deterministic. Standard library only.

A round is one update of the model. It begins with the members that have nothing else to do; each gets
a share of the data and contributes once (BEGIN, parts, COMMIT). It ends when all of them have, or when
those who have make up the quorum and the deadline is over. Who comes later counts in a later round,
with less weight. What counts is logged before anybody is told so, and a contribution is known by its
member and seq: sent again, after whatever was lost, it counts once.

A bucket of the vector is reduced as soon as everybody's is there (`Reduce`), so that the update
travels while gradients still come in. If in the end the round has other contributions than that, the
bucket is reduced again, as the next attempt; CLOSED says which attempts are valid.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean, median
from typing import Any

from tensorgl.distributed.effects import (
    Close,
    Discard,
    Effect,
    Log,
    Part,
    Reduce,
    Send,
    Session,
    Settings,
    Share,
    Snapshot,
)
from tensorgl.distributed.wire import Kind, ProtocolError

__all__ = ["Core", "digest"]


@dataclass(slots=True)
class _Contribution:
    seq: int
    round: int
    samples: int
    lr: tuple[float, ...]
    share: Share | None
    staged: set[int] = field(default_factory=set)
    metrics: dict[str, float] | None = None  # of COMMIT; None until then


@dataclass(slots=True)
class _Member:
    name: str
    rank: int
    session: Session | None
    seen: float
    committed: int = 0
    ready: bool = False
    receiving: bool = False  # RESULT and CLOSED: from PULL or READY on
    share: Share | None = None  # given out, and neither counted nor returned
    asked: float | None = None  # when it was asked to contribute to the round that is open
    work: _Contribution | None = None
    gone: bool = False  # but for a contribution that counts in the round that is open
    seconds: float | None = None  # a moving average of what a contribution takes
    speed: float | None = None  # samples a second
    strikes: int = 0


@dataclass(slots=True)
class _Round:
    number: int
    opened: float
    expected: dict[str, None]  # names, in the order of ranks
    attempts: dict[int, int] = field(default_factory=dict)
    reduced: dict[int, tuple[Part, ...]] = field(default_factory=dict)


def digest(value: Any) -> str:
    """128 bits that tell definitions apart."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Core:
    """The state of one run.

    Args:
        settings: how it is held.
        boot: 128 bits as hexadecimal digits, another one for each start of a hub.
        codec: the name of that of contributions, which members are told.
        now: the time.
        snapshot: where an earlier hub ended.
        hash: of the parameters there.
        buckets: how many the model has, if it is defined.
        data: the definition of the data, if there is one: size and batch.
        local_steps: of the optimizer's definition, if there is one.
    """

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
    ) -> None:
        self.settings, self.boot, self.codec = settings, boot, codec
        kept = snapshot or Snapshot()
        self.version, self.cursor = kept.version, kept.cursor
        self.leftover = deque(kept.leftover)
        self.defined, self.counted = dict(kept.defined), dict(kept.counted)
        self.banned = set(kept.banned)
        self.buckets, self.data, self.local_steps = buckets, data, local_steps
        # Members of the last round are waited for, so that the next one has those of before the restart.
        self.members: dict[str, _Member] = {
            name: _Member(name, rank, None, now, committed)
            for name, (rank, committed) in kept.members.items()
        }
        self.round: _Round | None = None
        self.hash = hash
        self._awaited = set(self.members)
        self._started = bool(kept.version)
        self._closing: tuple[_Member, ...] | None = None
        self._sessions: dict[Session, _Member] = {}
        self._definers: list[
            tuple[str, int, dict[str, Any]]
        ] = []  # of the model; the first uploads
        self._defining: dict[str, str] = {}  # part and digest of what is being logged
        self._logging: deque[Log] = deque()
        self._out: list[Effect] = []

    # What happens. Each method returns what is to be done, in order.

    def hello(self, session: Session, name: str, resumes: bool, now: float) -> list[Effect]:
        """Somebody with a valid token is there; `resumes`: it has proved that the name is its own."""
        member = self.members.get(name)
        if name in self.banned:
            return self._refuse(session, "locked out: too many contributions were rejected")
        if not resumes and (member or name in self.counted):
            return self._refuse(session, "the name of this member is another one's")
        if member is None:
            if len(self.members) >= self.settings.most_members:
                return self._refuse(session, "the run is full; try again later")
            taken = {m.rank for m in self.members.values()}
            rank = next(r for r in range(len(taken) + 1) if r not in taken)
            member = _Member(name, rank, None, now, self.counted.pop(name, 0))
            self.members[name] = member
        elif member.session is not None:
            self._close(member, "connected again from elsewhere")
        member.session, member.seen, member.gone = session, now, False
        member.ready = member.receiving = False
        self._sessions[session] = member
        self._send(
            member, Kind.WELCOME, boot=self.boot, rank=member.rank, world=self.world, resume="",
            lease=self.settings.lease, committed=member.committed, defined=dict(self.defined),
            codec=self.codec, version=self.version,
        )  # fmt: skip
        return self._done(now)

    def message(
        self, session: Session, kind: Kind, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> list[Effect]:
        """A message of a member that messages.py has checked; COMMIT once all its parts are staged.

        Raises:
            ProtocolError: no member sends this now. The connection is to be closed.
        """
        member = self._sessions.get(session)
        if member is None:
            return []
        member.seen = now
        handle = {
            Kind.DEFINE: self._define, Kind.READY: self._ready, Kind.PULL: self._pull,
            Kind.BEGIN: self._begin, Kind.COMMIT: self._commit, Kind.BYE: self._bye,
            Kind.METRIC: self._nothing, Kind.HEARTBEAT: self._nothing,
        }.get(kind)  # fmt: skip
        if handle is None:
            raise ProtocolError(f"{kind.name} is nothing that a member sends")
        handle(member, seq, round, fields, now)
        return self._done(now)

    def seen(self, session: Session, now: float) -> None:
        """Something came from a member."""
        if session in self._sessions:
            self._sessions[session].seen = now

    def staged(self, session: Session, seq: int, bucket: int, now: float) -> list[Effect]:
        """A bucket of a contribution is there, and sound."""
        member = self._sessions.get(session)
        if member and member.work and member.work.seq == seq:
            member.seen = now
            member.work.staged.add(bucket)
            self._stream(bucket)
        return self._done(now)

    def rejected(self, session: Session, seq: int, reason: str, now: float) -> list[Effect]:
        """A contribution is not sound."""
        member = self._sessions.get(session)
        if member and member.work and member.work.seq == seq:
            self._reject(member, seq, reason, now)
        return self._done(now)

    def gone(self, session: Session, now: float) -> list[Effect]:
        """A connection is lost. Its member may come back while its lease lasts."""
        member = self._sessions.pop(session, None)
        if member:
            member.session, member.ready, member.receiving = None, False, False
            self._pass_on(member)
        return self._done(now)

    def durable(self, hash: str, now: float) -> list[Effect]:
        """The oldest Log that was not answered is durable; `hash`: of the parameters by now."""
        log = self._logging.popleft()
        self.hash = hash
        if log.definition:
            self._defined(*log.definition)
        if log.round is not None:
            self._closed(log)
        return self._done(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        for member in list(self.members.values()):
            if now - member.seen > self.settings.lease and not member.gone:
                if member.session is not None:
                    self._close(member, f"silent for {self.settings.lease:g} s")
                self._remove(member)
        return self._done(now)

    @property
    def world(self) -> int:
        """How many members there are."""
        return sum(not m.gone for m in self.members.values())

    # Definitions

    def _define(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        part, value = fields["part"], fields["value"]
        mine = digest(value)
        if part in self.defined:
            if self.defined[part] != mine:
                raise ProtocolError(f"this run has another {part} than the one that is given")
            self._send(member, Kind.DEFINED, part=part, digest=mine)
        elif part in self._defining:
            if self._defining[part] != mine:
                raise ProtocolError(f"this run has another {part} than the one that is given")
        elif part == "model":
            sizes = [_product(shape) for _, shape in value["parameters"]]
            if not sizes or sum(sizes) != sum(value["buckets"]):
                raise ProtocolError(
                    "model: the buckets have not as many elements as the parameters"
                )
            self._definers = [d for d in self._definers if d[0] != member.name]
            self._definers.append((member.name, seq, value))
            if len(self._definers) == 1:
                self._send(member, Kind.UPLOAD, seq)
        else:
            if part == "optimizer" and (
                "model" not in self.defined
                or len(value["groups"]) != self.buckets
                or max(value["groups"]) >= len(value["options"])
            ):
                raise ProtocolError("optimizer: its groups are not those of the model")
            self._log_definition(part, value)

    def _log_definition(self, part: str, value: dict[str, Any]) -> None:
        self._defining[part] = digest(value)
        self._log(Log(self._snapshot({part: digest(value)}), None, definition=(part, value)))

    def _defined(self, part: str, value: dict[str, Any]) -> None:
        self.defined[part] = self._defining.pop(part)
        if part == "model":
            self.buckets = len(value["buckets"])
            self._definers.clear()
        elif part == "data":
            self.data = value
        else:
            self.local_steps = value["local_steps"]
        for member in self._sessions.values():
            self._send(member, Kind.DEFINED, part=part, digest=self.defined[part])

    def _pass_on(self, member: _Member) -> None:
        """Somebody else uploads the model, if this one was to."""
        first = self._definers[:1]
        self._definers = [d for d in self._definers if d[0] != member.name]
        if first and first[0][0] == member.name and "model" not in self._defining:
            self._out.append(Discard(*first[0][:2]))
            if self._definers:
                name, seq, _ = self._definers[0]
                self._send(self.members[name], Kind.UPLOAD, seq)

    # Members

    def _pull(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        if "model" not in self.defined:
            raise ProtocolError("PULL: no model is defined yet")
        member.receiving, member.ready = True, False
        path = f"/v1/parameters/{self.hash}"
        self._send(member, Kind.PARAMETERS, version=self.version, hash=self.hash, path=path)

    def _ready(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        if "model" not in self.defined or fields["version"] > self.version:
            raise ProtocolError("READY: there are no such parameters")
        if not member.receiving and fields["version"] != self.version:
            self._pull(member, seq, round, fields, now)
            return
        member.ready = member.receiving = True  # what it has not got yet is on its way, in order
        self._awaited.discard(member.name)
        if not fields["busy"] and member.work is None:
            if self.round:
                self.round.expected.pop(member.name, None)
            self._give_back(member)
        if self.round and self._closing is None:
            self._announce(member)

    def _bye(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        self._close(member, "")
        self._remove(member)

    def _nothing(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        pass

    def _remove(self, member: _Member) -> None:
        self._awaited.discard(member.name)
        self._pass_on(member)
        if member.work and member.work.metrics is not None:
            member.gone = True  # what it has contributed counts
            return
        if member.work:
            self._out.append(Discard(member.name, member.work.seq))
        self._give_back(member)
        self._forget(member)

    def _forget(self, member: _Member) -> None:
        del self.members[member.name]
        if self.round:
            self.round.expected.pop(member.name, None)
        if member.committed:
            self.counted[member.name] = member.committed
            while len(self.counted) > 100 * self.settings.most_members:
                del self.counted[next(iter(self.counted))]

    def _give_back(self, member: _Member) -> None:
        if member.share:
            self.leftover.appendleft(member.share)
        member.share = member.asked = None

    # Contributions

    def _begin(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        share = tuple(fields["share"]) if fields["share"] else None
        work, samples, number = member.work, fields["samples"], self.version + 1
        if seq <= member.committed:
            self._send(member, Kind.ACK, seq, round, outcome="counted", reason="")
            return
        if work and work.seq == seq and work.metrics is not None:
            return  # complete; it only was not told yet
        if work:
            if work.seq != seq:
                raise ProtocolError("BEGIN: the contribution before is not complete")
            self._out.append(Discard(member.name, seq))
            member.work = None
        if not 1 <= round <= number or (round == number and self.round is None):
            raise ProtocolError(f"BEGIN: round {round} has not begun")
        if share != member.share or number - round > self.settings.most_stale:
            reason = "too late" if share == member.share else "others have its share by now"
            self._give_back(member)
            self._send(member, Kind.ACK, seq, round, outcome="stale", reason=reason)
            return
        most = share[1] - share[0] if share else self.settings.most_samples
        member.work = _Contribution(seq, round, samples, tuple(fields["lr"]), share)
        if samples > most:
            self._reject(member, seq, f"of {samples} samples, where {most} is the most", now)

    def _commit(
        self, member: _Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        if self._definers and self._definers[0][:2] == (member.name, seq):
            if "model" not in self._defining:
                self._log_definition("model", self._definers[0][2])
            return
        work = member.work
        if work is None or work.seq != seq or work.metrics is not None:
            return  # of a contribution that is over
        if len(work.staged) != self.buckets:
            raise ProtocolError("COMMIT: parts are missing")
        work.metrics = fields["metrics"]
        if member.asked is not None:
            took = max(now - member.asked, 1e-6)
            member.seconds = _average(member.seconds, took)
            member.speed = _average(member.speed, work.samples / took)
            member.asked = None

    def _reject(self, member: _Member, seq: int, reason: str, now: float) -> None:
        self._out.append(Discard(member.name, seq))
        member.work = None
        member.strikes += 1
        if self.round:
            self.round.expected.pop(member.name, None)
        self._give_back(member)
        self._send(member, Kind.ACK, seq, outcome="rejected", reason=reason[:200])
        if member.strikes >= self.settings.strikes:
            self.banned.add(member.name)
            self._close(member, "locked out: too many contributions were rejected")
            self._remove(member)

    # Rounds

    def _done(self, now: float) -> list[Effect]:
        """Open and close rounds as it is due; all that is to be done."""
        while self._closing is None and (self._end(now) if self.round else self._open(now)):
            pass
        out, self._out = self._out, []
        return out

    def _open(self, now: float) -> bool:
        if not {"model", "optimizer"} <= self.defined.keys() or self._awaited or self._defining:
            return False
        idle = [
            m
            for m in sorted(self.members.values(), key=lambda m: m.rank)
            if m.ready and m.work is None and m.asked is None and not m.gone
        ]
        if len(idle) < (1 if self._started else self.settings.least_members):
            return False
        if not self.buckets or not idle:
            return False
        self._started = True
        shares = self._divide(idle)
        expected = {m.name: None for m, s in zip(idle, shares, strict=True) if s or not self.data}
        self.round = _Round(self.version + 1, now, expected)
        for member, share in zip(idle, shares, strict=True):
            if member.name in expected:
                member.share, member.asked = share, now
        for member in self._sessions.values():
            if member.receiving:
                self._announce(member)
        return False

    def _announce(self, member: _Member) -> None:
        assert self.round
        asked = member.name in self.round.expected and member.work is None
        share = list(member.share) if member.share and asked else None
        self._send(
            member, Kind.ROUND, round=self.round.number, share=share, expected=asked,
            world=self.world, version=self.version,
        )  # fmt: skip

    def _divide(self, members: list[_Member]) -> list[Share | None]:
        """Shares of the samples of the next round, in the order of the members."""
        if self.data is None:
            return [None] * len(members)
        size, batch = self.data["size"], self.data["batch"]
        total = batch * self.local_steps * len(members) if self.local_steps else batch
        if self.leftover:
            start, stop = self.leftover.popleft()
            if stop - start > total:
                self.leftover.appendleft((start + total, stop))
                stop = start + total
        else:
            start = self.cursor
            stop = self.cursor = min(start + total, (start // size + 1) * size)
        known = [m.speed for m in members if m.speed]
        usual = fmean(known) if known else 1.0
        speeds = [(m.speed or usual) if self.settings.balanced else 1.0 for m in members]
        shares: list[Share | None] = []
        at, sofar, whole = start, 0.0, sum(speeds)
        for speed in speeds:
            sofar += speed
            end = start + ceil((stop - start) * sofar / whole - 1e-9)
            shares.append((at, end) if end > at else None)
            at = end
        return shares

    def _stream(self, bucket: int) -> None:
        """Reduce a bucket that all who are expected have sent."""
        if not self.settings.streaming or self.round is None or self._closing is not None:
            return
        work = [self.members[name].work for name in self.round.expected]
        if bucket not in self.round.reduced and all(w and bucket in w.staged for w in work):
            self._reduce(bucket, self._parts(list(self.round.expected)))

    def _parts(self, names: list[str]) -> tuple[Part, ...]:
        assert self.round
        parts: list[Part] = []
        for member in sorted((self.members[n] for n in names), key=lambda m: m.rank):
            assert member.work
            late = self.round.number - member.work.round
            parts.append(Part(member.name, member.work.seq, member.work.samples / (1 + late)))
        return tuple(parts)

    def _lr(self, parts: tuple[Part, ...]) -> tuple[float, ...]:
        """The median of what the contributions say, group by group."""
        said = [w.lr for p in parts if (w := self.members[p.member].work) and w.lr]
        groups = min(map(len, said), default=0)
        return tuple(median(lr[k] for lr in said) for k in range(groups))

    def _reduce(self, bucket: int, parts: tuple[Part, ...]) -> None:
        assert self.round
        attempt = self.round.attempts.get(bucket, -1) + 1
        self.round.attempts[bucket], self.round.reduced[bucket] = attempt, parts
        to = tuple(s for s, m in self._sessions.items() if m.receiving)
        number = self.round.number
        self._out.append(Reduce(number, bucket, attempt, parts, self._lr(parts), to))

    def _end(self, now: float) -> bool:
        """Close the round if it is over; whether another one may begin at once."""
        assert self.round
        round = self.round
        done = [m for m in self.members.values() if m.work and m.work.metrics is not None]
        names = {m.name for m in done}
        waiting = [self.members[n] for n in round.expected if n not in names]
        if waiting:
            enough = self.settings.quorum * sum(_size(self.members[n]) for n in round.expected)
            reached = sum(_size(m) for m in done if m.name in round.expected)
            if not done or reached < enough or now < self._deadline():
                return False
        elif not done:  # all are gone, or were rejected
            self.round = None
            return bool(self.members)
        parts = self._parts([m.name for m in done])
        for bucket in range(self.buckets):
            if round.reduced.get(bucket) != parts:
                self._reduce(bucket, parts)
        self._closing = tuple(sorted(done, key=lambda m: m.rank))
        self._log(Log(self._snapshot(), round.number, parts, self._lr(parts)))
        return False

    def _deadline(self) -> float:
        assert self.round
        times = sorted(m.seconds for m in self.members.values() if m.seconds is not None)
        usual = times[ceil(0.9 * len(times)) - 1] if times else 0.0
        return self.round.opened + max(self.settings.grace, self.settings.slack * usual)

    def _closed(self, log: Log) -> None:
        assert self.round and self._closing is not None
        round, self.round = self.round, None
        members, self._closing = self._closing, None
        self.version = round.number
        weights = {p.member: p.weight for p in log.parts}
        sums: dict[str, list[tuple[float, float]]] = {}
        for member in members:
            work = member.work
            assert work and work.metrics is not None
            for name, value in work.metrics.items():
                sums.setdefault(name, []).append((weights[member.name], value))
            outcome = "counted" if work.round == round.number else "carried"
            member.committed, member.work, member.share = work.seq, None, None
            self._send(member, Kind.ACK, work.seq, round.number, outcome=outcome, reason="")
        attempts = [round.attempts[b] for b in range(self.buckets)]
        while attempts and not attempts[-1]:
            attempts.pop()
        metrics = {
            name: sum(w * v for w, v in pairs) / sum(w for w, _ in pairs)
            for name, pairs in list(sums.items())[:32]
        }
        for member in self._sessions.values():
            if member.receiving:
                self._send(
                    member, Kind.CLOSED, round=round.number, version=self.version, hash=self.hash,
                    samples=sum(weights.values()), attempts=attempts, metrics=metrics,
                )  # fmt: skip
        for member in members:
            if member.gone:
                self._forget(member)

    def _snapshot(self, defining: dict[str, str] | None = None) -> Snapshot:
        """The state as it is once what is being logged is durable."""
        counted = self._closing or ()
        closing = {m.name: m.work.seq for m in counted if m.work}
        pending = [m.share for m in self.members.values() if m.share and m.name not in closing]
        return Snapshot(
            version=self.round.number if self._closing and self.round else self.version,
            members={
                m.name: (m.rank, closing.get(m.name, m.committed))
                for m in self.members.values()
                if not m.gone
            },
            counted=self.counted | {m.name: closing[m.name] for m in counted if m.gone},
            defined={**self.defined, **(defining or {})},
            cursor=self.cursor,
            leftover=(*pending, *self.leftover),
            banned=tuple(sorted(self.banned)),
        )

    # Effects

    def _send(
        self, member: _Member, kind: Kind, seq: int = 0, round: int = 0, **fields: Any
    ) -> None:
        if member.session is not None:
            self._out.append(Send(member.session, kind, fields, seq, round))

    def _refuse(self, session: Session, reason: str) -> list[Effect]:
        return [Close(session, reason)]

    def _close(self, member: _Member, reason: str) -> None:
        assert member.session is not None
        del self._sessions[member.session]
        self._out.append(Close(member.session, reason))
        member.session, member.ready, member.receiving = None, False, False

    def _log(self, log: Log) -> None:
        self._logging.append(log)
        self._out.append(log)


def _size(member: _Member) -> float:
    return member.share[1] - member.share[0] if member.share else 1.0


def _average(before: float | None, value: float) -> float:
    return value if before is None else 0.7 * before + 0.3 * value


def _product(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
