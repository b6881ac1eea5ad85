"""Accidents of all kinds, in runs that have to come out right; `python -m bench sync --chaos` has many more.

Who only wants to know what follows the death of a hub reads test_recovery.py.
"""

from __future__ import annotations

import asyncio
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.sync.accidents import FORMS, Accident, play
from bench.sync.actors import Actor, hub
from tensorgl.distributed import config
from tensorgl.distributed.client import Client
from tensorgl.distributed.wire import Kind
from tests.distributed.raw import Member, token
from tests.distributed.running import running, together
from tests.distributed.test_recovery import free_port

SAMPLES = 4096


@cache
def undisturbed(form: str) -> str:
    outcome = play(FORMS[form], [])
    assert not outcome.wrong
    return outcome.hash


def check(form: str, *accidents: Accident) -> None:
    """All of them happen, and the run comes to what it comes to without them."""
    outcome = play(FORMS[form], list(accidents))
    assert not outcome.wrong
    assert sorted(outcome.happened) == sorted(accident.kind for accident in accidents)
    if FORMS[form].same:
        assert outcome.hash == undisturbed(form)


@pytest.mark.parametrize(
    "points",
    [
        ("after-begin", "after-bucket"),
        ("before-commit", "after-commit"),
        ("at-answer", "killed", "stopped"),
    ],
)
def test_a_worker_that_dies_anywhere_is_followed_by_another(points: tuple[str, ...]) -> None:
    check("alone", *(Accident(f"worker {point}", 4 * k + 2) for k, point in enumerate(points)))


def test_a_worker_may_die_as_soon_as_it_is_back() -> None:
    check("alone", Accident("worker after-welcome", 2), Accident("frames corrupted", 2))


def test_who_uploads_the_first_parameters_may_die() -> None:
    check("alone", Accident("worker mid-upload", 0))


@pytest.mark.parametrize("kind", ["half-open connection", "slow reader", "forged contributions"])
def test_connections_that_are_not_what_they_seem(kind: str) -> None:
    check("alone", Accident(kind, 3), Accident("hub stopped", 9))


def test_frames_that_are_not_as_they_were_sent() -> None:
    kinds = ["frames replayed", "frames corrupted", "frames reordered", "replayed connection"]
    check("pair", *(Accident(kind, 2 * k + 2, worker=k % 2) for k, kind in enumerate(kinds)))


def test_a_contribution_that_a_hub_lost_leaves_no_trace() -> None:
    """Of its share all begin anew, and what int8 loses of it is not added to what it loses then."""
    points = ["mid-broadcast", "before-log", "after-log"]
    check("pair", *(Accident(f"hub {point}", 3 * k + 1) for k, point in enumerate(points)))


def test_nobody_waits_for_who_is_stopped() -> None:
    check("crowd", Accident("worker stopped", 2, pause_s=0.4), Accident("worker killed", 8))


def test_a_share_that_comes_too_late_is_others(tmp_path: Path) -> None:
    """Of SGD with rate 1, a parameter is how much of its sample counted: a part of it, and once."""
    settings: dict[str, Any] = {"quorum": 0.5, "grace": 0.1, "most_stale": 0, "balanced": False}
    done = threading.Event()

    def give_fast() -> None:
        while not done.is_set():
            _give(fast)

    def give_slow() -> None:
        assert [_give(slow) for _ in range(3)] == ["stale", "counted", "counted"]
        done.set()

    with running(tmp_path, up="raw", down="raw", least_members=2, **settings) as hub:
        fast, slow = hub.client(), hub.client()
        for member in (fast, slow):
            value = {"parameters": [["w", [SAMPLES]]], "buckets": [SAMPLES]}
            member.define_model(value, [np.zeros(SAMPLES, np.float32)])
            member.define("data", {"size": SAMPLES, "batch": 2, "seed": 0})
        options = {"name": "SGD", "options": [{"lr": 1.0}], "groups": [0], "local_steps": 0}
        fast.define("optimizer", options)
        together([lambda: [_give(fast) for _ in range(2)], slow.take])
        together([give_fast, give_slow])
        fast.settle()
        assert fast.view
        np.testing.assert_equal(fast.view.values.min(), -1)
        for member in (fast, slow):
            member.close()


def _give(member: Client) -> str:
    share = member.take().share
    assert share and member.view
    values = np.zeros(len(member.view.values), np.float32)
    values[slice(*share)] = 1
    member.begin(member.view.version, share[1] - share[0], [])
    member.put(values)
    return member.commit()


def test_who_does_not_read_takes_little_memory(tmp_path: Path) -> None:
    """It has itself be sent a megabyte again and again, and takes none of it."""
    most, values = 64 << 20, np.ones(1 << 18, np.float32)
    config.create(tmp_path)
    port = free_port()
    process = Actor(hub, str(tmp_path), port)
    while not process.said:
        time.sleep(0.01)
        process.listen()

    async def call() -> None:
        member = Member(f"ws://127.0.0.1:{port}", token(tmp_path))
        await member.hello()
        before = process.peak
        fields: dict[str, Any] = {"tag": "", "weight": 1, "source": None, "dtype": 1}
        with pytest.raises(OSError):
            for seq in range(1, 400):
                await member.say(Kind.CALL, seq, op="sum", size=len(values), **fields)
                await member.parts(seq, [values])
        assert process.peak - before < 2.5 * most  # queued, on its way, and being computed
        await member.hello()  # the hub is there for who behaves
        await member.close()

    try:
        asyncio.run(call())
    finally:
        process.kill()
