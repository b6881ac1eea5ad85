"""What one member sends does not lock others out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from tensorgl.distributed.wire import Kind
from tests.distributed.raw import gradient, members, serving


def test_who_begins_again_and_again_does_not_say_what_is_usual(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            serving(tmp_path, least_members=2, grace=60.0) as hub,
            members(hub, 2) as (bad, good),
        ):
            for member in (bad, good):
                await member.join()
            for member in (bad, good):
                await member.asked()
            for _ in range(64):
                await bad.say(Kind.BEGIN, 9, 1, samples=1, share=None, lr=[])
                await bad.parts(9, [np.full(3, 1e-15, np.float32)])
            await bad.hello()  # now all of them have been checked
            await bad.ready(busy=True)
            await good.contribute(1, gradient(1))
            await bad.contribute(1, gradient(1), seq=9)
            _, answer = await good.hear(Kind.ACK)
            assert answer["outcome"] == "counted"

    asyncio.run(test())


def test_what_is_far_too_large_is_rejected_without_locking_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, strikes=2) as hub, members(hub, 1) as (member,):
            await member.join()
            for round in range(1, 22):
                assert (await member.asked())[0] == min(round, 18)
                values = gradient(0)
                if round > 17:
                    values[0][:] *= 1e6
                await member.contribute(min(round, 18), values)
                _, answer = await member.hear(Kind.ACK)
                assert answer["outcome"] == ("rejected" if round > 17 else "counted")
                assert round < 18 or "times the usual" in answer["reason"]
            await member.asked()
            await member.contribute(18, gradient(0))
            _, answer = await member.hear(Kind.ACK)
            assert answer["outcome"] == "counted"

    asyncio.run(test())
