"""Members over connections that break, hubs that are started again, and frames that are not as sent."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import optim
from tensorgl.distributed import session as session_module
from tensorgl.distributed.client import Client
from tensorgl.distributed.session import HubError
from tensorgl.distributed.transport_native import connect
from tensorgl.distributed.view import View, hash_of
from tensorgl.distributed.wire import Codec, Frame, Kind, decode, encode
from tests.distributed.running import Flaky, Running, Trainer, network, running, together

ROUNDS = 3


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PAUSE_S", 0.02)


@pytest.fixture
def batch() -> tuple[tg.Tensor, tg.Tensor]:
    return tg.randn(24, 6), tg.randint(0, 3, (24,))


def sgd(p: Any) -> optim.Optimizer:
    return optim.SGD(p, lr=0.1, momentum=0.9)


def trained(batch: tuple[tg.Tensor, tg.Tensor], rounds: int = ROUNDS) -> list[np.ndarray]:
    """What one process comes to."""
    net = network()
    optimizer = sgd(net.parameters())
    for _ in range(rounds):
        optimizer.zero_grad()
        tg.nn.functional.cross_entropy(net(batch[0]), batch[1]).backward()
        optimizer.step()
    return [p.detach().numpy() for p in net.parameters()]


def check(trainer: Trainer, expected: list[np.ndarray]) -> None:
    for value, wanted in zip(trainer.parameters(), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-7)


def run(hub: Running, plan: Flaky, batch: tuple[tg.Tensor, tg.Tensor]) -> Trainer:
    trainer = Trainer(hub.client(plan), sgd)
    for _ in range(ROUNDS):
        trainer.step(*batch)
    trainer.client.close()
    return trainer


class TestLostConnections:
    """Whatever is lost, and when: each gradient counts once."""

    @pytest.mark.parametrize("way", ["sends", "receives"])
    def test_at_every_frame(self, tmp_path: Path, batch: Any, way: str) -> None:
        expected = trained(batch)
        for number in range(1, 100):
            plan = Flaky(**{way: [number]})
            with running(tmp_path / str(number), up="raw", down="raw") as hub:
                trainer = run(hub, plan, batch)
                assert hub.hub.run.version == ROUNDS
            check(trainer, expected)
            if plan.connections == 1:
                assert number > 20  # it ended before
                break
        else:
            raise AssertionError("a run has fewer frames than that")

    def test_again_and_again(self, tmp_path: Path, batch: Any) -> None:
        plan = Flaky(sends=range(6, 200, 6), receives=range(9, 200, 9))
        with running(tmp_path, up="raw", down="raw") as hub:
            check(run(hub, plan, batch), trained(batch))
        assert plan.connections > 5

    def test_lossy_codecs_lose_nothing_more(self, tmp_path: Path, batch: Any) -> None:
        ends: list[Any] = []
        for number, plan in enumerate([Flaky(), Flaky(sends=range(7, 200, 7))]):
            with running(tmp_path / str(number), up="int8", down="int8") as hub:
                ends.append(run(hub, plan, batch).parameters())
        for steady, flaky in zip(*ends, strict=True):
            np.testing.assert_array_equal(steady, flaky)

    def test_whoever_uploads_the_model_is_lost(self, tmp_path: Path, batch: Any) -> None:
        with running(tmp_path, up="raw", down="raw") as hub:
            plan = Flaky(sends=[3])  # HELLO, DEFINE, and the first part
            check(run(hub, plan, batch), trained(batch))
            assert plan.connections == 2

    def test_one_of_two(self, tmp_path: Path, batch: Any) -> None:
        x, y = batch
        with running(tmp_path, up="raw", down="raw", least_members=2) as hub:
            plan = Flaky(sends=[12, 30], receives=[20, 45])
            members = [Trainer(hub.client(), sgd), Trainer(hub.client(plan), sgd)]
            shares = [(x[:7], y[:7]), (x[7:], y[7:])]
            together(
                [
                    lambda m=m, s=s: [m.step(*s) for _ in range(ROUNDS)]
                    for m, s in zip(members, shares, strict=True)
                ]
            )
            assert hub.hub.run.version == ROUNDS
            assert plan.connections > 1
            for member in members:
                check(member, trained(batch))
                member.client.close()


class TestHubs:
    def test_started_again_between_rounds(self, tmp_path: Path, batch: Any) -> None:
        with running(tmp_path, up="raw", down="raw") as hub:
            trainer = Trainer(hub.client(), sgd)
            for _ in range(ROUNDS):
                trainer.step(*batch)
                hub.stop()
                hub.start()
            trainer.client.close()
        check(trainer, trained(batch))

    def test_killed_while_two_train(self, tmp_path: Path, batch: Any) -> None:
        x, y = batch
        rounds = 12
        with running(tmp_path, up="raw", down="raw", least_members=2) as hub:
            hub.stop()
            process = serve(hub)
            members = [Trainer(hub.client(), sgd) for _ in range(2)]
            shares = [(x[:7], y[:7]), (x[7:], y[7:])]

            def kill() -> None:
                nonlocal process
                while members[0].client.view.version < 3:
                    time.sleep(0.001)
                process.kill()
                process.wait()
                process = serve(hub)

            together(
                [
                    *(
                        lambda m=m, s=s: [m.step(*s) for _ in range(rounds)]
                        for m, s in zip(members, shares, strict=True)
                    ),
                    kill,
                ]
            )
            for member in members:
                assert member.client.view.version == rounds
                check(member, trained(batch, rounds))
                member.client.close()
            process.send_signal(signal.SIGTERM)
            process.wait()
            hub.start()
            assert hub.hub.run.version == rounds

    def test_one_that_says_nothing(
        self, tmp_path: Path, batch: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_module, "HEARTBEAT_S", 0.05)
        with running(tmp_path, up="raw", down="raw", lease=0.2) as hub:
            plan = Flaky(mute=10)
            check(run(hub, plan, batch), trained(batch))
        assert plan.connections == 2

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            url = hub.url
        with pytest.raises(ConnectionError, match="no hub for 0 s: no connection to ws://"):
            Client(url, hub.token, connect, 0)

    def test_whom_it_refuses(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub, pytest.raises(HubError, match="token is not of this run"):
            Client(hub.url, hub.token[:-2] + "AA", connect, 5)

    def test_another_model(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            client = hub.client()
            value = {"parameters": [["w", [3]]], "buckets": [3]}
            client.define_model(value, [np.ones(3, np.float32)])
            other = hub.client()
            value = {"parameters": [["w", [4]]], "buckets": [4]}
            with pytest.raises(HubError, match="another model"):
                other.define_model(value, [np.ones(4, np.float32)])
            for member in (client, other):
                member.close()

    def test_another_optimizer(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            Trainer(hub.client(), lambda p: optim.SGD(p, lr=0.1)).client.close()
            with pytest.raises(HubError, match="another optimizer"):
                Trainer(hub.client(), lambda p: optim.SGD(p, lr=0.2))


class TestLateWork:
    def test_what_is_too_late_comes_with_the_next(self, tmp_path: Path) -> None:
        """Of SGD with rate 1, parameters are the sum of what counted."""
        with running(
            tmp_path, up="raw", down="raw", least_members=2, quorum=0.5, grace=0.1, most_stale=0
        ) as hub:
            fast, slow = hub.client(), hub.client()
            for member in (fast, slow):
                value = {"parameters": [["w", [2]]], "buckets": [2]}
                member.define_model(value, [np.zeros(2, np.float32)])
            options = {"name": "SGD", "options": [{"lr": 1.0}], "groups": [0], "local_steps": 0}
            fast.define("optimizer", options)

            def give(member: Client, *values: float) -> str:
                array = [np.array(values, np.float32)]
                member.begin(member.view.version, 1, [])
                for values in array:
                    member.put(values)
                return member.commit()

            together([lambda: [give(fast, 1, 0) for _ in range(2)], slow.take])
            assert give(slow, 0, 1) == "stale"
            together([lambda: give(fast, 1, 0), slow.take])
            assert give(slow, 0, 1) == "counted"
            np.testing.assert_array_equal(slow.view.values, [-3, -2])
            for member in (fast, slow):
                member.close()


class TestView:
    def frames(self, values: np.ndarray, attempt: int = 0, round: int = 1) -> Iterator[Frame]:
        for bucket, part in enumerate(np.split(values.astype("<f4"), [3])):
            yield Frame(Kind.RESULT, part.tobytes(), attempt, round, bucket, 0, 1)

    def view(self) -> View:
        view = View([3, 2])
        view.replace(0, np.zeros(5, "<f4").tobytes())
        return view

    def test_takes_valid_attempts_only(self) -> None:
        view, values = self.view(), np.arange(5, dtype=np.float32)
        for frame in [*self.frames(values + 9), *self.frames(values, attempt=1)]:
            view.result(frame)
        assert view.close(1, [1, 1], hash_of(values.data))
        np.testing.assert_array_equal(view.values, values)
        assert view.version == 1

    def test_an_attempt_that_is_missing(self) -> None:
        view, values = self.view(), np.arange(5, dtype=np.float32)
        for frame in self.frames(values):
            view.result(frame)
        assert not view.close(1, [0, 1], hash_of(values.data))

    def test_rounds_that_are_skipped(self) -> None:
        view, values = self.view(), np.arange(5, dtype=np.float32)
        for frame in self.frames(values, round=2):
            view.result(frame)
        assert not view.close(2, [], hash_of(values.data))

    def test_another_hash(self) -> None:
        view, values = self.view(), np.arange(5, dtype=np.float32)
        for frame in self.frames(values):
            view.result(frame)
        assert not view.close(1, [], hash_of(b""))

    def test_differences_are_added(self) -> None:
        view = self.view()
        view.replace(0, np.ones(5, "<f4").tobytes())
        for frame in self.frames(np.full(5, 0.5)):
            payload = np.frombuffer(frame.payload, "<f4").astype("<f2").tobytes()
            view.result(dataclasses.replace(frame, payload=payload, codec=Codec.FLOAT16))
        assert view.close(1, [], hash_of(np.full(5, 1.5, "<f4").data))

    def test_a_replica_that_went_wrong_is_mended(self, tmp_path: Path, batch: Any) -> None:
        changed = 0

        def change(data: bytes) -> bytes:
            nonlocal changed
            frame = decode(data)
            if frame.kind is not Kind.RESULT or frame.round != 2 or frame.bucket:
                return data
            changed += 1
            wrong = (np.frombuffer(frame.payload, "<f4") + np.float32(1)).tobytes()
            return encode(dataclasses.replace(frame, payload=wrong))

        with running(tmp_path, up="raw", down="raw") as hub:
            trainer = run(hub, Flaky(change=change), batch)
        assert changed
        check(trainer, trained(batch))


def serve(hub: Running) -> subprocess.Popen[bytes]:
    """A hub in a process of its own, at the same place."""
    command = [sys.executable, "-c", SERVE, str(hub.directory), str(hub.port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


SERVE = """
import asyncio, signal, sys
from tensorgl.distributed.hub import Hub
async def main():
    hub = Hub(sys.argv[1])
    await hub.start(port=int(sys.argv[2]))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(hub.stop()))
    print("ready", flush=True)
    await hub.wait()
asyncio.run(main())
"""
