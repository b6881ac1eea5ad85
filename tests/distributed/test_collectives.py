"""Which calls belong together, what they wait for, and who gets what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorgl.distributed import messages
from tensorgl.distributed.collectives import Calls
from tensorgl.distributed.effects import Answer, Combine, Discard, Effect, Part, Send
from tensorgl.distributed.wire import Dtype, Kind, ProtocolError

A, B, C = "a" * 32, "b" * 32, "c" * 32
RANKS = {A: 0, B: 1, C: 2}
SESSIONS = {A: 10, B: 20, C: 30}


def call(
    calls: Calls, name: str, seq: int, op: str = "sum", /, ranks: Any = RANKS, **fields: Any
) -> list[Effect]:
    values = {"op": op, "tag": "", "dtype": 1, "size": 4, "weight": 1, "source": None} | fields
    messages.pack(Kind.CALL, **values)
    return calls.call(SESSIONS[name], name, seq, values, ranks)


def take_part(calls: Calls, name: str, seq: int, op: str = "sum", /, **fields: Any) -> list[Effect]:
    """Call, and send the array."""
    out = call(calls, name, seq, op, **fields)
    return out + calls.staged(name, seq) if calls.wants(name, seq) else out


def errors(effects: list[Effect]) -> dict[int, str]:
    """By session."""
    return {e.session: e.fields["error"] for e in effects if isinstance(e, Send)}


def test_a_sum_waits_for_all_and_is_in_the_order_of_ranks() -> None:
    calls = Calls()
    assert call(calls, C, 7) == []
    assert calls.wants(C, 7) == (4, Dtype.FLOAT32)
    assert calls.staged(C, 7) == []
    assert calls.wants(C, 7) is None
    assert take_part(calls, A, 1, weight=2) == []
    assert call(calls, B, 5) == []  # its array is not there yet
    parts = (Part(A, 1, 2), Part(B, 5, 1), Part(C, 7, 1))
    assert calls.staged(B, 5) == [Combine(1, "sum", Dtype.FLOAT32, 4, parts)]
    out = calls.combined(1, (b"x", b"y"))
    assert {e for e in out if isinstance(e, Discard)} == {
        Discard(A, 1),
        Discard(B, 5),
        Discard(C, 7),
    }
    assert {e.session: e for e in out if isinstance(e, Answer)} == {
        SESSIONS[n]: Answer(SESSIONS[n], seq, Dtype.FLOAT32, (b"x", b"y"), 3)
        for n, seq in ((A, 1), (B, 5), (C, 7))
    }


def test_a_barrier_needs_no_array() -> None:
    calls = Calls()
    for name in (A, B):
        assert call(calls, name, 1, "barrier", size=0) == []
    out = call(calls, C, 1, "barrier", size=0)
    assert [type(e) for e in out] == [Answer] * 3


def test_a_broadcast_is_of_its_source() -> None:
    calls = Calls()
    for name in (A, C):
        assert call(calls, name, 1, "broadcast", source=1) == []
        assert calls.wants(name, 1) is None
    out = take_part(calls, B, 4, "broadcast", source=1)
    assert out == [Combine(1, "broadcast", Dtype.FLOAT32, 4, (Part(B, 4, 1),))]
    out = calls.combined(1, (b"x",))
    assert [e for e in out if isinstance(e, Discard)] == [Discard(B, 4)]
    assert len([e for e in out if isinstance(e, Answer)]) == 3


def test_calls_of_one_kind_go_in_order() -> None:
    """Who is ahead begins the next one, and who is behind takes part in the oldest first."""
    calls = Calls()
    take_part(calls, A, 1)
    take_part(calls, A, 2)
    take_part(calls, B, 1)
    out = take_part(calls, C, 1)
    assert out[-1] == Combine(
        1, "sum", Dtype.FLOAT32, 4, (Part(A, 1, 1), Part(B, 1, 1), Part(C, 1, 1))
    )
    take_part(calls, C, 2)
    parts = (Part(A, 2, 1), Part(B, 2, 1), Part(C, 2, 1))
    assert take_part(calls, B, 2)[-1] == Combine(2, "sum", Dtype.FLOAT32, 4, parts)


def test_operations_and_tags_are_kept_apart() -> None:
    calls = Calls()
    two = {A: 0, B: 1}
    for seq, (op, tag) in enumerate([("sum", "x"), ("sum", "y"), ("max", "x")], 1):
        take_part(calls, A, seq, op, tag=tag, ranks=two)
    for seq, (op, tag) in enumerate([("max", "x"), ("sum", "y"), ("sum", "x")], 1):
        (combine,) = take_part(calls, B, seq, op, tag=tag, ranks=two)
        assert isinstance(combine, Combine)
        assert combine.op == op
        assert combine.parts == (Part(A, 4 - seq, 1), Part(B, seq, 1))


def test_who_joins_later_takes_part_in_the_next_one() -> None:
    calls = Calls()
    two = {A: 0, B: 1}
    take_part(calls, A, 1, ranks=two)
    take_part(calls, C, 1)  # opens another one, of all three
    (first,) = take_part(calls, B, 1)
    assert [p.member for p in first.parts] == [A, B]
    take_part(calls, A, 2)
    (second,) = take_part(calls, B, 2)
    assert [p.member for p in second.parts] == [A, B, C]


def test_who_leaves_is_not_waited_for() -> None:
    calls = Calls()
    take_part(calls, A, 1)
    call(calls, B, 1)  # without its array
    assert calls.left(B) == [Discard(B, 1)]
    (combine,) = calls.left(C)
    assert combine.parts == (Part(A, 1, 1),)
    out = calls.combined(combine.number, (b"x",))
    assert [e.world for e in out if isinstance(e, Answer)] == [1]


def test_what_somebody_gave_before_it_left_counts() -> None:
    calls = Calls()
    take_part(calls, A, 1)
    take_part(calls, B, 1)
    assert calls.left(A) == []
    (combine,) = take_part(calls, C, 1)
    assert [p.member for p in combine.parts] == [A, B, C]
    out = calls.combined(combine.number, (b"x",))
    assert {e.session for e in out if isinstance(e, Answer)} == {SESSIONS[B], SESSIONS[C]}


@pytest.mark.parametrize("other", [{"size": 5}, {"dtype": 2}])
def test_arrays_that_differ_are_an_error_of_all(other: dict[str, int]) -> None:
    calls = Calls()
    take_part(calls, A, 1)
    out = call(calls, B, 1, **other)
    assert errors(out).keys() == {SESSIONS[A], SESSIONS[B]}
    assert "expected 4 elements of float32" in errors(out)[SESSIONS[A]]
    assert Discard(A, 1) in out
    assert calls.wants(B, 1) is None
    assert errors(call(calls, C, 1)).keys() == {SESSIONS[C]}  # as late as it comes
    assert take_part(calls, A, 2) == []  # the next one begins anew


def test_a_broadcast_needs_its_source() -> None:
    calls = Calls()
    call(calls, A, 1, "broadcast", source=2)
    assert errors(calls.left(C)) == {SESSIONS[A]: "broadcast: its source left"}
    two = {A: 0, B: 1}
    assert "left" in errors(call(calls, B, 1, "broadcast", source=2, ranks=two))[SESSIONS[B]]
    out = call(calls, A, 2, "broadcast", source=5)
    assert errors(out) == {SESSIONS[A]: "broadcast: there is no member of rank 5"}


def test_a_call_ends_with_those_who_made_it() -> None:
    """Whatever nobody else will ever call is not kept for good."""
    calls = Calls()
    take_part(calls, A, 1, tag="mine")
    call(calls, A, 2, tag="mine", size=9)
    take_part(calls, A, 3, "broadcast", tag="mine", source=0)
    call(calls, A, 4, "broadcast", tag="fails", source=9)
    call(calls, A, 5, tag="ours")
    call(calls, B, 1, tag="ours", size=9)  # fails, which C is told if it comes
    assert set(calls.left(A)) >= {Discard(A, 1), Discard(A, 2), Discard(A, 3)}
    assert [c.tag for c in calls._calls()] == ["ours"]
    assert not calls.wants(A, 2)
    calls.left(B)
    assert not calls._open
    assert not calls._taken
    out = take_part(calls, C, 1, tag="ours", ranks={C: 2})
    assert [type(e) for e in out] == [Combine]


def test_calls_that_failed_are_open_until_all_know() -> None:
    """Else one could make any number of them."""
    calls = Calls()
    with pytest.raises(ProtocolError, match="open already"):
        for seq in range(1, 1000):
            call(calls, A, seq, "broadcast", tag=str(seq), source=9)
            assert not calls.calling(A, seq)
    assert len(calls._calls()) == 256
    values = {"op": "broadcast", "tag": "1", "dtype": 1, "size": 4, "weight": 1, "source": 9}
    again = calls.call(11, A, 1, values, RANKS)  # the answer was lost with the connection
    assert errors(again) == {11: "broadcast: there is no member of rank 9"}


def test_a_broadcast_goes_on_if_its_source_leaves_after_sending() -> None:
    calls = Calls()
    take_part(calls, C, 1, "broadcast", source=2)
    call(calls, A, 1, "broadcast", source=2)
    calls.left(C)
    (combine,) = call(calls, B, 1, "broadcast", source=2)
    assert combine.parts == (Part(C, 1, 1),)


def test_sources_have_to_agree() -> None:
    calls = Calls()
    call(calls, A, 1, "broadcast", source=2)
    out = call(calls, B, 1, "broadcast", source=0)
    assert set(errors(out).values()) == {"broadcast: members name different sources"}


def test_a_mean_of_no_weight_is_an_error() -> None:
    calls = Calls()
    out = take_part(calls, A, 1, "mean", weight=0, ranks={A: 0})
    assert errors(out) == {SESSIONS[A]: "mean: all weights are 0"}


def test_empty_arrays_are_combined_at_once() -> None:
    calls = Calls()
    (out,) = call(calls, A, 1, size=0, ranks={A: 0})
    assert out == Answer(SESSIONS[A], 1, Dtype.FLOAT32, (), 1)


def test_a_result_may_be_asked_for_again() -> None:
    calls = Calls()
    (combine,) = take_part(calls, A, 1, ranks={A: 0})
    calls.combined(combine.number, (b"x",))
    values = {"op": "sum", "tag": "", "dtype": 1, "size": 4, "weight": 1, "source": None}
    assert calls.call(11, A, 1, values, {A: 0}) == [Answer(11, 1, Dtype.FLOAT32, (b"x",), 1)]


def test_who_lost_the_connection_goes_on_from_where_it_was() -> None:
    calls = Calls()
    values = {"op": "sum", "tag": "", "dtype": 1, "size": 4, "weight": 1, "source": None}
    take_part(calls, A, 1)
    call(calls, B, 1)
    assert calls.call(21, B, 1, values, RANKS) == [Discard(B, 1)]  # its array comes again
    assert calls.wants(B, 1)
    assert calls.call(11, A, 1, values, RANKS) == []  # its array is there
    assert not calls.wants(A, 1)
    calls.staged(B, 1)
    (combine,) = take_part(calls, C, 1)
    out = calls.combined(combine.number, (b"x",))
    assert {e.session for e in out if isinstance(e, Answer)} == {11, 21, SESSIONS[C]}


def test_results_are_kept_in_bounded_memory() -> None:
    calls = Calls(kept_bytes=3000)
    for seq in range(1, 6):
        (combine,) = take_part(calls, A, seq, ranks={A: 0})
        calls.combined(combine.number, (bytes(1000),))
    values = {"op": "sum", "tag": "", "dtype": 1, "size": 4, "weight": 1, "source": None}
    kept = [isinstance(calls.call(11, A, s, values, {A: 0})[0], Answer) for s in range(1, 6)]
    assert kept == [False, False, False, True, True]
    assert "not kept" in errors(calls.call(11, A, 1, values, {A: 0}))[11]


@pytest.mark.parametrize(
    ("op", "fields"),
    [("broadcast", {}), ("sum", {"source": 1}), ("barrier", {"size": 1})],
)
def test_a_call_has_to_make_sense(op: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        call(Calls(), A, 1, op, **fields)


def test_a_member_has_so_many_calls_open() -> None:
    calls = Calls()
    with pytest.raises(ProtocolError, match="open already"):
        for seq in range(1, 1000):
            call(calls, A, seq, tag=str(seq))
    assert seq == 257


NAMES = [f"{k:032x}" for k in range(4)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "stage", "combine", "again", "leave", "join"]),
        st.integers(0, 3),
        st.sampled_from(["sum", "broadcast", "barrier"]),
    ),
    max_size=80,
)


@given(STEPS)
def test_every_call_is_answered_once_and_with_those_who_took_part(
    steps: list[tuple[str, int, str]],
) -> None:
    calls = Calls()
    present = dict.fromkeys(NAMES, 0) | {name: rank for rank, name in enumerate(NAMES)}
    seqs = dict.fromkeys(NAMES, 0)
    sessions = {name: rank for rank, name in enumerate(NAMES)}
    ops: dict[tuple[str, int], dict[str, Any]] = {}
    answered: dict[tuple[str, int], Effect] = {}
    combines: list[Combine] = []
    owner = {session: name for name, session in sessions.items()}

    def take(effects: list[Effect], again: bool = False) -> None:
        for effect in effects:
            if isinstance(effect, Combine):
                combines.append(effect)
                members = [p.member for p in effect.parts]
                assert members == sorted(members)  # here, ranks are in the order of names
                assert all(ops[p.member, p.seq]["op"] == effect.op for p in effect.parts)
            elif isinstance(effect, Send | Answer):
                key = owner[effect.session], effect.seq
                assert again or key not in answered, "answered twice"
                answered[key] = effect

    def step(what: str, name: str, op: str) -> None:
        if what == "call" and name in present and op:
            seqs[name] += 1
            source = min(present.values()) if op == "broadcast" else None
            fields = {
                "op": op, "tag": "", "dtype": 1, "size": 0 if op == "barrier" else 4,
                "weight": 1, "source": source,
            }  # fmt: skip
            ops[name, seqs[name]] = fields
            take(calls.call(sessions[name], name, seqs[name], fields, dict(present)))
        elif what == "stage":
            for seq in range(1, seqs[name] + 1):
                if calls.wants(name, seq):
                    take(calls.staged(name, seq))
                    break
        elif what == "combine" and combines:
            take(calls.combined(combines.pop(0).number, (b"x",)))
        elif what == "again" and name in present and (name, seqs[name]) in ops:
            seq = seqs[name]
            before = answered.get((name, seq))
            take(calls.call(sessions[name], name, seq, ops[name, seq], dict(present)), again=True)
            if isinstance(before, Answer):
                assert answered[name, seq] == before
        elif what == "leave" and name in present and len(present) > 1:
            del present[name]
            take(calls.left(name))
        elif what == "join" and name not in present:
            present[name] = sessions[name]
            seqs[name] += 100  # another life: what it called before is nobody's

    for what, who, op in steps:
        step(what, NAMES[who], op)
    # In the end all call what others wait for, and send what is missing.
    for _ in range(200):
        waiting = [
            key
            for key in ops
            if key not in answered and key[0] in present and key[1] > seqs[key[0]] - 100
        ]
        for name in NAMES:
            for _ in range(20):
                step("stage", name, "")
        step("combine", "", "")
        missing = {(name, c.op) for c in calls._calls() for name in c.expected}
        for name, op in sorted(missing):
            step("call", name, op)
        if not waiting and not missing:
            break
    else:
        raise AssertionError("a call is never answered")
