"""Whom a hub lets in, and where: tokens, strangers, pages, other machines, TLS; and who may look at it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from pathlib import Path

import aiohttp
import pytest

from tensorgl.distributed import config
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.messages import pack
from tensorgl.distributed.wire import Kind
from tests.distributed.raw import (
    LostError,
    Member,
    members,
    serving,
    token,
)

PEM = Path(__file__).with_name("localhost.pem")


@pytest.mark.parametrize(
    ("role", "seconds", "why"),
    [("observer", 100, "role observer"), ("admin", 100, "role admin"), ("worker", -1, "is over")],
)
def test_only_a_workers_token_lets_in(tmp_path: Path, role: str, seconds: float, why: str) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            member = Member(hub.url, token(tmp_path, role, seconds))
            with pytest.raises(LostError, match=why):
                await member.hello()
            await member.close()
            assert not hub.connections

    asyncio.run(test())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n" * 10, "not a frame of tensorgl"),
        (bytes(5000), "at most 4096 bytes"),
        (b"", "at least 48 bytes"),
        (pack(Kind.HEARTBEAT), "expected HELLO, given HEARTBEAT"),
        (pack(Kind.HELLO, token="a.b", member="0" * 32, resume="", agent=""), "not of this run"),
        ("text", "at most 4096 bytes"),
    ],
)
def test_what_is_no_greeting_is_answered_and_closed(
    tmp_path: Path, data: bytes | str, why: str
) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            member = Member(hub.url, "")
            await member.connect()
            if isinstance(data, str):
                await member.socket.send_str(data)
            else:
                await member.socket.send_bytes(data)
            with pytest.raises(LostError, match=why):
                await member.hear(Kind.WELCOME)
            await member.close()

    asyncio.run(test())


def test_strangers_get_little_time_and_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorgl.distributed.sockets._PATIENCE", 0.2)
    monkeypatch.setattr("tensorgl.distributed.sockets._STRANGERS", 3)

    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 4) as group:
            for member in group[:3]:
                await member.connect()
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await group[3].connect()
            for member in group[:3]:
                with pytest.raises(LostError, match=r"expected HELLO within 0\.2 s"):
                    await member.hear(Kind.WELCOME)
                await member.close()
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(aiohttp.WSServerHandshakeError):
                        await group[3].hello()
                        break

    asyncio.run(test())


def test_pages_connect_from_origins_that_are_allowed(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await member.connect("https://evil.example")
            await member.connect("https://example.org")
            url = hub.url.replace("ws", "http") + "/v1/parameters/" + "0" * 32
            for origin in ("https://example.org", "https://evil.example"):
                allowed = origin == "https://example.org"
                async with aiohttp.ClientSession(headers={"Origin": origin}) as http:
                    for answer in (await http.options(url), await http.get(url)):
                        said = answer.headers.get("Access-Control-Allow-Origin")
                        assert said == (origin if allowed else None)

    asyncio.run(test())


def test_a_name_belongs_to_who_has_its_key(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (one, thief):
            await one.hello()
            thief.name = one.name
            with pytest.raises(LostError, match="another one's"):
                await thief.hello()
            rank = (await one.hello())["rank"]
            assert rank == 0

    asyncio.run(test())


def test_parameters_are_for_members_that_are_connected(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 2) as (one, other):
            await one.join()
            await other.connect()
            path = f"/v1/parameters/{hub.run.hash}"
            assert len(await other.fetch(path, one.resume)) == 4 * 300_003
            for key in ("", one.resume[:-1], token(tmp_path, "admin")):
                with pytest.raises(aiohttp.ClientResponseError, match="403"):
                    await other.fetch(path, key)
            with pytest.raises(aiohttp.ClientResponseError, match="404"):
                await other.fetch("/v1/parameters/" + "0" * 32, one.resume)

    asyncio.run(test())


def test_other_machines_need_tls(tmp_path: Path) -> None:
    async def test() -> None:
        config.create(tmp_path)
        hub = Hub(tmp_path)
        for host in ("0.0.0.0", "192.0.2.1", "example.org", "::"):
            with pytest.raises(ValueError, match="--tls-cert and --tls-key, or --insecure"):
                await hub.start(host)
        assert (await hub.start("::1")).startswith("ws://[::1]:")
        await hub.stop()

    asyncio.run(test())


def test_tls(tmp_path: Path) -> None:
    async def test() -> None:
        config.create(tmp_path)
        hub = Hub(tmp_path)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(PEM)
        url = await hub.start("127.0.0.1", 0, tls)
        assert url.startswith("wss://")
        async with aiohttp.ClientSession() as http:
            trusting = ssl.create_default_context(cafile=PEM)
            async with http.ws_connect(f"{url}/v1/socket", ssl=trusting) as socket:
                assert not socket.closed
        await hub.stop()

    asyncio.run(test())


# Looking at it


def test_status_and_metrics_are_for_observers(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.join()
            await member.take_part(2)
            for path in ("/v1/status", "/metrics"):
                for key, code in [("", "401"), (token(tmp_path, "worker"), "403")]:
                    with pytest.raises(aiohttp.ClientResponseError, match=code):
                        await member.fetch(path, key)
            status = json.loads(await member.fetch("/v1/status", token(tmp_path, "observer")))
            assert (status["version"], status["world"]) == (2, 1)
            assert status["members"][0]["metrics"] == {"loss": 0.5}
            assert status["hash"] == member.hash
            text = (await member.fetch("/metrics", token(tmp_path, "admin"))).decode()
            values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
            assert float(values["tensorgl_hub_version"]) == 2
            assert float(values['tensorgl_hub_contributions_total{outcome="counted"}']) == 2
            assert float(values['tensorgl_hub_member_metric{name="loss"}']) == 0.5

    asyncio.run(test())


def test_an_admin_stops_the_hub(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as [member]:
            await member.join()
            with pytest.raises(aiohttp.ClientResponseError, match="403"):
                await member.fetch("/v1/stop", token(tmp_path, "observer"), "POST")
            await member.fetch("/v1/stop", token(tmp_path, "admin"), "POST")
            await hub.wait()

    asyncio.run(test())
