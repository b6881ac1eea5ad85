"""Runs in which connections break, members freeze, leave and join, and the hub crashes at any point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorgl.distributed.effects import Settings, Share
from tests.distributed.simulator import Faults, World, logged, snapshot

HELD = Settings(lease=3.0, grace=1.0, most_stale=4)
DATA = {"size": 1000, "batch": 64, "seed": 0}


def run(world: World, rounds: int = 25, calm: bool = True) -> None:
    """Until so many rounds are over, and nothing goes wrong any more; then the last messages come."""
    world.run(lambda: len(world.hub.views) > rounds and world.now > world.faults.until)
    assert len(world.hub.views) > rounds, "the run stands still"
    if calm:
        world.run(lambda: False, world.now + 3 * world.settings.lease)


def check(world: World) -> None:
    """What holds after any run."""
    counts = logged(world)
    rounds = [log.round for log, _ in world.hub.disk if log.round]
    assert rounds == list(range(1, len(rounds) + 1))
    names = [(part.member, part.seq) for _, part in counts]
    assert len(names) == len(set(names)), "a contribution counted twice"
    late = {}
    for number, part in counts:
        job = world.contributions[part.member, part.seq]
        late[part.member, part.seq] = number - job.round
        assert 0 <= number - job.round <= world.settings.most_stale
        assert part.weight == job.samples / (1 + number - job.round)
    for name, outcome in world.acknowledged.items():
        assert (name in late) == (outcome in ("counted", "carried")), "it was told otherwise"
        if outcome == "carried":
            assert late[name] > 0
    for member in world.alive:
        if member.version >= 0:
            assert member.view == world.hub.views[member.version]
    if world.data:
        check_shares(world)


def check_shares(world: World) -> None:
    """Each sample that was given out is counted once, or waits for being counted."""
    known = snapshot(world)
    shares: list[Share] = [*known.leftover, *((a, b) for _, a, b in known.tasks.values())]
    for _, part in logged(world):
        share = world.contributions[part.member, part.seq].share
        assert share
        shares.append(share)
    at = 0
    for start, stop in sorted(shares):
        assert start == at < stop, "samples are lost, or counted twice"
        at = stop
    assert at == known.cursor


RATES = st.sampled_from([0.0, 0.02, 0.1])
FAULTS = st.builds(
    Faults,
    lose=st.sampled_from([0.0, 0.05, 0.3]),
    freeze=RATES,
    stall=RATES,
    leave=RATES,
    vanish=RATES,
    crash=st.lists(st.integers(1, 2500), max_size=8).map(tuple),
    spread=st.sampled_from([0.1, 1.0]),
    until=st.just(40.0),
)


@given(
    seed=st.integers(0, 2**32),
    members=st.integers(1, 6),
    faults=FAULTS,
    data=st.sampled_from([DATA, None]),
    steps=st.sampled_from([0, 3]),
    streaming=st.booleans(),
)
@settings(max_examples=60)
def test_nothing_is_lost_and_nothing_counts_twice(
    seed: int,
    members: int,
    faults: Faults,
    data: dict[str, int] | None,
    steps: int,
    streaming: bool,
) -> None:
    held = Settings(lease=3.0, grace=1.0, most_stale=4, streaming=streaming)
    world = World(seed, members, held, faults, data, steps)
    run(world)
    check(world)


@given(effect=st.integers(1, 400), again=st.integers(1, 60), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_a_hub_may_crash_at_every_effect(effect: int, again: int, seed: int) -> None:
    faults = Faults(crash=(effect, effect + again), until=0.0)
    world = World(seed, 3, HELD, faults, DATA)
    world.run(lambda: world.hub.boots == 3)
    run(world, rounds=len(world.hub.views) + 3)
    check(world)


@given(seed=st.integers(0, 2**32), members=st.integers(1, 6))
@settings(max_examples=10)
def test_an_epoch_counts_each_sample_once(seed: int, members: int) -> None:
    data = {"size": 1001, "batch": 64, "seed": 0}
    world = World(seed, members, Settings(), Faults(until=0.0), data)
    run(world, rounds=40)
    check(world)
    epoch = -(-1001 // 64)  # rounds, of which the last one is of what remains
    sums = [0.0] * len(world.hub.views)
    for number, part in logged(world):
        sums[number] += part.weight
    assert sums[1 : epoch + 1] == [64.0] * (epoch - 1) + [1001 - 64.0 * (epoch - 1)]
    assert sums[epoch + 1] == 64
    assert set(world.acknowledged.values()) == {"counted"}


def test_work_in_hand_survives_a_restart() -> None:
    """Members compute while the hub is away; what they send then is what the new hub asks for."""
    world = World(5, 4, Settings(lease=30.0), Faults(crash=(300,), until=0.0), DATA)
    run(world, rounds=20)
    check(world)
    assert world.hub.boots == 2
    assert set(world.acknowledged.values()) == {"counted"}
    assert not snapshot(world).leftover


def test_slow_members_contribute_late_with_less_weight() -> None:
    world = World(2, 8, Settings(grace=0.5, quorum=0.5), Faults(spread=1.5, until=0.0), DATA)
    run(world, rounds=60)
    check(world)
    assert "carried" in world.acknowledged.values()


def test_the_same_seed_gives_the_same_run() -> None:
    def play() -> list[tuple[int, str]]:
        faults = Faults(lose=0.1, vanish=0.02, crash=(500,), until=30.0)
        world = World(11, 5, HELD, faults, DATA)
        run(world)
        return [(log.round or 0, hash) for log, hash in world.hub.disk]

    assert play() == play()


@pytest.mark.parametrize("fault", ["stall", "freeze"])
def test_the_run_goes_on_without_somebody_who_does_nothing(fault: str) -> None:
    """With and without a connection that lives: half of the samples are its, so there is no quorum."""
    world = World(3, 2, HELD, Faults(until=0.0), DATA)
    world.run(lambda: len(world.hub.views) > 5)
    idle = world.members[1]
    if fault == "stall":
        idle.stalled = 1e9
    else:
        idle.frozen = 1e9
    version = len(world.hub.views)
    world.run(lambda: len(world.hub.views) > version + 10, world.now + 200)
    assert len(world.hub.views) > version + 10
    check(world)
