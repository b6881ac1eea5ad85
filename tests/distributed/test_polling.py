"""Members that have nothing but HTTP requests, over real ones: plain runs, whom a hub lets in, what it survives."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import secrets
import struct
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMessage, WSMsgType

from tensorgl.distributed import polling
from tensorgl.distributed.exchange import LARGEST_BODY, NOBODY, PATH, SESSION, Head, join, split
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.messages import pack, parse
from tensorgl.distributed.wire import Kind, decode
from tests.distributed.raw import LostError, Member, gradient, members, serving, token

BEAT = pack(Kind.HEARTBEAT)


class Requests:
    """The requests of one member, which a Member takes for its socket."""

    def __init__(self, hub: str) -> None:
        self.url = hub.replace("ws", "http", 1) + PATH
        self.session, self.number = NOBODY, 0
        self.frames: deque[bytes] = deque()
        self.http = aiohttp.ClientSession()

    async def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        async with self.http.post(self.url, data=io.BytesIO(body), headers=headers) as answer:
            return answer.status, await answer.read()

    def body(self, rest: bytes, wait: float = 0, last: bool = False) -> bytes:
        head = Head(self.session, self.number, wait, last)
        self.number += 1
        return head.encode() + rest

    async def say(self, rest: bytes, **more: Any) -> None:
        """Make the next request, and keep the frames that it is answered with."""
        status, answer = await self.post(self.body(rest, **more))
        if status != 200:
            raise LostError(f"{status}: {answer.decode()}")
        self.session = answer[:SESSION]
        self.frames += split(answer[SESSION:])

    async def send_bytes(self, data: bytes) -> None:
        await self.say(join([data]))

    async def receive(self) -> WSMessage:
        while not self.frames:
            await self.say(join([BEAT]), wait=1)
        return WSMessage(WSMsgType.BINARY, self.frames.popleft(), None)

    async def close(self) -> None:
        await self.http.close()


class Poller(Member):
    """A Member with requests."""

    async def connect(self, origin: str | None = None) -> None:
        await self.close()
        self._http = aiohttp.ClientSession()
        self.socket = Requests(self.url)


@asynccontextmanager
async def polling_members(
    hub: Hub, directory: Path, count: int = 1
) -> AsyncGenerator[list[Poller]]:
    """Pollers that have said HELLO."""
    made = [Poller(hub.url, token(directory), number) for number in range(count)]
    try:
        for member in made:
            await member.hello()
        yield made
    finally:
        for member in made:
            await member.close()


@asynccontextmanager
async def stranger(hub: Hub) -> AsyncGenerator[Requests]:
    requests = Requests(hub.url)
    try:
        yield requests
    finally:
        await requests.close()


def hello(secret: str) -> bytes:
    member = secrets.token_hex(16)
    return pack(Kind.HELLO, token=secret, member=member, resume="", agent="test")


def came(hub: Hub) -> float:
    """How many frames came to a hub."""
    return hub.metrics.get("frames_total", "in")


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.01)


def test_members_train_one_model(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            serving(tmp_path, least_members=3) as hub,
            polling_members(hub, tmp_path, 2) as pollers,
            members(hub, 1) as others,
        ):
            group = [*pollers, *others]
            for number, member in enumerate(group):
                member.number = number
                await member.join()
            await asyncio.gather(*(member.take_part(3) for member in group))
            assert {member.mine for member in group} == {hub.run.hash}
            summed = await asyncio.gather(
                *(m.call("sum", np.arange(700_000, dtype=np.int32)) for m in group)
            )
            for values in summed:
                np.testing.assert_array_equal(values, 3 * np.arange(700_000))

    asyncio.run(test())


def test_many_frames_in_one_request(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path) as [member]:
            await member.define()
            await member.pull()
            await member.ready()
            round, _ = await member.asked()
            requests, frames = member.socket, []

            class Gather:
                async def send_bytes(self, data: bytes) -> None:
                    frames.append(data)

            member.socket = Gather()
            await member.contribute(round, gradient(round))
            member.socket = requests
            assert len(frames) > 3
            await requests.say(join(frames), wait=5)
            await member.hear(Kind.CLOSED)
            assert member.version == 1

    asyncio.run(test())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "begins with 28 bytes, given 0"),
        (bytes(27), "begins with 28 bytes, given 27"),
        (bytes(28), "expected HELLO of at most"),
        (bytes(28) + join([BEAT]), "expected HELLO, given HEARTBEAT"),
        (bytes(28) + join([hello("a.b")]), "not of this run"),
        (bytes(28) + join([hello("a.b"), BEAT]), "expected HELLO of at most"),
        (bytes(28) + join([bytes(4097)]), "at most 4096 bytes"),
        (bytes(28) + bytes(1 << 20), "at most 8192 bytes"),
        (bytes(28) + b"\xff\xff\xff\xff", "beyond the end"),
        (bytes(24) + b"\xff\xff\xff\xff" + join([hello("a.b")]), "last: expected 0 or 1"),
    ],
)
def test_what_is_no_greeting_is_answered(tmp_path: Path, body: bytes, why: str) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, stranger(hub) as requests:
            status, answer = await requests.post(body)
            assert (status, answer[:SESSION]) == (200, NOBODY)
            [frame] = split(answer[SESSION:])
            assert why in parse(decode(frame))["reason"]
            assert not hub.connections
            assert hub.metrics.by_label("refused_total") == {"greeting": 1}

    asyncio.run(test())


@pytest.mark.parametrize(("role", "seconds"), [("observer", 100), ("admin", 100), ("worker", -1)])
def test_only_a_workers_token_lets_in(tmp_path: Path, role: str, seconds: float) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            member = Poller(hub.url, token(tmp_path, role, seconds))
            with pytest.raises(LostError, match="token"):
                await member.hello()
            await member.close()
            assert not hub.connections

    asyncio.run(test())


def test_pages_ask_from_origins_that_are_allowed(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, stranger(hub) as requests:
            for origin, allowed in (("https://example.org", True), ("https://evil.example", False)):
                body = bytes(28) + join([hello(token(tmp_path))])
                async with requests.http.post(
                    requests.url, data=body, headers={"Origin": origin}
                ) as answer:
                    assert answer.status == (200 if allowed else 403)
                    said = answer.headers.get("Access-Control-Allow-Origin")
                    assert said == (origin if allowed else None)
                asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                async with requests.http.options(requests.url, headers=asked) as answer:
                    said = answer.headers.get("Access-Control-Allow-Origin")
                    assert said == (origin if allowed else None)
                    assert (answer.status == 204) == allowed
            assert len(hub.connections) == 1

    asyncio.run(test())


def test_strangers_get_little_time_and_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorgl.distributed.sockets._PATIENCE", 1.0)
    monkeypatch.setattr("tensorgl.distributed.sockets._STRANGERS", 2)

    async def test() -> None:
        async with serving(tmp_path) as hub, stranger(hub) as requests:
            address = hub.url.removeprefix("ws://").split(":")
            slow = [await asyncio.open_connection(*address) for _ in range(2)]
            for _, writer in slow:
                writer.write(
                    b"POST /v1/exchange HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n"
                    + bytes(28)
                )
            async with asyncio.timeout(10):
                while (await requests.post(bytes(28)))[0] != 503:
                    pass
            for reader, writer in slow:
                answer = await reader.readuntil(b"}")
                assert answer.startswith(b"HTTP/1.1 200")
                assert b"expected HELLO within 1 s" in answer
                writer.close()
            assert (await requests.post(bytes(28)))[0] == 200

    asyncio.run(test())


def test_a_crowd_of_strangers_does_not_keep_members_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorgl.distributed.sockets._STRANGERS", 2)

    async def test() -> None:
        async with (
            serving(tmp_path) as hub,
            polling_members(hub, tmp_path) as [member],
            members(hub, 2) as silent,
        ):
            for one in silent:
                await one.connect()
            async with stranger(hub) as requests:
                assert (await requests.post(bytes(28)))[0] == 503
            await member.define()
            await member.pull()
            assert member.mine == hub.run.hash

    asyncio.run(test())


def test_a_session_is_known_by_its_number(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path) as [member]:
            async with stranger(hub) as requests:
                for guess in (b"\1" * 16, bytes(range(16))):
                    requests.session = guess
                    with pytest.raises(LostError, match="410: there is no such session"):
                        await requests.say(join([BEAT]))
            await member.join()

    asyncio.run(test())


def test_requests_of_a_session_come_one_by_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path) as [member]:
            requests = member.socket
            before = came(hub)
            waiting = asyncio.create_task(requests.say(join([BEAT]), wait=10))
            await until(lambda: came(hub) > before)
            status, answer = await requests.post(requests.body(join([BEAT])))
            assert (status, b"being answered" in answer) == (409, True)
            requests.number -= 1
            hub.connections[1].send(pack(Kind.HEARTBEAT), 1 << 10)
            await waiting
            assert requests.frames.pop() == BEAT
            await requests.say(join([BEAT]))

            # One that is sent again must not count again, and whoever did that begins anew.
            requests.number -= 1
            with pytest.raises(LostError, match="409: expected request 3, given 2"):
                await requests.say(join([BEAT]))
            with pytest.raises(LostError, match="410"):
                await requests.say(join([BEAT]))
            await until(lambda: not hub.connections)
            await member.join()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (b"", "expected a frame at least"),
        (b"\1", "cut off"),
        (join([BEAT]) + b"\1", "cut off"),
        (b"\x40\0\0\0" + BEAT, "beyond the end"),
        (bytes(LARGEST_BODY + 1), f"at most {LARGEST_BODY} bytes of frames"),
        (join([BEAT, b"x" * 100]), "not a frame of tensorgl"),
        (join([BEAT, b""]), "a frame has at least"),
        (join([pack(Kind.ACK, outcome="counted", reason="")]), "nothing that a member sends"),
        (join([BEAT, hello("a.b")]), "HELLO"),
    ],
)
def test_who_breaks_the_protocol_is_told_and_out(tmp_path: Path, rest: bytes, why: str) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path) as [member]:
            with pytest.raises(LostError, match=why):
                await member.socket.say(rest)
                await member.hear(Kind.WELCOME)
            with pytest.raises(LostError, match="410"):
                await member.socket.say(join([BEAT]))
            await until(lambda: not hub.connections)

    asyncio.run(test())


def test_bodies_are_not_unpacked(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, stranger(hub) as requests:
            body = gzip.compress(bytes(28) + join([hello(token(tmp_path))]))
            _, answer = await requests.post(body, **{"Content-Encoding": "gzip"})
            assert answer[:SESSION] == NOBODY

    asyncio.run(test())


def test_who_does_not_ask_is_gone_and_comes_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, lease=0.6) as hub, polling_members(hub, tmp_path) as [member]:
            rank = hub.core.members[member.name].rank
            for _ in range(6):
                await member.socket.say(
                    join([BEAT]), wait=5
                )  # a third of the lease is waited at most
            assert hub.core.world == 1
            await until(lambda: hub.core.world == 0)
            with pytest.raises(LostError, match=r"silent for 0\.6 s"):
                await member.hear(Kind.WELCOME)
            await until(lambda: not hub.connections)
            assert (await member.hello())["rank"] == rank

    asyncio.run(test())


def test_nobody_comes_for_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_LINGER", 0.1)

    async def test() -> None:
        async with serving(tmp_path, lease=0.3) as hub, polling_members(hub, tmp_path) as [member]:
            await until(lambda: not hub.connections)
            with pytest.raises(LostError, match="410"):
                await member.socket.say(join([BEAT]))

    asyncio.run(test())


def test_a_request_that_breaks_off_ends_the_session(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            for part in (1.0, 0.5):  # while it waits for its answer, while it is being sent
                async with polling_members(hub, tmp_path) as [member]:
                    body = member.socket.body(join([BEAT]), wait=1)
                    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
                    address = hub.url.removeprefix("ws://").split(":")
                    _, writer = await asyncio.open_connection(*address)
                    writer.write(head.encode() + body[: int(part * len(body))])
                    writer.close()
                    await until(lambda: not hub.connections)

    asyncio.run(test())


def test_the_last_request_ends_the_session(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path) as [member]:
            await member.socket.say(join([BEAT]), last=True)
            await until(lambda: not hub.connections)
            assert hub.core.members  # it said no BYE, and may come back
            await member.hello()
            with suppress(LostError):
                await member.socket.say(join([pack(Kind.BYE)]), last=True)
            await until(lambda: not hub.connections and not hub.core.members)

    asyncio.run(test())


def test_who_does_not_fetch_is_dropped_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "_most", lambda hub: 4 << 20)

    async def test() -> None:
        values = {"grace": 0, "quorum": 0.1, "lease": 60, "least_members": 2}
        async with serving(tmp_path, **values) as hub, polling_members(hub, tmp_path) as [slow]:
            await slow.join()
            async with members(hub, 1) as [good]:
                await good.join()
                while hub.metrics.get("dropped_total", "slow") == 0:
                    await good.take_part(good.version + 1)
                with pytest.raises(LostError, match="410"):
                    await slow.socket.say(join([BEAT]))
                await good.take_part(good.version + 3)

    asyncio.run(test())


def test_a_hub_that_stops_tells_who_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path, 2) as [member, silent]:
            before = came(hub)
            hearing = asyncio.create_task(member.hear(Kind.WELCOME))
            await until(lambda: came(hub) > before)
            await hub.stop()
            with pytest.raises(LostError, match="try again: the hub stops"):
                await hearing
            with pytest.raises(aiohttp.ClientConnectionError):
                await silent.socket.say(join([BEAT]))
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(test())


def test_whatever_comes_others_go_on(tmp_path: Path) -> None:
    """Bodies of real requests, cut and changed, some with a token and a session."""
    rng = random.Random(0)

    async def test() -> None:
        async with serving(tmp_path, strikes=1000) as hub, polling_members(hub, tmp_path) as [good]:
            await good.join()
            bad = Poller(hub.url, token(tmp_path))
            for _ in range(300):
                if not bad.socket or bad.socket.session == NOBODY:
                    await bad.hello()
                frames = [
                    rng.choice([BEAT, pack(Kind.PULL), secrets.token_bytes(60)])
                ] * rng.randint(0, 3)
                body = bytearray(bad.socket.body(join(frames)))
                for _ in range(rng.randint(0, 2)):
                    body[rng.randrange(len(body))] = rng.randrange(256)
                struct.pack_into("<I", body, 20, 0)  # the wait
                status, answer = await bad.socket.post(
                    bytes(body[: rng.choice([len(body), 30, 5])])
                )
                assert status in (200, 409, 410)
                if status != 200 or answer[:SESSION] == NOBODY:
                    await bad.close()
            await bad.close()
            await good.take_part(2)
            assert good.mine == hub.run.hash

    asyncio.run(test())


def test_a_session_takes_little_memory_for_what_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, polling_members(hub, tmp_path) as [member]:
            connection = hub.connections[1]
            for _ in range(10):
                connection.send(bytes(1 << 20), 64 << 20)
            sizes: list[int] = []
            while sum(sizes) < 10 << 20:
                await member.socket.say(join([BEAT]), wait=1)
                sizes.append(sum(map(len, member.socket.frames)))
                member.socket.frames.clear()
            assert max(sizes) <= 2 << 20

    asyncio.run(test())
