"""A hub whose memory does not hold all that its members send at the same time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.distributed.session import PAUSE_S, HubError
from tensorgl.distributed.wire import Codec, Kind
from tests.distributed.raw import LostError, gradient, members, serving
from tests.distributed.running import Trainer, running, together

CONTRIBUTION = 4 * 300_003 + 3 * 512


def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come")


def test_rounds_go_on_with_those_whose_contributions_fit(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            serving(tmp_path, least_members=3, grace=60.0, memory=5 * CONTRIBUTION // 2) as hub,
            members(hub, 3) as crew,
        ):
            for member in crew:
                await member.join()
            for round in range(1, 4):
                for member in crew:
                    await member.asked()
                answers: list[str] = []
                for member in crew:
                    await member.contribute(round, gradient(round, member.number))
                for member in crew:
                    _, fields = await member.hear(Kind.ACK)
                    answers.append(fields["outcome"])
                    if member.number == 2:
                        assert "no memory" in fields["reason"]
                    await member.hear(Kind.CLOSED)
                assert answers == ["counted", "counted", "stale"]
            assert hub.core.version == 3
            assert hub.run.staging.reserved == 0

    asyncio.run(test())


def test_what_never_fits_is_refused_for_good(tmp_path: Path) -> None:
    """The sum of all parameters does, but not with what is beside them."""

    async def test() -> None:
        async with (
            serving(tmp_path, memory=4 * 300_003 + 100) as hub,
            members(hub, 1) as (member,),
        ):
            await member.hello()
            with pytest.raises(LostError, match=r"memory setting is 1200112$"):
                await member.define()

    asyncio.run(test())


def test_members_whose_contributions_are_sent_back_train_on(tmp_path: Path) -> None:
    with running(tmp_path, up="raw", memory=1 << 20, least_members=3) as hub:
        crew = [Trainer(hub.client(), seed=seed) for seed in range(3)]
        x, y = tg.randn(8, 6), tg.randint(0, 3, (8,))
        sizes = hub.hub.run.sizes
        room = 512 * len(sizes) + 4 * sum(sizes)  # of a contribution
        free = 5 * room // 2
        hub.hub.run.staging.open("x" * 32, 1, [((1 << 20) - free) // 4 - 128], Codec.RAW)

        def train(member: Trainer) -> None:
            for _ in range(4):
                member.step(x, y)
            member.client.close()

        together([lambda member=member: train(member) for member in crew])
        assert hub.hub.metrics.get("contributions_total", "stale")
        assert hub.hub.core.version >= 4


def test_a_sum_whose_arrays_do_not_all_fit_fails(tmp_path: Path) -> None:
    with running(tmp_path, memory=1 << 20) as hub:
        clients = [hub.client() for _ in range(3)]
        values = np.ones(120_000, np.float32)

        def reduce(k: int) -> None:
            with pytest.raises(HubError, match=r"sum: .* do not fit the hub's memory"):
                clients[k].finish(clients[k].call("sum", values))

        together([lambda k=k: reduce(k) for k in range(3)])
        few = together([lambda c=c: c.finish(c.call("sum", values[:9])) for c in clients])
        assert all((result == 3).all() for result in few)


def test_a_sum_waits_for_memory_that_contributions_take(tmp_path: Path) -> None:
    """And its member does not knock all the time."""
    with running(tmp_path, memory=1 << 20) as hub:
        client = hub.client()
        staging = hub.hub.run.staging
        staging.open("x" * 32, 1, [200_000], Codec.RAW)
        begun = time.monotonic()
        got: list[np.ndarray] = []
        values = np.ones(100_000, np.float32)
        thread = threading.Thread(
            target=lambda: got.append(client.finish(client.call("sum", values)))
        )
        thread.start()

        def sessions() -> float:
            return hub.hub.metrics.get("sessions_total")

        until(lambda: sessions() >= 4)
        assert sessions() <= 2 + (time.monotonic() - begun) / (PAUSE_S / 2)
        staging.discard("x" * 32, 1)
        thread.join(20)
        assert (got[0] == 1).all()
