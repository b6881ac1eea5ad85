"""A hub over real sockets and files: plain runs, and what it survives."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorgl.distributed.connection import _Allowance
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.messages import pack
from tensorgl.distributed.wire import Kind
from tests.distributed.raw import (
    MODEL,
    SGD,
    LostError,
    Member,
    first,
    gradient,
    members,
    serving,
)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def stepped(rounds: int, count: int = 1) -> list[np.ndarray]:
    """The parameters after SGD by the means of the usual gradients."""
    values = first()
    for round in range(1, rounds + 1):
        for k, value in enumerate(values):
            mean = np.mean([gradient(round, m)[k] for m in range(count)], axis=0, dtype=np.float64)
            value -= np.float32(0.5) * mean.astype(np.float32)
    return values


def equal(values: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for value, one in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, one)


def test_members_train_one_model(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, least_members=3) as hub, members(hub, 3) as group:
            for member in group:
                await member.join()
            await asyncio.gather(*(member.take_part(4) for member in group))
            for member in group:
                equal(member.values, stepped(4, 3))
                assert member.hash == hub.run.hash == member.mine
            assert hub.run.staging.reserved == 0

    run(test())


def test_contributions_count_by_their_samples(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, least_members=2) as hub, members(hub, 2) as group:
            for member in group:
                await member.join()
            for member, samples in zip(group, (30, 10), strict=True):
                round, _ = await member.asked()
                await member.contribute(round, gradient(0, member.number), samples)
            for member in group:
                _, closed = await member.hear(Kind.CLOSED)
                assert closed["samples"] == 40
                assert closed["metrics"] == {"loss": 0.5}
            mean = [
                (30 * a + 10 * b) / 40 for a, b in zip(gradient(0), gradient(0, 1), strict=True)
            ]
            for value, old, g in zip(group[0].values, first(), mean, strict=True):
                np.testing.assert_allclose(value, old - 0.5 * g, rtol=1e-6)

    run(test())


def test_learning_rates_are_those_that_contributions_say(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.join()
            round, _ = await member.asked()
            await member.contribute(round, gradient(0), lr=[2.0])
            await member.hear(Kind.CLOSED)
            for value, old, g in zip(member.values, first(), gradient(0), strict=True):
                np.testing.assert_array_equal(value, old - 2 * g)
            round, _ = await member.asked()
            with pytest.raises(LostError, match="expected 1 learning rates"):
                await member.contribute(round, gradient(0), lr=[1.0, 2.0])
                await member.hear(Kind.CLOSED)

    run(test())


def test_who_joins_later_has_the_same_parameters(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (one, two):
            await one.join()
            await one.take_part(2)
            await two.join()
            assert two.version == 2
            equal(two.values, one.values)
            await asyncio.gather(one.take_part(5), two.take_part(5))
            equal(two.values, one.values)

    run(test())


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "multi_krum", "centered_clip"])
def test_a_robust_rule_keeps_one_of_five_from_deciding(tmp_path: Path, rule: str) -> None:
    async def test() -> None:
        async with serving(tmp_path, least_members=5, rule=rule) as hub, members(hub, 5) as group:
            for member in group:
                await member.join()
            for member in group:
                round, _ = await member.asked()
                values = gradient(round) if member.number else [g * -500 for g in gradient(round)]
                await member.contribute(round, values)
            await group[1].hear(Kind.CLOSED)
            for value, expected in zip(group[1].values, stepped(1), strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)

    run(test())


def test_what_is_not_finite_is_rejected_and_the_third_time_locks_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            serving(tmp_path, strikes=2, least_members=2) as hub,
            members(hub, 2) as (good, bad),
        ):
            await good.join()
            await bad.join()
            for round in (1, 2):
                await bad.asked()
                values = gradient(round)
                values[1][-1] = np.nan
                await bad.contribute(round, values)
                _, answer = await bad.hear(Kind.ACK)
                assert answer["outcome"] == "rejected"
                assert "bucket 1: not all numbers are finite" in answer["reason"]
                await good.take_part(round)
            with pytest.raises(LostError, match="locked out"):
                await bad.hear(Kind.WELCOME)
            equal(good.values, stepped(2))
            with pytest.raises(LostError, match="locked out"):
                await bad.hello()

    run(test())


def test_first_parameters_that_are_not_finite_are_another_members_turn(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (bad, good):
            for member in (bad, good):
                await member.hello()
            values = first()
            values[0][0] = np.inf
            with pytest.raises(LostError, match="not all finite"):
                await bad.define(values=values)
            await good.define()
            await good.pull()
            equal(good.values, first())

    run(test())


def test_who_was_to_upload_and_leaves_is_followed_by_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (one, two):
            await one.hello()
            await two.hello()
            await one.say(Kind.DEFINE, 1, part="model", value=MODEL)
            await one.hear(Kind.UPLOAD)
            definition = asyncio.create_task(two.define())
            await one.close()
            await definition
            await two.pull()
            equal(two.values, first())

    run(test())


def test_definitions_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, memory=4 << 20) as hub, members(hub, 1) as [member]:
            for optimizer, why in [
                (SGD | {"name": "LBFGS"}, "expected one of"),
                (SGD | {"options": [{"lr": 0.1, "speed": 3}]}, "speed"),
                (SGD | {"groups": [0]}, "groups"),
                (SGD | {"groups": [0, 1]}, "group"),
            ]:
                await member.hello()
                with pytest.raises(LostError, match=why):
                    await member.define(optimizer)
            large = {"parameters": [["w", [2**40]]], "buckets": [2**30] * 1024}
            await member.hello()
            await member.say(Kind.DEFINE, 9, part="model", value=large)
            with pytest.raises(LostError, match="larger than the hub's memory"):
                await member.hear(Kind.DEFINED)

    run(test())


def test_who_breaks_the_protocol_is_told_and_others_go_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (good, bad):
            await good.join()
            await bad.hello()
            for data, why in [
                (b"x" * 100, "not a frame"),
                (pack(Kind.ACK, outcome="counted", reason=""), "nothing that a member sends"),
                (pack(Kind.READY, version=10, busy=False), "no such parameters"),
                (pack(Kind.BEGIN, seq=1, round=9, samples=1, share=None, lr=[]), "has not begun"),
            ]:
                await bad.socket.send_bytes(data)
                with pytest.raises(LostError, match=why):
                    await bad.hear(Kind.WELCOME)
                await bad.hello()
            await bad.socket.send_bytes(bytes(2 << 20))  # larger than any frame
            with pytest.raises(LostError):
                await bad.hear(Kind.WELCOME)
            await good.take_part(1)

    run(test())


def test_whatever_a_member_says_others_go_on(tmp_path: Path) -> None:
    """A member with a token says all that the protocol knows, in an order that makes no sense."""
    rng = random.Random(0)

    async def say(member: Member) -> None:
        seq, round = rng.randint(0, 4), rng.randint(0, 4)
        match rng.randrange(9):
            case 0:
                await member.say(Kind.BEGIN, seq, round, samples=1, share=None, lr=[])
            case 1:
                await member.say(Kind.COMMIT, seq, round, digest="0" * 32, metrics={})
            case 2:
                fields = {
                    "tag": "",
                    "weight": rng.randint(0, 1),
                    "size": rng.choice([0, 3, 300_000]),
                }
                op = rng.choice(["sum", "mean", "broadcast", "barrier"])
                source = 0 if op == "broadcast" else None
                await member.say(Kind.CALL, seq, op=op, dtype=1, source=source, **fields)
            case 3:
                await member.say(Kind.DEFINE, seq, part="model", value=MODEL)
            case 4:
                await member.say(Kind.READY, version=round, busy=rng.random() < 0.5)
            case 5:
                await member.say(Kind.PULL)
            case 6:
                await member.parts(seq, rng.choice([first(), first()[:1], first()[1:]]))
            case 7:
                digest = await member.parts(seq, first())
                await member.say(Kind.COMMIT, seq, round, digest=digest, metrics={})
            case _:
                await member.contribute(round, first(), seq=seq)

    async def test() -> None:
        values = {"grace": 0, "quorum": 0.1, "strikes": 1000}
        async with serving(tmp_path, **values) as hub, members(hub, 2) as (good, bad):
            for step in range(150):
                if step == 50:
                    await good.join()
                try:
                    if step % 10 == 0:
                        await bad.hello()
                    await say(bad)
                except (LostError, ConnectionError):
                    await bad.hello()
                if step % 30 == 29 and step > 50:
                    await good.take_part(good.version + 1)
            await bad.close()
            await good.take_part(good.version + 2)
            assert hub.metrics.get("dropped_total", "told") > 0

    run(test())


# Reading and writing


def test_who_does_not_read_is_dropped_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "_most", lambda hub: 4 << 20)

    async def test() -> None:
        values = {"grace": 0, "quorum": 0.1, "lease": 60, "least_members": 2}
        async with serving(tmp_path, **values) as hub, members(hub, 2) as (good, slow):
            await slow.join()
            await good.join()
            while hub.metrics.get("dropped_total", "slow") == 0:
                await good.take_part(good.version + 1)
            assert len(hub.connections) == 1
            await good.take_part(good.version + 3)

    run(test())


def test_who_sends_too_fast_waits() -> None:
    allowance = _Allowance(1000)
    assert allowance.take(1999) == 0
    assert 0.4 < allowance.take(501) <= 0.5
    assert 0.9 < allowance.take(500) <= 1.0


def test_the_hub_says_that_it_is_there_and_silent_members_are_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, lease=0.6) as hub, members(hub, 1) as [member]:
            await member.hello()
            await member.hear(Kind.HEARTBEAT)
            with pytest.raises(LostError, match=r"silent for 0\.6 s"):
                await member.hear(Kind.WELCOME)
            assert hub.core.world == 0

    run(test())


# Collective operations


def test_collective_operations(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 3) as group:
            for member in group:
                await member.hello()

            async def call(op: str, *values: np.ndarray, **more: Any) -> Any:
                results = await asyncio.gather(
                    *(m.call(op, v, **more) for m, v in zip(group, values, strict=True))
                )
                for result in results[1:]:
                    np.testing.assert_array_equal(result, results[0])
                return results[0]

            rng = np.random.default_rng(0)
            for dtype in (np.float32, np.float64, np.int32, np.int64):
                values = rng.normal(0, 1000, (3, 300_000)).astype(dtype)
                summed = await call("sum", *values)
                assert summed.dtype == dtype
                np.testing.assert_allclose(summed, values.sum(0), rtol=1e-5, atol=1e-2)
                np.testing.assert_array_equal(await call("max", *values), values.max(0))
                np.testing.assert_array_equal(await call("min", *values), values.min(0))
                np.testing.assert_array_equal(await call("broadcast", *values, source=1), values[1])
            mean = await call("mean", *np.float32([[1, 2], [3, 4], [5, 7]]))
            np.testing.assert_allclose(mean, [3, 13 / 3], rtol=1e-6)
            assert len(await call("barrier", *np.zeros((3, 0), np.float32))) == 0
            big = np.int64([[2**62, 1]] * 3)
            np.testing.assert_array_equal(await call("sum", *big), big.sum(0))
            error = await group[0].call("broadcast", np.zeros(2, np.float32), source=9)
            assert error == "broadcast: there is no member of rank 9"
            assert hub.run.staging.reserved == 0

    run(test())


# Ends and beginnings


def test_a_hub_that_stops_says_so_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.join()
            await member.take_part(3)
            await hub.stop()
            with pytest.raises(LostError, match="try again: the hub stops"):
                await member.hear(Kind.WELCOME)
            hash = hub.run.hash
        assert (tmp_path / "checkpoint-1.tgl").exists()
        async with serving(tmp_path) as hub:
            assert (hub.run.hash, hub.core.version) == (hash, 3)
            member.url = hub.url
            assert (await member.hello())["version"] == 3
            await member.ready()
            await member.take_part(5)
            equal(member.values, stepped(5))
            await member.close()

    run(test())


def test_a_run_has_one_hub(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            with pytest.raises(RuntimeError, match=f"another hub .*{re.escape(hub.url)}"):
                Hub(tmp_path)

    run(test())
