"""The core of a hub takes whatever happens, and raises nothing but ProtocolError."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tensorgl.distributed import messages
from tensorgl.distributed.core import Core
from tensorgl.distributed.effects import (
    Answer,
    Close,
    Combine,
    Discard,
    Effect,
    Log,
    Part,
    Reduce,
    Send,
    Settings,
)
from tensorgl.distributed.wire import Kind, ProtocolError
from tests.distributed.driver import DATA, MODEL, OPTIMIZER, A, B, C

SESSIONS = st.integers(1, 5)
SEQS = st.sampled_from([0, 1, 2, 3, 4])
SHARES = st.sampled_from([None, [0, 6], [6, 12], [0, 12], [12, 24], [12, 18]])
NAMES = st.sampled_from([A, B, C])
FIELDS: dict[Kind, st.SearchStrategy[dict[str, Any]]] = {
    Kind.DEFINE: st.sampled_from(
        [
            {"part": "model", "value": MODEL},
            {"part": "model", "value": MODEL | {"buckets": [4]}},
            {"part": "optimizer", "value": OPTIMIZER},
            {"part": "data", "value": DATA},
        ]
    ),
    Kind.READY: st.fixed_dictionaries({"version": st.integers(0, 3), "busy": st.booleans()}),
    Kind.PULL: st.just({}),
    Kind.BEGIN: st.fixed_dictionaries(
        {"samples": st.integers(1, 13), "share": SHARES, "lr": st.sampled_from([[], [0.1]])}
    ),
    Kind.COMMIT: st.just({"digest": "0" * 32, "metrics": {"loss": 1.0}}),
    Kind.CALL: st.fixed_dictionaries(
        {
            "op": st.sampled_from(["sum", "mean", "broadcast", "barrier"]),
            "tag": st.just(""),
            "dtype": st.sampled_from([1, 2]),
            "size": st.sampled_from([0, 3]),
            "weight": st.sampled_from([0, 1]),
            "source": st.sampled_from([None, 0, 1]),
        }
    ),
    Kind.BYE: st.just({}),
    Kind.HEARTBEAT: st.just({}),
    Kind.ROUND: st.just({}),
}
MESSAGES = st.sampled_from(list(FIELDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), FIELDS[kind])
)
EVENTS = st.one_of(
    st.tuples(st.just("hello"), NAMES, st.booleans()),
    st.tuples(st.just("message"), SESSIONS, SEQS, st.integers(0, 3), MESSAGES),
    st.tuples(st.just("whole"), SESSIONS, SEQS, st.integers(0, 3), SHARES),
    st.tuples(st.just("staged"), SESSIONS, SEQS, st.integers(0, 1)),
    st.tuples(st.just("rejected"), SESSIONS, SEQS, st.booleans()),
    st.tuples(st.just("busy"), SESSIONS, SEQS),
    st.tuples(st.just("unfit"), SESSIONS, SEQS),
    st.tuples(st.just("gone"), SESSIONS),
    st.tuples(st.just("tick"), st.sampled_from([0.0, 1.0, 20.0])),
    st.tuples(st.just("durable")),
    st.tuples(st.just("combined")),
)


class Anything:
    """A core that is told anything, and whether what it asks for makes sense."""

    def __init__(self) -> None:
        self.core = Core(
            Settings(lease=30, grace=5, quorum=0.5, most_stale=1), "0" * 32, "raw", 0.0
        )
        self.now, self.sessions = 0.0, 0
        self.logs: list[Log] = []
        self.combines: list[int] = []
        self.counted: set[tuple[str, int]] = set()
        self.trials: dict[int, tuple[int, tuple[Part, ...]]] = {}

    def play(self, event: tuple[Any, ...]) -> None:
        try:
            self.take(getattr(self, "_" + event[0])(*event[1:]))
        except ProtocolError:
            if event[0] in ("message", "whole"):
                self.take(self.core.gone(event[1], self.now))

    def _hello(self, name: str, resumes: bool) -> list[Effect]:
        self.sessions = self.sessions % 5 + 1
        self.take(self.core.gone(self.sessions, self.now))
        return self.core.hello(self.sessions, name, resumes, self.now)

    def _message(self, session: int, seq: int, round: int, message: Any) -> list[Effect]:
        kind, fields = message
        return self.core.message(session, kind, seq, round, fields, self.now)

    def _whole(self, session: int, seq: int, round: int, share: Any) -> list[Effect]:
        fields = {"samples": 6, "share": share, "lr": []}
        self.take(self.core.message(session, Kind.BEGIN, seq, round, fields, self.now))
        for bucket in range(2):
            if self.core.receives(session, seq):
                self.take(self.core.staged(session, seq, bucket, self.now))
        return self._message(
            session, seq, round, (Kind.COMMIT, {"digest": "0" * 32, "metrics": {}})
        )

    def _staged(self, session: int, seq: int, bucket: int) -> list[Effect]:
        if not self.core.receives(session, seq):
            return []
        return self.core.staged(session, seq, bucket, self.now)

    def _rejected(self, session: int, seq: int, strike: bool) -> list[Effect]:
        return self.core.rejected(session, seq, "unsound", strike, self.now)

    def _busy(self, session: int, seq: int) -> list[Effect]:
        return self.core.busy(session, seq, "no memory", self.now)

    def _unfit(self, session: int, seq: int) -> list[Effect]:
        return self.core.unfit(session, seq, "no memory")

    def _gone(self, session: int) -> list[Effect]:
        return self.core.gone(session, self.now)

    def _tick(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.core.tick(self.now)

    def _durable(self) -> list[Effect]:
        return self.core.durable("1" * 32, self.now) if self.logs and self.logs.pop() else []

    def _combined(self) -> list[Effect]:
        return self.core.combined(self.combines.pop(0), (b"12",)) if self.combines else []

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    fields = effect.fields
                    if effect.kind is Kind.WELCOME:
                        fields = fields | {"resume": "0" * 64}
                    messages.pack(effect.kind, seq=effect.seq, round=effect.round, **fields)
                    if effect.kind is Kind.CLOSED:
                        self.trials.clear()
                case Reduce():
                    assert not self.logs, "a trial would be of what is not durable yet"
                    before = self.trials.get(effect.bucket, (-1, ()))
                    assert effect.parts
                    if effect.attempt == before[0]:
                        assert effect.parts == before[1] or not before[1]
                    else:
                        assert effect.attempt == before[0] + 1 or before[0] == -1
                    self.trials[effect.bucket] = effect.attempt, effect.parts
                case Log():
                    assert not self.logs
                    self.logs.append(effect)
                    assert all(
                        self.trials[k][1] == effect.parts for k in range(self.buckets(effect))
                    )
                    for part in effect.parts:
                        assert (part.member, part.seq) not in self.counted, "counted twice"
                        assert part.weight > 0
                        self.counted.add((part.member, part.seq))
                    if effect.round is not None:
                        self.trials = {}
                case Combine():
                    self.combines.append(effect.number)
                case Answer() | Close() | Discard():
                    pass
        ranks = [m.rank for m in self.core.members.values()]
        assert len(ranks) == len(set(ranks))

    def buckets(self, log: Log) -> int:
        return self.core.definitions.buckets if log.round is not None else 0


@given(st.lists(EVENTS, max_size=120), st.booleans())
@settings(max_examples=150)
def test_whatever_happens_nothing_but_a_protocol_error_is_raised(
    events: list[tuple[Any, ...]], defined: bool
) -> None:
    anything = Anything()
    if defined:
        first = {"part": "model", "value": MODEL}
        beginning = [("hello", A, False), ("hello", B, False)]
        beginning += [("message", 1, 1, 0, (Kind.DEFINE, first))]
        beginning += [("message", 1, 1, 0, (Kind.COMMIT, {"digest": "0" * 32, "metrics": {}}))]
        for part, value in (("optimizer", OPTIMIZER), ("data", DATA)):
            message = (Kind.DEFINE, {"part": part, "value": value})
            beginning += [("durable",), ("message", 1, 2, 0, message)]
        beginning += [("durable",)]
        for session in (1, 2):
            beginning += [("message", session, 0, 0, (Kind.PULL, {}))]
            ready = {"version": 0, "busy": False}
            beginning += [("message", session, 0, 0, (Kind.READY, ready))]
        events = beginning + events
    for event in events:
        anything.play(event)
    assert anything.core.version >= 0
