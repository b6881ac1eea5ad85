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

While something is being logged, no round begins or ends: what it is to be followed by is not known yet.
"""

from __future__ import annotations

from typing import Any

from tensorgl.distributed.definitions import digest
from tensorgl.distributed.effects import Close, Discard, Effect, Log, Session, Share
from tensorgl.distributed.members import Contribution, Member
from tensorgl.distributed.messages import LARGEST_INTEGER
from tensorgl.distributed.rounds import Rounds
from tensorgl.distributed.wire import Kind, ProtocolError

__all__ = ["Core", "digest"]


class Core(Rounds):
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
        statistics: whether the model's last bucket is of batch norms.
    """

    # What happens. Each method returns what is to be done, in order.

    def hello(self, session: Session, name: str, resumes: bool, now: float) -> list[Effect]:
        """Somebody with a valid token is there; `resumes`: it has proved that the name is its own.

        Raises:
            ProtocolError: the session is somebody's already.
        """
        if session in self._sessions:
            raise ProtocolError("HELLO comes once")
        member = self.members.get(name)
        if name in self.banned:
            return [Close(session, "locked out: too many contributions were rejected")]
        if not resumes and (member or name in self.counted):
            return [Close(session, "the name of this member is another one's")]
        if member is None:
            if len(self.members) >= self.settings.most_members:
                return [Close(session, "the run is full; try again later")]
            taken = {m.rank for m in self.members.values()}
            rank = next(r for r in range(len(taken) + 1) if r not in taken)
            member = Member(name, rank, now, self.counted.pop(name, 0), self.version)
            self.members[name] = member
        elif member.session is not None:
            self._close(member, "connected again from elsewhere")
        member.session, member.seen, member.gone = session, now, False
        self._sessions[session] = member
        self._send(
            member, Kind.WELCOME, boot=self.boot, rank=member.rank, world=self.world, resume="",
            lease=self.settings.lease, committed=member.committed,
            defined=dict(self.definitions.digests), codec=self.codec, version=self.version,
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
        match kind:
            case Kind.DEFINE:
                self._define(member, seq, fields["part"], fields["value"])
            case Kind.READY:
                self._ready(member, fields["version"], fields["busy"])
            case Kind.PULL:
                self._pull(member)
            case Kind.BEGIN:
                self._begin(member, seq, round, fields, now)
            case Kind.COMMIT:
                self._commit(member, seq, fields["metrics"], now)
            case Kind.CALL:
                members = {m.name: m.rank for m in self.members.values() if not m.gone}
                self._out += self.calls.call(session, member.name, seq, fields, members)
            case Kind.BYE:
                self._close(member, "")
                self._remove(member)
            case Kind.HEARTBEAT:
                return self._flush()
            case _:
                raise ProtocolError(f"{kind.name} is nothing that a member sends")
        return self._done(now)

    def receives(self, session: Session, seq: int) -> bool:
        """Whether arrays of this number are to come in: of a contribution, an upload or a call."""
        member = self._sessions.get(session)
        if member is None:
            return False
        work = member.work
        return bool(
            (work and work.seq == seq and not member.complete)
            or self.definitions.uploader == (member.name, seq)
            or self.calls.wants(member.name, seq)
        )

    def seen(self, session: Session, now: float) -> None:
        """Something came from a member."""
        if session in self._sessions:
            self._sessions[session].seen = now

    def uploading(self, now: float) -> None:
        """Some of the first parameters came."""
        self._upload = self.definitions.uploader, now

    def staged(self, session: Session, seq: int, bucket: int, now: float) -> list[Effect]:
        """A bucket of a contribution, or the array of a call, is there, and sound."""
        member = self._sessions.get(session)
        if member and member.work and member.work.seq == seq:
            member.seen = now
            member.work.staged.add(bucket)
            member.move(1 + len(member.work.staged), now)
            self._stream(bucket)
        elif member:
            self._out += self.calls.staged(member.name, seq)
        return self._flush()

    def rejected(
        self, session: Session, seq: int, reason: str, strike: bool, now: float
    ) -> list[Effect]:
        """A contribution that is not complete is not sound; `strike`: nor may that happen often."""
        member = self._sessions.get(session)
        if member and member.work and member.work.seq == seq and not member.complete:
            self._reject(member, reason, strike)
        return self._done(now)

    def busy(self, session: Session, seq: int, reason: str, now: float) -> list[Effect]:
        """There is no memory for a contribution. The round is held without it."""
        member = self._sessions.get(session)
        if member and member.work and member.work.seq == seq and not member.complete:
            self._dismiss(member)
            self._send(member, Kind.ACK, seq, outcome="stale", reason=reason[:200])
        return self._done(now)

    def unfit(self, session: Session, seq: int, reason: str) -> list[Effect]:
        """There can be no memory for the array of a call, which fails."""
        if member := self._sessions.get(session):
            self._out += self.calls.unfit(member.name, seq, reason)
        return self._flush()

    def gone(self, session: Session, now: float) -> list[Effect]:
        """A connection is lost. Its member may come back while its lease lasts."""
        if session in self._sessions:
            self._disconnect(self._sessions[session])
        return self._done(now)

    def durable(self, hash: str, now: float) -> list[Effect]:
        """The Log is durable; `hash`: of the parameters by now."""
        log, self._logging, self.hash = self._logging, None, hash
        assert log
        if log.definition:
            self._defined(log.definition[0])
        else:
            self._closed(log)
        return self._done(now)

    def combined(self, number: int, payloads: tuple[bytes, ...]) -> list[Effect]:
        """A Combine is done; the payloads of its RESULT frames."""
        self._out += self.calls.combined(number, payloads)
        return self._flush()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        for member in list(self.members.values()):
            if now - member.seen > self.settings.lease and not member.gone:
                if member.session is not None:
                    self._close(member, f"silent for {self.settings.lease:g} s")
                self._remove(member)
        uploader = self.definitions.uploader
        if uploader != self._upload[0]:
            self._upload = uploader, now
        elif uploader and now - self._upload[1] > self.settings.lease:
            self._close(self.members[uploader[0]], "the first parameters do not come; try again")
        return self._done(now)

    def _done(self, now: float) -> list[Effect]:
        """Begin and end what is due; all that is to be done."""
        while self._logging is None and (
            self._log_definition() or (self._end(now) if self.round else self._open(now))
        ):
            pass
        if not self._closing:
            self._tell_waiting()
        return self._flush()

    def _flush(self) -> list[Effect]:
        out, self._out = self._out, []
        return out

    # Definitions

    def _define(self, member: Member, seq: int, part: str, value: dict[str, Any]) -> None:
        asked = self.definitions.uploader
        if self.definitions.propose(member.name, seq, part, value):
            defined = self.definitions.digests[part]
            self._send(member, Kind.DEFINED, part=part, digest=defined)
        self._ask_upload(asked)

    def _ask_upload(self, asked: tuple[str, int] | None) -> None:
        """Ask for the first parameters, if it is not this upload that is still waited for."""
        uploader = self.definitions.uploader
        if uploader == asked:
            return
        if asked:
            self._out.append(Discard(*asked))
        if uploader:
            self._send(self.members[uploader[0]], Kind.UPLOAD, uploader[1])

    def _log_definition(self) -> bool:
        """Log what was proposed; whether there is anything."""
        for part, proposal in self.definitions.proposals.items():
            if proposal.complete:
                snapshot = self._snapshot()
                snapshot.defined[part] = proposal.digest
                self._logging = Log(snapshot, None, definition=(part, proposal.value))
                self._out.append(self._logging)
                return True
        return False

    def _defined(self, part: str) -> None:
        mine = self.definitions.settle(part)
        for member in self._sessions.values():
            self._send(member, Kind.DEFINED, part=part, digest=mine)
        if part == "data" and self.round:
            # Who was asked without a share is asked again, with one.
            for name in list(self.round.expected):
                if not self.members[name].work:
                    self._dismiss(self.members[name])

    # Members

    def _ready(self, member: Member, version: int, busy: bool) -> None:
        if "model" not in self.definitions.digests or version > self.version:
            raise ProtocolError("READY: there are no such parameters")
        if not member.receiving:
            if version != self.version:
                self._pull(member)
                return
            self._receive(member)
        # A version that is not of now is on its way: RESULT and CLOSED come in order.
        member.ready, member.away, member.waits = True, None, True
        if not busy and not member.complete:
            self._dismiss(member)

    def _disconnect(self, member: Member) -> None:
        assert member.session is not None
        del self._sessions[member.session]
        member.session = None
        member.ready = member.receiving = member.pulls = member.waits = False
        asked = self.definitions.uploader
        self.definitions.withdraw(member.name)
        self._ask_upload(asked)

    def _close(self, member: Member, reason: str) -> None:
        assert member.session is not None
        session = member.session
        self._disconnect(member)
        self._out.append(Close(session, reason))

    def _remove(self, member: Member) -> None:
        self._awaited.discard(member.name)
        self._out += self.calls.left(member.name)
        if member.complete:
            member.gone = True  # what it has contributed counts
            return
        self._dismiss(member)
        self._forget(member)

    # Contributions

    def _begin(
        self, member: Member, seq: int, round: int, fields: dict[str, Any], now: float
    ) -> None:
        share = tuple(fields["share"]) if fields["share"] else None
        work = member.work
        if not 1 <= seq <= LARGEST_INTEGER:
            raise ProtocolError("BEGIN: its number is out of bounds")
        if seq <= member.committed:
            self._send(member, Kind.ACK, seq, round, outcome="counted", reason="")
            return
        if work and work.seq != seq:
            raise ProtocolError("BEGIN: the contribution before is not complete")
        if not 1 <= round <= self.version + 1:
            raise ProtocolError(f"BEGIN: round {round} has not begun")
        if member.away:  # so that it is waited for longer
            member.measure(member.away, now)
            member.away = None
        if member.complete:
            return  # it only was not told yet
        if work:  # begun on a connection that is lost
            self._discard(member)
        if not self._asked(member, round, share):
            reason = "others have its share by now"
            self._send(member, Kind.ACK, seq, round, outcome="stale", reason=reason)
            return
        member.work = Contribution(seq, round, fields["samples"], tuple(fields["lr"]))
        member.move(1, now)
        if self._late(member):
            return
        most = share[1] - share[0] if share else self.settings.most_samples
        if fields["samples"] > most:
            self._reject(member, f"of {fields['samples']} samples, where {most} is the most", True)

    def _asked(self, member: Member, round: int, share: Share | None) -> bool:
        """Whether a contribution is one that a member may make. Without data, any is."""
        task = member.task
        if task is None:
            return share is None and self.definitions.data is None
        return share == task.share and (share is None or round <= task.round)

    def _late(self, member: Member) -> bool:
        """Send a contribution back that is too late; whether it is."""
        work, task = member.work, member.task
        assert work
        if self.version + 1 - work.round <= self.settings.most_stale:
            return False
        self._discard(member)
        if task and task.round == work.round:
            self._give_back(member)
        self._send(member, Kind.ACK, work.seq, work.round, outcome="stale", reason="too late")
        return True

    def _commit(self, member: Member, seq: int, metrics: dict[str, float], now: float) -> None:
        member.away = None
        if self.definitions.uploader == (member.name, seq):
            self.definitions.proposals["model"].complete = True
            return
        work = member.work
        if work is None or work.seq != seq or member.complete:
            return  # of a contribution that is over
        if len(work.staged) != self.definitions.buckets:
            raise ProtocolError("COMMIT: parts are missing")
        if not self._late(member):
            work.metrics = metrics
            if member.task:
                member.measure(member.task, now)
                member.task.since = None

    def _reject(self, member: Member, reason: str, strike: bool) -> None:
        assert member.work
        seq = member.work.seq
        self._dismiss(member)
        member.strikes += strike
        self._send(member, Kind.ACK, seq, outcome="rejected", reason=reason[:200])
        if member.strikes >= self.settings.strikes:
            self.banned.add(member.name)
            self._close(member, "locked out: too many contributions were rejected")
            self._remove(member)
