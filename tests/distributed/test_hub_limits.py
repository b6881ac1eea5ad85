"""What a hub has too little of: connections, files, memory, time. Nobody may use up what others need."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from tensorgl.distributed import config, door, sockets
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.store import Store
from tensorgl.distributed.wire import Kind
from tests.distributed.raw import MODEL, SGD, LostError, members, serving, token

PEM = Path(__file__).with_name("localhost.pem")


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.01)


def connection(hub: Hub, data: bytes = b"") -> socket.socket:
    """A connection on which a stranger has sent some bytes."""
    host, port = hub.url.partition("://")[2].split(":")
    made = socket.create_connection((host, int(port)))
    made.sendall(data)
    made.setblocking(False)
    return made


async def received(stranger: socket.socket, most: int = 1 << 30) -> int:
    """How many bytes come until the hub closes a connection, or at least so many."""
    count = 0
    async with asyncio.timeout(10):
        with suppress(ConnectionResetError):
            while count < most and (
                data := await asyncio.get_running_loop().sock_recv(stranger, 1 << 20)
            ):
                count += len(data)
    return count


async def ended(stranger: socket.socket) -> None:
    """Once the hub has closed a connection."""
    with stranger:
        await received(stranger)


# Connections


@pytest.mark.parametrize("data", [b"", b"GET /v1/socket HTTP/1.1\r\nHost: x\r\nX-a: "])
@pytest.mark.parametrize("encrypted", [False, True])
def test_who_sends_no_whole_request_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, encrypted: bool
) -> None:
    monkeypatch.setattr(door, "_PATIENCE", 0.3)
    monkeypatch.setattr(door, "_STRANGERS", 3)

    async def test() -> None:
        config.create(tmp_path)
        hub = Hub(tmp_path)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(PEM)
        await hub.start(tls=tls if encrypted else None)
        silent = [connection(hub, data) for _ in range(5)]
        for stranger in silent:
            await ended(stranger)
        assert hub.metrics.get("refused_total", "crowd") == 2
        await ended(connection(hub, data))  # there is room again
        assert hub.metrics.get("refused_total", "crowd") == 2
        await hub.stop()

    asyncio.run(test())


def test_strangers_make_room_for_members(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 5) as (old, *new, last):
            hub.door._most = 4
            await old.join()
            strangers: list[socket.socket] = []
            for _ in range(5):
                strangers.append(connection(hub, b"GET /hub/hub.css HTTP/1.1\r\nHost: a\r\n\r\n"))
                assert await received(strangers[-1], 1)
            for member in new:  # each takes the place of a stranger
                await member.hello()
            for stranger in strangers:
                await ended(stranger)
            with pytest.raises((aiohttp.ClientError, OSError)):
                await last.hello()
            await old.take_part(2)
            assert len(hub.connections) == 4

    asyncio.run(test())


# Files


def test_a_checkpoint_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorgl.distributed.hub._AGAIN", 0.0)

    async def test() -> None:
        obstacle = tmp_path / "checkpoint-1.tmp"
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            obstacle.mkdir()
            monkeypatch.setattr(hub.run, "ROUNDS", 3)
            await member.join()
            await member.take_part(4)
            assert not (tmp_path / "checkpoint-1.tgl").exists()
            obstacle.rmdir()
            await member.take_part(6)
            assert (tmp_path / "checkpoint-1.tgl").exists()
            hash = member.hash
        async with serving(tmp_path) as hub:
            assert (hub.run.version, hub.run.hash) == (6, hash)

    asyncio.run(test())


def test_a_log_goes_on_when_the_next_cannot_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Store) -> None:
        raise OSError(24, "Too many open files")

    store = Store(tmp_path)
    store.recover()
    store.append({"k": 0}, [])
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_sync", fail)
        with pytest.raises(Exception, match="Too many open files"):
            store.checkpoint({"k": 0}, [])
    store.append({"k": 1}, [])
    assert not (tmp_path / "log-1.tgl").exists()
    store.checkpoint({"k": 1}, [])
    store.append({"k": 2}, [])
    store.close()
    store = Store(tmp_path)
    assert store.recover() == (({"k": 1}, []), [({"k": 2}, [])])
    store.close()


# Memory


def test_parameters_that_nobody_reads_are_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with serving(tmp_path, lease=1.0) as hub, members(hub, 1) as [member]:
            monkeypatch.setattr(hub.run, "parameters", lambda hash: bytes(32 << 20))
            await member.hello()
            [served] = hub.connections.values()
            asked = (
                f"GET /v1/parameters/{'0' * 32} HTTP/1.1\r\nHost: a\r\n"
                f"Authorization: Bearer {member.resume}\r\n\r\n"
            ).encode()

            async def fetching(before: object) -> socket.socket:
                made = connection(hub, asked)
                await until(lambda: served._download not in (None, before))
                return made

            first = await fetching(None)
            second = await fetching(served._download)
            assert await received(first) < 32 << 20  # broken off for the second

            async with asyncio.timeout(10):  # a lease, in which nothing is read
                while served._download:
                    await member.say(Kind.HEARTBEAT)
                    await asyncio.sleep(0.05)

            third = await fetching(None)
            await member.close()  # its session ends, and that with it
            await until(lambda: not served._download)
            for made in (first, second, third):
                made.close()

    asyncio.run(test())


def test_metrics_are_those_of_the_last_round(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.join()
            admin = token(tmp_path, "admin")
            for name in ("a", "b"):
                round, _ = await member.asked()
                member.seq += 1
                fields: dict[str, Any] = {"samples": 1, "share": None, "lr": []}
                await member.say(Kind.BEGIN, member.seq, round, **fields)
                digest = await member.parts(
                    member.seq, [np.ones(n, np.float32) for n in (3, 300_000)]
                )
                await member.say(Kind.COMMIT, member.seq, round, digest=digest, metrics={name: 2.0})
                await member.hear(Kind.CLOSED)
                text = (await member.fetch("/metrics", admin)).decode()
                said = [line for line in text.splitlines() if "hub_member_metric{" in line]
                assert said == [f'tensorgl_hub_member_metric{{name="{name}"}} 2.0']
            assert json.loads(await member.fetch("/v1/status", admin))["metrics"] == {"b": 2.0}

    asyncio.run(test())


# Time


def test_definitions_take_little_of_the_hubs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 3) as (good, one, two):
            await good.join()
            await two.hello()
            await one.hello()
            monkeypatch.setattr(sockets, "_REST", 1e6)
            await one.define(optimizer=None)
            frames = hub.metrics.get("frames_total", "in")
            await two.say(Kind.DEFINE, 1, part="model", value=MODEL)
            await until(lambda: hub.metrics.get("frames_total", "in") > frames)
            await good.take_part(3)
            assert not any(frame.kind is Kind.DEFINED for frame, _ in two.heard)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await two.hear(Kind.DEFINED)
            for connection in list(hub.connections.values()):
                connection.drop("over")  # who is still in turn reads no goodbye

    asyncio.run(test())


def test_another_definition_is_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(value: object) -> None:
        raise AssertionError

    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (good, other):
            await good.join()
            monkeypatch.setattr(sockets, "check_optimizer", look)
            await other.hello()
            await other.define()
            with pytest.raises(LostError, match="another optimizer"):
                await other.define(SGD | {"options": [{"lr": 0.1}] * 64})

    asyncio.run(test())


# What makes no sense


def test_parameters_that_nobody_asked_for_yet_are_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.hello()
            await member.say(Kind.DEFINE, 1, part="model", value=MODEL)
            await member.say(Kind.COMMIT, 1, digest="0" * 32, metrics={})
            with pytest.raises(LostError, match="COMMIT: "):
                await member.hear(Kind.DEFINED)

    asyncio.run(test())


@pytest.mark.parametrize(
    "model",
    [
        {"parameters": [["w", [0]]], "buckets": []},
        {"parameters": [["w", [0]]], "buckets": [3], "statistics": [["n", 1, 0.1]]},
    ],
)
def test_a_model_has_parameters(tmp_path: Path, model: dict[str, Any]) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.hello()
            await member.say(Kind.DEFINE, 1, part="model", value=model)
            with pytest.raises(LostError, match="it has no parameters"):
                await member.hear(Kind.UPLOAD)

    asyncio.run(test())
