"""Connections outside of browsers: order, waiting, loss, limits."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import WSMsgType, web

from tensorgl.distributed import transport_native
from tensorgl.distributed.transport_native import connect

Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


@contextmanager
def server(handler: Handler) -> Iterator[str]:
    """A server whose every WebSocket is given to a function; the address of a socket.

    All end when /unanswered is asked for.
    """
    loop = asyncio.new_event_loop()
    started = threading.Event()
    end = asyncio.Event()
    url = ""
    sockets: list[web.WebSocketResponse] = []

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False, timeout=1.0)
        await response.prepare(request)
        sockets.append(response)
        await handler(response)
        return response

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=request.headers["Authorization"].encode())

    async def unanswered(request: web.Request) -> web.Response:
        for response in sockets:
            await response.close()
        await end.wait()
        return web.Response()

    async def serve() -> None:
        nonlocal url
        app = web.Application()
        app.add_routes([web.get("/v1/socket", respond), web.get("/page", page)])
        app.add_routes([web.get("/unanswered", unanswered)])
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/socket"
        started.set()
        await end.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    assert started.wait(10)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


async def echo(response: web.WebSocketResponse) -> None:
    async for message in response:
        if message.type is not WSMsgType.BINARY:
            return
        await response.send_bytes(message.data)


def test_frames_come_in_order_and_are_waited_for() -> None:
    with server(echo) as url:
        line = connect(url, b"beat", 60)
        assert line.receive(0) is None
        assert line.receive(0.01) is None
        frames = [bytes([k]) * (1 + k * 100) for k in range(100)]
        for frame in frames:
            line.send(frame)
        assert [line.receive(10) for _ in frames] == frames
        line.close()


def test_a_heartbeat_is_sent_while_nothing_else_is() -> None:
    with server(echo) as url:
        line = connect(url, b"beat", 0.01)
        assert line.receive(10) == b"beat"
        line.close()


def test_what_was_sent_goes_out_before_the_end() -> None:
    came: list[bytes] = []
    done = threading.Event()

    async def keep(response: web.WebSocketResponse) -> None:
        async for message in response:
            came.append(message.data)
        done.set()

    with server(keep) as url:
        line = connect(url, b"beat", 60)
        frames = [bytes(1 << 20) for _ in range(8)]
        for frame in frames:
            line.send(frame)
        line.close()
        assert done.wait(10)
        assert came == frames
        for use in (lambda: line.send(b""), lambda: line.receive(1), lambda: line.fetch("/", {})):
            with pytest.raises(ConnectionError, match="the connection was lost"):
                use()


def test_what_came_is_received_before_the_loss() -> None:
    async def two(response: web.WebSocketResponse) -> None:
        await response.send_bytes(b"1")
        await response.send_bytes(b"2")

    with server(two) as url:
        line = connect(url, b"beat", 60)
        assert line.receive(10) == b"1"
        assert line.receive(10) == b"2"
        with pytest.raises(ConnectionError, match="the connection was lost"):
            line.receive(10)
        line.close()


def test_pages() -> None:
    with server(echo) as url:
        line = connect(url, b"beat", 60)
        assert line.fetch("/page", {"Authorization": "Bearer x"}) == b"Bearer x"
        with pytest.raises(OSError, match=r"GET http://127.0.0.1:\d+/nothing: 404"):
            line.fetch("/nothing", {})
        line.close()


def test_a_page_that_is_waited_for_when_the_connection_is_lost() -> None:
    with server(echo) as url:
        line = connect(url, b"beat", 60)
        with pytest.raises(ConnectionError, match="the connection was lost"):
            line.fetch("/unanswered", {})
        line.close()


def test_a_slow_receiver_holds_the_sender_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_native, "_ROOM", 1 << 20)
    total, sent = 256, 0

    async def flood(response: web.WebSocketResponse) -> None:
        nonlocal sent
        for _ in range(total):
            await response.send_bytes(bytes(1 << 18))
            sent += 1

    with server(flood) as url:
        line = connect(url, b"beat", 60)
        assert line.receive(10) is not None
        threading.Event().wait(0.2)
        # 64 MiB in all, of which sockets and this end hold only a part.
        assert sent < total
        for _ in range(total - 1):
            assert line.receive(10) is not None
        line.close()


def test_nobody_is_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/v1/socket"
        with pytest.raises(ConnectionError, match=f"no connection to {url}"):
            connect(url, b"beat", 60)


def test_something_else_is_there() -> None:
    with (
        server(echo) as url,
        pytest.raises(ConnectionError, match="404"),
    ):
        connect(url.replace("socket", "other"), b"beat", 60)
