"""Operations of all members on arrays of theirs: sum, mean, max, min, broadcast, barrier.

Calls of members with equal operation and tag belong together. A call waits for everybody who is a
member when the first one makes it, and for nobody who leaves meanwhile; who becomes a member later
has a part in the next one. Once all who have made it have left, it is forgotten. Nothing here outlives
the hub: members notice its restart (WELCOME.boot), and their calls fail.

Methods are told what happened and return what is to be done, as those of core.py, which holds this.
It knows neither sockets nor arrays. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorgl.distributed.effects import Answer, Combine, Discard, Effect, Part, Send, Session
from tensorgl.distributed.messages import LARGEST_INTEGER, MOST_CALLS
from tensorgl.distributed.wire import Dtype, Kind, ProtocolError

__all__ = ["Calls"]


@dataclass(slots=True)
class _Taker:
    """A member that has taken part."""

    session: Session | None  # None: it left; what it gave counts
    rank: int
    seq: int
    weight: float
    whole: bool  # its array is there, or none is due
    told: bool = False  # that the call has failed


@dataclass(slots=True)
class _Call:
    number: int
    op: str
    tag: str
    dtype: Dtype
    size: int
    source: str | None  # of a broadcast
    expected: set[str]  # who has not taken part
    takers: dict[str, _Taker] = field(default_factory=dict[str, _Taker])
    error: str = ""
    combining: bool = False
    world: int = 0  # how many took part
    payloads: tuple[bytes, ...] | None = None  # the result, once it is there

    def arrays(self) -> list[tuple[str, int]]:
        """Whose arrays, and under which numbers, may be there."""
        takers = self.takers.items()
        return [(n, t.seq) for n, t in takers if self.size and self.source in (None, n)]


class Calls:
    """The collective operations of a run.

    Args:
        kept_bytes: of results that are over and may be asked for again by who lost the connection.
    """

    def __init__(self, kept_bytes: int = 32 << 20) -> None:
        self.kept_bytes = kept_bytes
        self._open: dict[tuple[str, str], list[_Call]] = {}  # the oldest first
        self._taken: dict[str, dict[int, _Call]] = {}  # by member and seq, those that are open
        self._over: list[_Call] = []
        self._last: dict[str, int] = {}  # the highest seq of each member
        self._number = 0

    def call(
        self,
        session: Session,
        name: str,
        seq: int,
        fields: Mapping[str, Any],
        members: Mapping[str, int],
    ) -> list[Effect]:
        """A member takes part in an operation; `members`: all there are, itself too, with their ranks.

        Raises:
            ProtocolError: no member sends this now.
        """
        if seq <= self._last.get(name, 0) or self._find(name, seq)[0]:
            return self._again(session, name, seq)
        op, size, dtype = fields["op"], fields["size"], Dtype(fields["dtype"])
        if (op == "broadcast") != (fields["source"] is not None):
            raise ProtocolError("CALL: a broadcast has a source, nothing else has")
        if op == "barrier" and size:
            raise ProtocolError("CALL: a barrier has no elements")
        if not 1 <= seq <= LARGEST_INTEGER:
            raise ProtocolError("CALL: its number is out of bounds")
        if len(self._taken.get(name, ())) >= MOST_CALLS:
            raise ProtocolError(f"CALL: {MOST_CALLS} are open already")
        self._last[name] = seq
        tag = fields["tag"]
        calls = self._open.setdefault((op, tag), [])
        call = next((c for c in calls if name in c.expected), None)
        if call is None:
            self._number += 1
            source = next((n for n, rank in members.items() if rank == fields["source"]), None)
            call = _Call(self._number, op, tag, dtype, size, source, set(members))
            calls.append(call)
            if op == "broadcast" and source is None:
                call.error = f"broadcast: there is no member of rank {fields['source']}"
        call.expected.discard(name)
        needed = size > 0 and (op != "broadcast" or name == call.source)
        call.takers[name] = _Taker(session, members[name], seq, fields["weight"], not needed)
        self._taken.setdefault(name, {})[seq] = call
        if not call.error:
            if (dtype, size) != (call.dtype, call.size):
                call.error = (
                    f"{op}: expected {call.size} elements of {call.dtype.name.lower()} as another member "
                    f"has, given {size} of {dtype.name.lower()}"
                )
            elif call.source is not None and members.get(call.source) != fields["source"]:
                call.error = f"{op}: members name different sources"
        return self._go_on(call)

    def wants(self, name: str, seq: int) -> tuple[int, Dtype] | None:
        """How many elements of which type are to come in under this number, if any."""
        call, taker = self._find(name, seq)
        due = call and taker and not (call.error or taker.whole)
        return (call.size, call.dtype) if call and due else None

    def staged(self, name: str, seq: int) -> list[Effect]:
        """The array of a call is there."""
        call, taker = self._find(name, seq)
        if not call or not taker or call.error:
            return []
        taker.whole = True
        return self._go_on(call)

    def unfit(self, name: str, seq: int, error: str) -> list[Effect]:
        """There can be no memory for the array of a member's call, which fails."""
        call, _ = self._find(name, seq)
        if call is None:
            return []
        call.error = f"{call.op}: {error}"
        return self._go_on(call)

    def combined(self, number: int, payloads: tuple[bytes, ...]) -> list[Effect]:
        """A Combine is done; the payloads of its RESULT frames."""
        call = next(c for c in self._calls() if c.number == number)
        call.payloads = payloads
        return self._finish(call)

    def left(self, name: str) -> list[Effect]:
        """Somebody is a member no more. What it gave as a whole counts."""
        self._last.pop(name, None)
        out: list[Effect] = []
        for call in list(self._calls()):
            taker = call.takers.get(name)
            if taker:
                taker.session = None
                if not taker.whole:
                    del call.takers[name]
                    self._forget(name, taker.seq)
                    out.append(Discard(name, taker.seq))
            elif name not in call.expected:
                continue
            call.expected.discard(name)
            if not call.combining and all(t.session is None for t in call.takers.values()):
                out += [Discard(*key) for key in call.arrays()]
                self._remove(call)
                continue
            if name == call.source and not (taker and taker.whole):
                call.error = call.error or "broadcast: its source left"
            out += self._go_on(call)
        return out

    def _calls(self) -> list[_Call]:
        return [call for calls in self._open.values() for call in calls]

    def calling(self, name: str, seq: int) -> bool:
        """Whether a member's call of this number is not answered yet."""
        call, _ = self._find(name, seq)
        return call is not None and not call.error

    def _find(self, name: str, seq: int) -> tuple[_Call | None, _Taker | None]:
        call = self._taken.get(name, {}).get(seq)
        return call, call.takers[name] if call else None

    def _again(self, session: Session, name: str, seq: int) -> list[Effect]:
        """Somebody lost the connection, and calls again."""
        call, taker = self._find(name, seq)
        if call and taker:
            taker.session = session
            if call.error:
                return [_answer(call, taker)]
            return [] if taker.whole else [Discard(name, seq)]
        for call in self._over:
            taker = call.takers.get(name)
            if taker and taker.seq == seq:
                taker.session = session
                return [_answer(call, taker)]
        reason = "the result of this call is not kept any more"
        return [Send(session, Kind.RETURN, {"error": reason, "world": 0}, seq)]

    def _go_on(self, call: _Call) -> list[Effect]:
        """What is due after a call has changed."""
        if call.error:
            return self._fail(call)
        if call.combining or call.expected or not all(t.whole for t in call.takers.values()):
            return []
        takers = sorted(call.takers.items(), key=lambda item: item[1].rank)
        if call.op == "mean" and not sum(taker.weight for _, taker in takers):
            call.error = "mean: all weights are 0"
            return self._fail(call)
        call.combining, call.world = True, len(takers)
        if call.size == 0 or not takers:
            call.payloads = ()
            return self._finish(call)
        parts = tuple(
            Part(name, taker.seq, taker.weight)
            for name, taker in takers
            if call.source in (None, name)
        )
        return [Combine(call.number, call.op, call.dtype, call.size, parts)]

    def _fail(self, call: _Call) -> list[Effect]:
        """Tell those who have taken part; who is still expected will be told when it comes."""
        out: list[Effect] = []
        for name, taker in call.takers.items():
            if taker.told:
                continue
            taker.told = True
            out.append(Discard(name, taker.seq))
            if taker.session is not None:
                out.append(_answer(call, taker))
        if not call.expected:
            self._remove(call)
        return out

    def _finish(self, call: _Call) -> list[Effect]:
        self._remove(call)
        out: list[Effect] = []
        out += [Discard(*key) for key in call.arrays()]
        for taker in call.takers.values():
            if taker.session is not None:
                out.append(_answer(call, taker))
        self._over.append(call)
        kept = sum(map(_bytes, self._over))
        while kept > self.kept_bytes:
            kept -= _bytes(self._over.pop(0))
        return out

    def _remove(self, call: _Call) -> None:
        calls = self._open[call.op, call.tag]
        calls.remove(call)
        if not calls:
            del self._open[call.op, call.tag]
        for name, taker in call.takers.items():
            self._forget(name, taker.seq)

    def _forget(self, name: str, seq: int) -> None:
        del self._taken[name][seq]
        if not self._taken[name]:
            del self._taken[name]


def _bytes(call: _Call) -> int:
    """What a call takes that is over; about 300 for each taker."""
    return sum(map(len, call.payloads or ())) + 300 * len(call.takers)


def _answer(call: _Call, taker: _Taker) -> Effect:
    assert taker.session is not None
    if call.error:
        fields = {"error": call.error[:200], "world": call.world}
        return Send(taker.session, Kind.RETURN, fields, taker.seq)
    assert call.payloads is not None
    return Answer(taker.session, taker.seq, call.dtype, call.payloads, call.world)
