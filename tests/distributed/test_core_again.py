"""What the core of a hub makes of what comes twice, late, wrong or after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tensorgl.distributed.core import Core, digest
from tensorgl.distributed.effects import (
    Close,
    Discard,
    Log,
    Part,
    Reduce,
    Settings,
    Snapshot,
)
from tensorgl.distributed.wire import Kind, ProtocolError
from tests.distributed.driver import DATA, MODEL, OPTIMIZER, A, B, C, Driver, of, sent


def test_a_contribution_that_comes_again_counts_once(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(B, 1, 1, (6, 12))
    assert of(two.effects, Log)[-1].parts == (Part(A, 4, 6.0), Part(B, 1, 6.0))
    out = two.contribute(A, 4, 1, (0, 6))
    assert [a.fields["outcome"] for a in sent(out, Kind.ACK)] == ["counted"]
    assert not of(out, Reduce)


def test_a_contribution_begins_again_after_a_lost_connection(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.begin(B, 1, 1, (6, 12))
    first = of(two.stage(B, 1, 0), Reduce)
    two.gone(B)
    two.hello(B, resumes=True)
    out = two.say(B, Kind.READY, version=0, busy=True)
    asked = sent(out, Kind.ROUND, 3)[0].fields
    assert (asked["share"], asked["expected"]) == (None, False)  # it has begun
    assert of(out, Reduce) == [replace(first[0], to=(3,))]  # what it missed
    assert of(two.begin(B, 1, 1, (6, 12)), Discard) == [Discard(B, 1)]
    assert of(two.stage(B, 1, 0), Reduce)[0].attempt == 1
    two.stage(B, 1, 1)
    assert of(two.commit(B, 1), Log)[0].parts == (Part(A, 4, 6.0), Part(B, 1, 6.0))


def test_who_comes_back_is_told_its_share(two: Driver) -> None:
    two.gone(B)
    two.hello(B, resumes=True)
    out = two.say(B, Kind.READY, version=0, busy=True)
    assert sent(out, Kind.ROUND, 3)[0].fields["share"] == [6, 12]


def test_who_comes_back_without_its_work_gives_the_share_back(two: Driver) -> None:
    two.begin(B, 1, 1, (6, 12))
    two.stage(B, 1, 0)
    two.gone(B)
    two.hello(B, resumes=True)
    out = two.say(B, Kind.READY, version=0, busy=False)
    assert of(out, Discard) == [Discard(B, 1)]
    out = two.contribute(A, 4, 1, (0, 6))
    asked = {e.session: e.fields["share"] for e in sent(out, Kind.ROUND)}
    assert asked == {1: [6, 9], 3: [9, 12]}


def test_who_comes_back_is_told_that_there_is_no_round() -> None:
    """So that it sends again what it has for one that is over."""
    driver = Driver(Settings(grace=1, quorum=0.5, least_members=2))
    driver.begun(A, B)
    driver.contribute(A, 4, 1, (0, 6))
    driver.tick(2, A, B)
    driver.say(A, Kind.BYE)
    driver.gone(B)
    driver.hello(B, resumes=True)
    out = driver.say(B, Kind.READY, version=1, busy=True)
    told = sent(out, Kind.ROUND)[0]
    assert (told.round, told.fields["expected"]) == (2, False)
    assert of(driver.contribute(B, 1, 1, (6, 12)), Log)


def test_a_share_of_others_is_stale_and_changes_nothing(two: Driver) -> None:
    out = two.begin(B, 1, 1, (0, 6))
    assert sent(out, Kind.ACK)[0].fields["reason"] == "others have its share by now"
    two.contribute(A, 4, 1, (0, 6))
    assert of(two.contribute(B, 2, 1, (6, 12)), Log)


def test_who_was_not_asked_contributes_nothing(two: Driver) -> None:
    """Or its samples were what it says they are."""
    two.hello(C)
    two.say(C, Kind.PULL)
    two.say(C, Kind.READY, version=0, busy=False)
    out = two.begin(C, 1, 1, None, samples=1000)
    assert sent(out, Kind.ACK)[0].fields["outcome"] == "stale"


@pytest.mark.parametrize(("seq", "round"), [(0, 1), (2**60, 1), (4, 0), (4, 2)])
def test_numbers_have_bounds(two: Driver, seq: int, round: int) -> None:
    with pytest.raises(ProtocolError):
        two.begin(A, seq, round, (0, 6))


def test_one_contribution_at_a_time(two: Driver) -> None:
    two.begin(A, 4, 1, (0, 6))
    with pytest.raises(ProtocolError, match="before"):
        two.begin(A, 5, 1, (0, 6))


def test_a_contribution_is_complete_with_all_its_parts(two: Driver) -> None:
    two.begin(A, 4, 1, (0, 6))
    two.stage(A, 4, 0)
    with pytest.raises(ProtocolError, match="missing"):
        two.commit(A, 4)


def test_rejections_lock_out() -> None:
    driver = Driver(Settings(strikes=2))
    driver.begun(A)
    driver.begin(A, 4, 1, (0, 12))
    out = driver.take(driver.core.rejected(1, 4, "not finite", True, driver.now))
    assert of(out, Discard) == [Discard(A, 4)]
    assert sent(out, Kind.ACK)[0].fields == {"outcome": "rejected", "reason": "not finite"}
    assert sent(out, Kind.ROUND)[-1].fields["share"] == [0, 12]
    out = driver.begin(A, 5, 1, (0, 12), samples=13)
    assert "locked out" in of(out, Close)[0].reason
    assert "locked out" in of(driver.hello(A, resumes=True), Close)[0].reason
    assert driver.core._snapshot().banned == (A,)


def test_what_is_complete_is_not_rejected_any_more(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    assert two.core.rejected(1, 4, "late thought", True, two.now) == []


@pytest.mark.parametrize("kind", [Kind.WELCOME, Kind.ROUND, Kind.ERROR, Kind.SWAP])
def test_hubs_messages_are_not_members(two: Driver, kind: Kind) -> None:
    with pytest.raises(ProtocolError):
        two.say(A, kind)


def test_parameters_wait_for_the_round_that_is_being_logged(two: Driver) -> None:
    """Else they would be those before it, and its update would be missed."""
    two.hello(C)
    two.contribute(A, 4, 1, (0, 6))
    two.begin(B, 1, 1, (6, 12))
    two.stage(B, 1, 0, 1)
    fields = {"digest": "0" * 32, "metrics": {}}
    assert of(two.core.message(2, Kind.COMMIT, 1, 1, fields, 0.0), Log)
    assert two.core.message(3, Kind.PULL, 0, 0, {}, 0.0) == []
    out = two.core.durable("1" * 32, 0.0)
    assert [e.fields["version"] for e in sent(out, Kind.PARAMETERS, 3)] == [1]
    assert not sent(out, Kind.CLOSED, 3)


def test_who_joins_gets_what_there_is_of_the_round(two: Driver) -> None:
    two.begin(A, 4, 1, (0, 6))
    two.begin(B, 1, 1, (6, 12))
    two.stage(A, 4, 0)
    two.stage(B, 1, 0)
    two.hello(C)
    out = two.say(C, Kind.PULL)
    assert sent(out, Kind.PARAMETERS)[0].fields["version"] == 0
    assert [(r.bucket, r.attempt, r.to) for r in of(out, Reduce)] == [(0, 0, (3,))]


def test_who_is_behind_is_sent_the_parameters(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(B, 1, 1, (6, 12))
    two.gone(B)
    two.hello(B, resumes=True)
    out = two.say(B, Kind.READY, version=0, busy=False)
    assert sent(out, Kind.PARAMETERS)[0].fields["version"] == 1
    with pytest.raises(ProtocolError):
        two.say(B, Kind.READY, version=2, busy=False)


# Restart


def restart(driver: Driver) -> Driver:
    log = of(driver.effects, Log)[-1]
    other = Driver(driver.held)
    other.core = Core(driver.held, "1" * 32, "raw", 0.0, log.snapshot, "1" * 32, 2, DATA, 0)
    return other


def test_a_restart_waits_for_the_members_of_before(two: Driver) -> None:
    two.now = 2.0
    two.contribute(A, 4, 1, (0, 6))
    two.now = 4.0
    two.contribute(B, 1, 1, (6, 12))
    before = {e.fields["rank"]: e.session for e in sent(two.effects, Kind.WELCOME)}
    asked = {e.session: e.fields["share"] for e in sent(two.effects, Kind.ROUND) if e.round == 2}
    assert asked == {1: [12, 20], 2: [20, 24]}  # as fast as they were
    other = restart(two)
    welcome = sent(other.hello(B, resumes=True), Kind.WELCOME)[0].fields
    assert (welcome["rank"], welcome["committed"], welcome["version"]) == (1, 1, 1)
    assert before.keys() == {0, 1}
    assert not sent(other.say(B, Kind.READY, version=1, busy=True), Kind.ROUND)
    other.hello(A, resumes=True)
    out = other.say(A, Kind.READY, version=1, busy=True)
    shares = {e.session: e.fields["share"] for e in sent(out, Kind.ROUND)}
    assert shares == {2: [12, 20], 1: [20, 24]}  # so what they have computed meanwhile counts
    assert of(other.hello(A), Close)  # the name is still its own


def test_a_restart_waits_again_for_who_came_back_and_is_lost(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(B, 1, 1, (6, 12))
    other = restart(two)
    other.hello(A, resumes=True)
    other.say(A, Kind.READY, version=1, busy=True)
    other.gone(A)
    other.hello(B, resumes=True)
    assert not sent(other.say(B, Kind.READY, version=1, busy=True), Kind.ROUND)
    other.hello(A, resumes=True)
    out = other.say(A, Kind.READY, version=1, busy=True)
    assert {e.session for e in sent(out, Kind.ROUND) if e.fields["expected"]} == {2, 3}


def test_a_restart_waits_no_longer_than_a_lease(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(B, 1, 1, (6, 12))
    other = restart(two)
    other.hello(A, resumes=True)
    other.say(A, Kind.READY, version=1, busy=False)
    assert sent(other.tick(31, A), Kind.ROUND)


def test_a_restart_does_not_wait_for_ever_for_who_only_says_that_it_is_there(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.contribute(B, 1, 1, (6, 12))
    other = restart(two)
    other.hello(A, resumes=True)
    other.hello(B, resumes=True)
    other.say(A, Kind.READY, version=1, busy=False)
    assert not sent(other.tick(29, A, B), Kind.ROUND)
    assert not sent(other.tick(29, A, B), Kind.ROUND)
    assert sent(other.tick(3, A, B), Kind.ROUND)


def test_late_work_counts_after_a_restart() -> None:
    driver = Driver(Settings(grace=1, quorum=0.5, least_members=2))
    driver.begun(A, B)
    driver.contribute(A, 4, 1, (0, 6))
    driver.tick(2, A, B)
    assert of(driver.effects, Log)[-1].snapshot.tasks == {B: (1, 6, 12)}
    other = restart(driver)
    for name in (A, B):
        other.hello(name, resumes=True)
        other.say(name, Kind.READY, version=1, busy=name == B)
    other.contribute(B, 1, 1, (6, 12))
    out = other.contribute(A, 5, 2, (12, 24))
    assert of(out, Log)[0].parts == (Part(A, 5, 12.0), Part(B, 1, 3.0))


def test_a_snapshot_is_plain_values() -> None:
    driver = Driver()
    driver.begun(A)
    kept = of(driver.contribute(A, 4, 1, (0, 12)), Log)[0].snapshot
    assert kept == Snapshot(
        version=1,
        members={A: (0, 4)},
        defined={"model": digest(MODEL), "optimizer": digest(OPTIMIZER), "data": digest(DATA)},
        cursor=12,
        speeds=kept.speeds,
    )
    assert kept.speeds.keys() == {A}
