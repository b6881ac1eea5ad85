"""What the core of a hub decides, case by case; test_simulation.py has whole runs."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from tensorgl.distributed import wire
from tensorgl.distributed.core import digest
from tensorgl.distributed.effects import (
    Close,
    Discard,
    Log,
    Part,
    Reduce,
    Send,
    Settings,
)
from tensorgl.distributed.wire import Kind, ProtocolError
from tests.distributed.driver import DATA, MODEL, OPTIMIZER, A, B, C, D, Driver, of, sent

STANDARD = (
    "wire", "messages", "effects", "core", "state", "rounds", "members", "shares", "weights",
    "definitions", "collectives",
)  # fmt: skip


@pytest.mark.parametrize("name", STANDARD)
def test_the_core_needs_the_standard_library_only(name: str) -> None:
    tree = ast.parse((Path(wire.__file__).parent / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert all(a.name.split(".")[0] in sys.stdlib_module_names for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            *above, last = module.split(".")
            mine = above == ["tensorgl", "distributed"] and last in STANDARD
            assert mine or module.split(".")[0] in sys.stdlib_module_names, module


# Definitions


def test_the_first_to_define_the_model_uploads_it() -> None:
    driver = Driver()
    driver.hello(A)
    driver.hello(B)
    out = driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    assert [(e.session, e.seq) for e in sent(out, Kind.UPLOAD)] == [(1, 1)]
    assert driver.core.receives(1, 1)
    assert driver.say(B, Kind.DEFINE, 5, part="model", value=MODEL) == []
    out = driver.commit(A, 1)
    assert {e.session for e in sent(out, Kind.DEFINED)} == {1, 2}
    assert of(out, Log)[0].definition == ("model", MODEL)
    assert of(out, Log)[0].snapshot.defined == {"model": digest(MODEL)}


def test_somebody_else_uploads_if_the_first_is_lost() -> None:
    driver = Driver()
    driver.hello(A)
    driver.hello(B)
    driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    driver.say(B, Kind.DEFINE, 5, part="model", value=MODEL)
    out = driver.gone(A)
    assert of(out, Discard) == [Discard(A, 1)]
    assert [(e.session, e.seq) for e in sent(out, Kind.UPLOAD)] == [(2, 5)]
    out = driver.hello(A, resumes=True)
    out += driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    assert not sent(out, Kind.UPLOAD)
    assert of(driver.commit(B, 5), Log)


def test_somebody_else_uploads_if_the_first_only_says_that_it_is_there() -> None:
    driver = Driver(Settings(lease=30))
    driver.hello(A)
    driver.hello(B)
    driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    driver.say(B, Kind.DEFINE, 5, part="model", value=MODEL)
    driver.tick(1, A, B)
    driver.tick(20, A, B)
    driver.core.uploading(driver.now)
    assert not of(driver.tick(29, A, B), Close)
    out = driver.tick(2, A, B)
    assert of(out, Close) == [Close(1, "the first parameters do not come; try again")]
    assert [(e.session, e.seq) for e in sent(out, Kind.UPLOAD)] == [(2, 5)]


def test_defining_again_asks_for_the_upload_again() -> None:
    driver = Driver()
    driver.hello(A)
    driver.hello(B)
    driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    driver.say(B, Kind.DEFINE, 1, part="model", value=MODEL)
    driver.hello(A, resumes=True)  # before its lost connection is noticed
    out = driver.say(A, Kind.DEFINE, 2, part="model", value=MODEL)
    assert driver.core.definitions.uploader == (B, 1)
    assert not sent(out, Kind.UPLOAD)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", MODEL | {"buckets": [3, 2]}),
        ("model", MODEL | {"parameters": []}),
        ("optimizer", OPTIMIZER),  # before the model
    ],
)
def test_a_definition_has_to_make_sense(part: str, value: Any) -> None:
    driver = Driver()
    driver.hello(A)
    with pytest.raises(ProtocolError):
        driver.say(A, Kind.DEFINE, 1, part=part, value=value)


def test_groups_are_those_of_the_buckets(two: Driver) -> None:
    driver = Driver()
    driver.hello(A)
    driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    driver.commit(A, 1)
    for groups in ([0], [0, 1]):
        with pytest.raises(ProtocolError, match="groups"):
            driver.say(A, Kind.DEFINE, 2, part="optimizer", value=OPTIMIZER | {"groups": groups})


def test_all_members_define_the_same(two: Driver) -> None:
    for part, value in (("model", MODEL), ("optimizer", OPTIMIZER), ("data", DATA)):
        out = two.say(B, Kind.DEFINE, 9, part=part, value=value)
        assert [e.fields["part"] for e in sent(out, Kind.DEFINED, 2)] == [part]
    with pytest.raises(ProtocolError, match="another data"):
        two.say(B, Kind.DEFINE, 9, part="data", value=DATA | {"batch": 1})


def test_another_model_is_refused_while_one_is_uploaded() -> None:
    driver = Driver()
    driver.hello(A)
    driver.hello(B)
    driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    with pytest.raises(ProtocolError, match="another model"):
        driver.say(B, Kind.DEFINE, 1, part="model", value=MODEL | {"buckets": [4]})


def test_one_thing_is_logged_at_a_time() -> None:
    driver = Driver()
    driver.hello(A)
    driver.say(A, Kind.DEFINE, 1, part="model", value=MODEL)
    driver.commit(A, 1)
    core, session = driver.core, driver.sessions[A]
    say = {"part": "optimizer", "value": OPTIMIZER}
    first = core.message(session, Kind.DEFINE, 2, 0, say, 0.0)
    second = core.message(session, Kind.DEFINE, 3, 0, {"part": "data", "value": DATA}, 0.0)
    assert len(of(first, Log)) == 1
    assert not of(second, Log)
    third = core.durable("0" * 32, 0.0)
    assert of(third, Log)[0].snapshot.defined.keys() == {"model", "optimizer", "data"}


def test_who_was_asked_before_the_data_was_defined_is_asked_again() -> None:
    driver = Driver(data=None)
    out = driver.begun(A)
    assert sent(out, Kind.ROUND)[-1].fields["share"] is None
    out = driver.say(A, Kind.DEFINE, 3, part="data", value=DATA)
    asked = sent(out, Kind.ROUND)[-1]
    assert (asked.round, asked.fields["share"], asked.fields["expected"]) == (1, [0, 12], True)


# Members


def test_ranks_are_the_lowest_that_are_free() -> None:
    driver = Driver()
    ranks = [sent(driver.hello(n), Kind.WELCOME)[0].fields["rank"] for n in (A, B, C)]
    assert ranks == [0, 1, 2]
    driver.say(B, Kind.BYE)
    assert sent(driver.hello(D), Kind.WELCOME)[0].fields["rank"] == 1
    driver.gone(C)
    assert sent(driver.hello(C, resumes=True), Kind.WELCOME)[0].fields["rank"] == 2


def test_a_name_is_its_owners() -> None:
    driver = Driver()
    driver.hello(A)
    assert of(driver.hello(A), Close)
    out = driver.hello(A, resumes=True)
    assert of(out, Close) == [Close(1, "connected again from elsewhere")]
    assert sent(out, Kind.WELCOME)


def test_a_run_may_be_full() -> None:
    driver = Driver(Settings(most_members=1))
    driver.hello(A)
    assert "full" in of(driver.hello(B), Close)[0].reason


def test_a_session_says_hello_once() -> None:
    driver = Driver()
    driver.hello(A)
    with pytest.raises(ProtocolError):
        driver.core.hello(1, B, False, 0.0)


def test_a_lease_ends(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    assert not of(two.tick(29, A), Log)
    out = two.tick(2, A)
    assert of(out, Close)[0].session == 2
    assert of(out, Log)[0].parts == (Part(A, 4, 6.0),)
    assert two.core.world == 1
    asked = sent(out, Kind.ROUND, 1)[-1]  # the other's share is what comes next
    assert (asked.round, asked.fields["share"]) == (2, [6, 12])


def test_what_a_member_has_contributed_counts_after_it_left(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.say(A, Kind.BYE)
    out = two.contribute(B, 1, 1, (6, 12))
    log = of(out, Log)[0]
    assert log.parts == (Part(A, 4, 6.0), Part(B, 1, 6.0))
    assert log.snapshot.counted == {A: 4}
    assert sent(two.hello(A, resumes=True), Kind.WELCOME)[0].fields["committed"] == 4


def test_the_number_of_who_left_is_kept_whatever_is_logged(two: Driver) -> None:
    """Even if its contribution after that is complete and not part of what is logged."""
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(B, 1, 1, (6, 12))
    core = two.core
    core.message(two.sessions[A], Kind.BEGIN, 5, 2, {"samples": 6, "share": [12, 18], "lr": []}, 0)
    assert core.members[A].committed == 4
    two.stage(A, 5, 0, 1)
    two.commit(A, 5)
    two.say(A, Kind.BYE)
    assert core.members[A].gone
    assert core._snapshot().counted == {A: 4}


# Rounds


def test_a_round(two: Driver) -> None:
    shares = {e.session: e.fields["share"] for e in sent(two.effects, Kind.ROUND)}
    assert shares == {1: [0, 6], 2: [6, 12]}
    two.begin(A, 4, 1, (0, 6), lr=[0.1])
    two.begin(B, 1, 1, (6, 12), lr=[0.3])
    assert not of(two.stage(A, 4, 0), Reduce)
    reduce = of(two.stage(B, 1, 0), Reduce)[0]  # while the other bucket is still computed
    parts = (Part(A, 4, 6.0), Part(B, 1, 6.0))
    assert reduce == Reduce(1, 0, 0, parts, (0.2,), (1, 2))
    two.stage(B, 1, 1)
    assert not of(two.commit(B, 1, loss=2.0), Log)
    assert of(two.stage(A, 4, 1), Reduce)[0].bucket == 1
    out = two.commit(A, 4, loss=1.0)
    log = of(out, Log)[0]
    assert (log.round, log.parts, log.snapshot.version) == (1, parts, 1)
    assert log.snapshot.members == {A: (0, 4), B: (1, 1)}
    acks = sent(out, Kind.ACK)
    assert [(a.session, a.seq, a.fields["outcome"]) for a in acks] == [
        (1, 4, "counted"),
        (2, 1, "counted"),
    ]
    closed = sent(out, Kind.CLOSED)
    assert [c.session for c in closed] == [1, 2]
    assert closed[0].fields["attempts"] == []
    assert closed[0].fields["metrics"] == {"loss": 1.5}
    assert [e.round for e in sent(out, Kind.ROUND)] == [2, 2]
    kinds = [type(e) if not isinstance(e, Send) else e.kind for e in out]
    assert kinds.index(Log) < kinds.index(Kind.ACK) < kinds.index(Kind.CLOSED)


def test_nobody_is_told_before_it_is_durable(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.begin(B, 1, 1, (6, 12))
    two.stage(B, 1, 0, 1)
    fields = {"digest": "0" * 32, "metrics": {}}
    out = two.core.message(2, Kind.COMMIT, 1, 1, fields, 0.0)
    assert [type(e) for e in out] == [Log]
    assert two.core.tick(5.0) == []
    assert sent(two.core.durable("1" * 32, 6.0), Kind.CLOSED)


def test_a_deadline_needs_a_quorum() -> None:
    driver = Driver(Settings(grace=10, quorum=0.75, least_members=4))
    driver.begun(A, B, C, D)
    for seq, (name, share) in enumerate([(A, (0, 3)), (B, (3, 6))]):
        driver.contribute(name, 10 + seq, 1, share)
    assert not of(driver.tick(11, A, B, C, D), Log)  # half of the samples
    assert not of(driver.contribute(C, 10, 1, (6, 9)), Log)  # it has shown that it takes 11 s
    assert of(driver.tick(3, A, B, C, D), Log)[0].parts == tuple(
        Part(name, seq, 3.0) for name, seq in ((A, 10), (B, 11), (C, 10))
    )


def test_a_round_waits_for_all_until_the_deadline() -> None:
    driver = Driver(Settings(grace=10, quorum=0.5, least_members=2))
    driver.begun(A, B)
    driver.contribute(A, 4, 1, (0, 6))
    assert not of(driver.tick(9.9, A, B), Log)
    assert of(driver.tick(0.2, A, B), Log)


def test_late_work_counts_less_and_too_late_work_not_at_all() -> None:
    driver = Driver(Settings(grace=1, quorum=0.5, least_members=2, most_stale=2))
    driver.begun(A, B)
    for number, share in ((1, (0, 6)), (2, (12, 24))):
        driver.contribute(A, 3 + number, number, share)
        driver.tick(2, A, B)
    assert driver.core.version == 2
    driver.contribute(B, 1, 1, (6, 12))
    out = driver.contribute(A, 6, 3, (24, 36))
    assert of(out, Log)[0].parts == (Part(A, 6, 12.0), Part(B, 1, 6 / 3))
    outcomes = {a.session: a.fields["outcome"] for a in sent(out, Kind.ACK)}
    assert outcomes == {1: "counted", 2: "carried"}


@pytest.mark.parametrize("begins_early", [True, False])
def test_work_may_be_too_late(begins_early: bool) -> None:
    driver = Driver(Settings(grace=1, quorum=0.5, least_members=2, most_stale=1))
    driver.begun(A, B)
    if begins_early:
        driver.begin(B, 1, 1, (6, 12))
        driver.stage(B, 1, 0, 1)
    for number, share in ((1, (0, 6)), (2, (12, 24))):
        driver.contribute(A, 3 + number, number, share)
        driver.tick(2, A, B)
    out = driver.commit(B, 1) if begins_early else driver.begin(B, 1, 1, (6, 12))
    ack = sent(out, Kind.ACK, 2)[0].fields
    assert (ack["outcome"], ack["reason"]) == ("stale", "too late")
    assert of(out, Discard) == [Discard(B, 1)]
    assert not driver.core.receives(driver.sessions[B], 1)
    assert list(driver.core.shares.leftover) == [(6, 12)]


def test_late_work_makes_buckets_be_reduced_again() -> None:
    driver = Driver(Settings(grace=1, quorum=0.5, least_members=2))
    driver.begun(A, B)
    driver.contribute(A, 4, 1, (0, 6))
    driver.tick(2, A, B)
    driver.begin(A, 5, 2, (12, 24))
    assert of(driver.stage(A, 5, 0), Reduce)[0].attempt == 0
    driver.contribute(B, 1, 1, (6, 12))
    out = driver.stage(A, 5, 1)
    assert of(out, Reduce)[0].parts == (Part(A, 5, 12.0), Part(B, 1, 3.0))
    out = driver.commit(A, 5)
    again = of(out, Reduce)[0]
    assert (again.bucket, again.attempt) == (0, 1)
    assert sent(out, Kind.CLOSED)[0].fields["attempts"] == [1]


def test_late_work_counts_although_nobody_else_is_left() -> None:
    driver = Driver(Settings(grace=1, quorum=0.5, least_members=2))
    driver.begun(A, B)
    driver.contribute(A, 4, 1, (0, 6))
    driver.tick(2, A, B)
    driver.say(A, Kind.BYE)
    out = driver.contribute(B, 1, 1, (6, 12))
    assert of(out, Log)[0].parts == (Part(B, 1, 3.0),)
    assert sent(out, Kind.ROUND, 2)[-1].fields["share"] == [12, 24]


def test_a_round_that_nobody_is_left_in_begins_anew(two: Driver) -> None:
    two.begin(A, 4, 1, (0, 6))
    two.begin(B, 1, 1, (6, 12))
    two.stage(A, 4, 0)
    two.stage(B, 1, 0)  # reduced: attempt 0
    two.gone(A)
    two.gone(B)
    two.tick(31)
    two.hello(C)
    two.say(C, Kind.PULL)
    out = two.say(C, Kind.READY, version=0, busy=False)
    assert sent(out, Kind.ROUND)[-1].round == 1
    seen: list[Reduce] = []
    for number, share in ((1, (0, 12)), (2, (12, 24))):  # what two had is one's now
        seen += of(two.contribute(C, number, number, share), Reduce)
    assert [(r.round, r.bucket, r.attempt) for r in seen] == [
        (1, 0, 1),  # never two attempts of one number
        (1, 1, 0),
        (2, 0, 0),
        (2, 1, 0),
    ]


def test_rules_that_compare_contributions_get_them_at_the_end() -> None:
    driver = Driver(Settings(least_members=2, streaming=False))
    driver.begun(A, B)
    assert not of(driver.contribute(A, 4, 1, (0, 6)), Reduce)
    driver.begin(B, 1, 1, (6, 12))
    assert not of(driver.stage(B, 1, 0, 1), Reduce)
    assert [r.bucket for r in of(driver.commit(B, 1), Reduce)] == [0, 1]


def test_a_run_may_wait_for_members() -> None:
    driver = Driver(Settings(least_members=2))
    assert not sent(driver.begun(A), Kind.ROUND)
    driver.hello(B)
    driver.say(B, Kind.PULL)
    assert len(sent(driver.say(B, Kind.READY, version=0, busy=False), Kind.ROUND)) == 2


def test_rounds_may_have_no_data() -> None:
    driver = Driver(Settings(most_samples=100), data=None)
    driver.begun(A)
    out = driver.contribute(A, 4, 1, None, samples=7)
    assert of(out, Log)[0].parts == (Part(A, 4, 7.0),)
    out = driver.begin(A, 5, 2, None, samples=101)
    assert sent(out, Kind.ACK)[0].fields["outcome"] == "rejected"


def test_who_does_nothing_is_not_waited_for_longer_than_a_lease(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    assert not of(two.tick(11, A, B), Log)  # past the deadline, without a quorum
    for _ in range(3):
        two.tick(10, A, B)
    assert two.core.version == 1
    assert list(two.core.round.expected) == [A] if two.core.round else False
    two.contribute(A, 5, 2, (6, 12))
    assert two.core.version == 2
    out = two.begin(B, 1, 1, (6, 12))
    assert sent(out, Kind.ACK, 2)[0].fields["reason"] == "others have its share by now"
    out = two.contribute(A, 6, 3, (12, 24))
    assert B in (two.core.round.expected if two.core.round else {})
    assert sent(out, Kind.ROUND, 2)[-1].fields["expected"]


@pytest.mark.parametrize("begun", [True, False])
def test_who_lost_the_connection_is_waited_for_a_few_seconds(two: Driver, begun: bool) -> None:
    if begun:
        two.begin(B, 1, 1, (6, 12))
        two.stage(B, 1, 0)
    two.contribute(A, 4, 1, (0, 6))
    two.gone(B)
    assert not of(two.tick(4.9, A), Log)
    assert of(two.tick(0.2, A), Log)[0].parts == (Part(A, 4, 6.0),)
    two.contribute(A, 5, 2, (6, 12))  # what was B's
    assert two.core.version == 2
    two.hello(B, resumes=True)
    out = two.begin(B, 1, 1, (6, 12))
    assert sent(out, Kind.ACK)[0].fields["reason"] == "others have its share by now"
    two.say(B, Kind.READY, version=2, busy=False)
    two.contribute(A, 6, 3, (12, 24))
    assert B in (two.core.round.expected if two.core.round else {})


def test_who_is_alone_may_take_its_time() -> None:
    driver = Driver()
    driver.begun(A)
    for _ in range(100):
        driver.tick(10, A)
    assert of(driver.contribute(A, 4, 1, (0, 12)), Log)


def test_shares_follow_speed_but_nobody_is_left_out() -> None:
    driver = Driver(Settings(grace=100, least_members=2))
    driver.begun(A, B)
    for number in range(1, 9):
        assert driver.core.round
        tasks = {n: m.task.share for n, m in driver.core.members.items() if m.task}
        assert tasks[A] and tasks[B]
        driver.now += 0.01
        driver.contribute(A, 10 + number, number, tasks[A])
        driver.now += 60.0
        driver.contribute(B, 10 + number, number, tasks[B])
    assert tasks[A] == (84, 95) and tasks[B] == (95, 96)


def test_who_was_slow_once_gets_more_again() -> None:
    """Even if a contribution takes the same time whatever its size, so that little seems slow."""
    driver = Driver(
        Settings(grace=100, least_members=2), data=DATA | {"size": 10**6, "batch": 1000}
    )
    driver.begun(A, B)
    lengths: list[list[int]] = []
    for number in range(1, 60):
        tasks = {n: m.task.share for n, m in driver.core.members.items() if m.task}
        lengths.append([stop - start for start, stop in filter(None, tasks.values())])
        driver.now += 1.0
        driver.contribute(A, 10 + number, number, tasks[A])
        driver.now += 20.0 if number == 1 else 0.0
        driver.contribute(B, 10 + number, number, tasks[B])
    assert lengths[0] == [500, 500]
    assert lengths[1][1] < 150
    assert lengths[-1][1] > 250
