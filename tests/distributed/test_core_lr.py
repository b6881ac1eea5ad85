"""Whose learning rates a hub takes."""

from __future__ import annotations

import pytest

from tensorgl.distributed.core import Core
from tensorgl.distributed.effects import Log, Settings
from tensorgl.distributed.wire import Kind
from tests.distributed.driver import A, B, C, Driver, of


def enter(driver: Driver, name: str) -> None:
    """Have the parameters, and take part from the next round on."""
    driver.hello(name, resumes=name in driver.core.members)
    driver.say(name, Kind.PULL)
    driver.say(name, Kind.READY, version=driver.core.version, busy=False)


def step(driver: Driver, seq: int, **rates: float) -> Log:
    """A round of all members; `rates`: a, b and c."""
    names = {"a": A, "b": B, "c": C}
    number = driver.core.version + 1
    out = []
    for name, rate in rates.items():
        out += driver.contribute(names[name], seq, number, None, lr=[rate])
    return of(out, Log)[0]


def test_who_joins_later_does_not_begin_the_schedule_again() -> None:
    driver = Driver(data=None)
    driver.begun(A)
    assert step(driver, 4, a=0.01).lr == (0.01,)
    enter(driver, B)
    step(driver, 5, a=0.009)  # it was asked for before
    assert step(driver, 6, a=0.008, b=0.1).lr == (0.008,)
    assert step(driver, 7, a=0.007, b=0.09).lr == (0.007,)  # B counted in the round before
    enter(driver, C)
    step(driver, 8, a=0.006, b=0.08)
    log = step(driver, 9, a=0.005, b=0.07, c=0.1)
    assert log.lr == (0.005,)
    kept = log.snapshot
    assert kept.joined == {B: 1, C: 4}
    # It is known after a restart, too.
    driver.core = Core(driver.held, "1" * 32, "raw", driver.now, kept, "0" * 32, 2)
    for name in (A, B, C):
        enter(driver, name)
    assert step(driver, 10, c=0.09, b=0.06, a=0.004).lr == (0.004,)
    driver.say(A, Kind.BYE)
    assert step(driver, 11, b=0.05, c=0.08).lr == (0.05,)


@pytest.mark.parametrize("streaming", [True, False])
def test_members_of_one_time_have_the_median(streaming: bool) -> None:
    driver = Driver(Settings(least_members=3, streaming=streaming), data=None)
    driver.begun(A, B, C)
    assert step(driver, 4, a=0.1, b=0.3, c=1e6).lr == (0.3,)


def test_rules_that_bear_liars_let_no_single_member_decide() -> None:
    driver = Driver(Settings(streaming=False), data=None)
    driver.begun(A)
    step(driver, 4, a=1e6)
    enter(driver, B)
    enter(driver, C)
    step(driver, 5, a=1e6)
    assert step(driver, 6, a=1e6, b=0.1, c=0.1).lr == (0.1,)
