"""What the core of a hub makes of members that hold others up, and of those that it has no memory for."""

from __future__ import annotations

from typing import Any

from tensorgl.distributed.effects import Close, Discard, Log, Part, Settings
from tensorgl.distributed.wire import Kind
from tests.distributed.driver import A, B, C, Driver, of, sent

# Who holds a round open


def test_who_begins_again_and_again_is_not_waited_for(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    for _ in range(4):
        assert not of(two.tick(9, A, B), Log)
        two.begin(B, 1, 1, (6, 12))
        two.stage(B, 1, 0)
    assert two.core.version == 0
    two.tick(5, A, B)  # 41 s: the deadline, 10 s, and a lease since the bucket came first, 9 s
    assert two.core.version == 1
    assert sent(two.effects, Kind.ACK, 2)[-1].fields["reason"] == "others have its share by now"


def test_who_goes_on_is_waited_for_longer(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.tick(30, A, B)
    two.begin(B, 1, 1, (6, 12))
    two.tick(29, A, B)
    two.stage(B, 1, 0)
    two.tick(29, A, B)
    two.stage(B, 1, 1)
    assert of(two.commit(B, 1), Log)[0].parts == (Part(A, 4, 6.0), Part(B, 1, 6.0))


def test_who_goes_on_in_drops_is_not_waited_for_for_ever() -> None:
    driver = Driver(Settings(lease=30, grace=10, least_members=2))
    driver.begun(A, B)
    driver.core.definitions.buckets = 1000
    driver.begin(A, 4, 1, (0, 6))
    driver.stage(A, 4, *range(1000))
    driver.commit(A, 4)
    driver.begin(B, 1, 1, (6, 12))
    for bucket in range(7):
        assert driver.core.version == 0
        driver.stage(B, 1, bucket)
        driver.tick(23, A, B)
    assert driver.core.version == 1


def test_speed_is_by_the_share_and_not_by_what_is_said(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    for _ in range(3):
        two.tick(20, A, B)
    assert two.core.version == 1
    two.begin(B, 1, 1, (6, 1 << 40), samples=1 << 40)  # which comes too late, and is another's
    assert two.core.members[B].speed == 6 / 60


# What is rejected


def test_norms_alone_lock_nobody_out() -> None:
    driver = Driver(Settings(strikes=2))
    driver.begun(A)
    for seq in range(4, 14):
        driver.begin(A, seq, 1, (0, 12))
        reason = "its norm is 1e9 times the usual one"
        out = driver.take(driver.core.rejected(1, seq, reason, False, driver.now))
        assert sent(out, Kind.ACK)[0].fields == {"outcome": "rejected", "reason": reason}
        assert not of(out, Close)
    assert not driver.core.banned


def test_what_counts_makes_up_for_what_is_rejected() -> None:
    driver = Driver(Settings(strikes=2))
    driver.begun(A)
    seq = 4
    for number in range(1, 5):
        for sound in (False, True):
            seq += 1
            share = driver.core.members[A].task.share  # type: ignore[union-attr]
            if sound:
                driver.contribute(A, seq, number, share)
            else:
                driver.begin(A, seq, number, share)
                driver.take(driver.core.rejected(1, seq, "not finite", True, driver.now))
    assert driver.core.version == 4
    assert not driver.core.banned


# Whom there is no memory for


def test_a_round_is_held_without_whom_there_is_no_memory_for(two: Driver) -> None:
    two.contribute(A, 4, 1, (0, 6))
    two.begin(B, 1, 1, (6, 12))
    out = two.take(two.core.busy(two.sessions[B], 1, "no memory; try again later", two.now))
    assert of(out, Discard)[0] == Discard(B, 1)
    ack = sent(out, Kind.ACK, two.sessions[B])[0]
    assert (ack.seq, ack.fields["outcome"]) == (1, "stale")
    assert of(out, Log)[0].parts == (Part(A, 4, 6.0),)
    assert not of(out, Close)
    asked = {e.session: e.fields for e in sent(out, Kind.ROUND) if e.round == 2}
    assert asked.keys() == {1, 2}
    assert asked[1]["share"][0] == 6  # what was B's comes next
    assert asked[2]["expected"]


def test_all_are_asked_again_if_there_was_memory_for_none(two: Driver) -> None:
    for name, share in ((A, (0, 6)), (B, (6, 12))):
        two.begin(name, 4, 1, share)
        out = two.take(two.core.busy(two.sessions[name], 4, "no memory", two.now))
    asked = [e for e in sent(out, Kind.ROUND) if e.fields["expected"]]
    assert {e.session for e in asked} == {1, 2}
    assert two.core.version == 0


def test_a_call_that_there_cannot_be_memory_for_fails_for_all(two: Driver) -> None:
    two.hello(C)
    fields: dict[str, Any] = {
        "op": "sum",
        "tag": "",
        "dtype": 1,
        "size": 9,
        "weight": 1,
        "source": None,
    }
    two.say(A, Kind.CALL, 7, **fields)
    two.say(B, Kind.CALL, 8, **fields)
    out = two.take(two.core.unfit(two.sessions[B], 8, "too large"))
    errors = {e.session: e.fields["error"] for e in sent(out, Kind.RETURN)}
    assert errors == {1: "sum: too large", 2: "sum: too large"}
    out = two.say(C, Kind.CALL, 2, **fields)
    assert [e.fields["error"] for e in sent(out, Kind.RETURN)] == ["sum: too large"]
    assert not two.core.receives(two.sessions[C], 2)
