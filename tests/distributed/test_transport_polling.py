"""A connection that is HTTP requests: its bytes, and training over real ones, some of which are lost."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import optim
from tensorgl.distributed import session
from tensorgl.distributed.exchange import Head, join, split
from tensorgl.distributed.messages import pack, parse
from tensorgl.distributed.transport_polling import PollingTransport
from tensorgl.distributed.wire import Kind, ProtocolError, decode
from tests.distributed.running import Trainer, running, together

BEAT = pack(Kind.HEARTBEAT)


def test_frames_behind_their_lengths() -> None:
    frames = [b"", b"a", bytes(70000)]
    assert split(join(frames)) == frames
    assert join([b"abc"]) == b"\x03\0\0\0abc"
    for data in (b"\1", b"\1\0\0\0", b"\3\0\0\0abcd", b"\xff\xff\xff\xff"):
        with pytest.raises(ProtocolError):
            split(data)


def test_the_head() -> None:
    head = Head(bytes(range(16)), 258, 1.5, last=True)
    assert head.encode() == bytes(range(16)) + b"\2\1\0\0" + b"\xdc\5\0\0" + b"\1\0\0\0"
    assert Head.decode(head.encode()) == head
    for data in (b"", bytes(27), bytes(29), bytes(24) + b"\2\0\0\0"):
        with pytest.raises(ProtocolError):
            Head.decode(data)


def request(url: str, headers: dict[str, str], body: bytes | None) -> bytes:
    asked = urllib.request.Request(url, body, headers)
    with urllib.request.build_opener().open(asked, timeout=20) as answer:  # with the proxies of now
        return answer.read()


def connect(url: str, heartbeat: bytes, every: float) -> PollingTransport:
    return PollingTransport(url, heartbeat, every, request)


def test_requests_and_a_socket_train_one_model(tmp_path: Path) -> None:
    with running(tmp_path, least_members=2) as hub:
        clients = [hub.client(connect), hub.client()]
        assert [client.transport for client in clients] == ["xhr", "native"]
        trainers = [Trainer(client, lambda p: optim.Adam(p, lr=0.03)) for client in clients]
        x, y = tg.randn(24, 6), tg.randint(0, 3, (24,))

        def train(trainer: Trainer) -> None:
            for _ in range(5):
                trainer.step(x, y)
            trainer.client.close()

        together([lambda t=t: train(t) for t in trainers])
        views = [client.view for client in clients]
        assert views[0]
        assert views[1]
        assert views[0].version == views[1].version == hub.hub.core.version == 5
        np.testing.assert_array_equal(views[0].values, views[1].values)


@pytest.mark.parametrize("answered", [False, True])
def test_requests_that_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Before the hub got them, or with what it answered: each gradient counts once."""
    monkeypatch.setattr(session, "PAUSE_S", 0.02)
    count, ends = 0, []
    for every in (10**9, 7):

        def lossy(
            url: str,
            headers: dict[str, str],
            body: bytes | None,
            every: int = every,
        ) -> bytes:
            nonlocal count
            count += 1
            if count % every == 0 and not answered:
                raise OSError("lost")
            data = request(url, headers, body)
            if count % every == 0:
                raise OSError("lost")
            return data

        with running(tmp_path / str(every), up="raw", down="raw") as hub:
            trainer = Trainer(
                hub.client(lambda url, beat, every, r=lossy: PollingTransport(url, beat, every, r))
            )
            for _ in range(6):
                tg.manual_seed(1)
                trainer.step(tg.randn(24, 6), tg.randint(0, 3, (24,)))
            trainer.client.close()
            assert hub.hub.core.version == 6
            sessions = hub.hub.metrics.get("sessions_total")
            assert (sessions > 1) == (every == 7)
            ends.append(trainer.parameters())
    for steady, flaky in zip(*ends, strict=True):
        np.testing.assert_array_equal(steady, flaky)


def test_a_transport_waits_for_frames_and_ends(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        transport = connect(hub.url, BEAT, 0.2)
        transport.send(pack(Kind.HELLO, token=hub.token, member="0" * 32, resume="", agent="test"))
        data = transport.receive(10)
        assert data
        fields = parse(decode(data))
        assert transport.receive(0) is None
        assert transport.receive(0.3) is None
        call: dict[str, Any] = {"tag": "", "weight": 1, "source": None, "size": 0, "dtype": 1}
        transport.send(pack(Kind.CALL, seq=2, op="barrier", **call))
        answer = transport.receive(None)
        assert answer
        assert decode(answer).kind is Kind.RETURN
        with pytest.raises(OSError, match="404"):
            transport.fetch(
                "/v1/parameters/" + "0" * 32, {"Authorization": f"Bearer {fields['resume']}"}
            )
        transport.send(pack(Kind.BYE))
        transport.close()
        transport.close()
        for call_it in (lambda: transport.receive(0.1), lambda: transport.send(BEAT)):
            with pytest.raises(ConnectionError, match="was closed"):
                call_it()
        for url in ("ws://127.0.0.1:1/v1/socket", hub.url.replace("ws", "wss", 1)):
            with pytest.raises(ConnectionError, match="the connection ended"):
                connect(url, BEAT, 1).receive(1)
        assert not hub.hub.core.members


def test_an_interrupted_request_ends_the_connection() -> None:
    def interrupted(*args: object) -> bytes:
        raise KeyboardInterrupt

    transport = PollingTransport("ws://hub/v1/socket", BEAT, 1, interrupted)
    with pytest.raises(KeyboardInterrupt):
        transport.receive(1)
    with pytest.raises(ConnectionError, match="interrupted"):
        transport.receive(1)
