"""Hubs and members for tests: real ones, with connections that fail when they are told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorgl as tg
from tensorgl import nn, optim
from tensorgl.distributed import DistributedDataParallel, HubOptimizer, config, group, tokens
from tensorgl.distributed.client import Client
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.transport import Transport
from tensorgl.distributed.transport_native import connect

TIMEOUT_S = 20.0


class Running:
    """A hub in a thread, on a directory of its own. Rounds wait for all, unless the settings differ."""

    def __init__(self, directory: Path, **values: Any) -> None:
        self.directory = directory
        self.config = config.create(directory, **{"quorum": 1.0, "grace": 60.0, **values})
        secret = tokens.read_secret(directory)
        self.token = tokens.sign(secret, self.config.run, "worker", time.time() + 3600)
        self.port = 0
        self.start()

    def start(self) -> None:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            self.hub = Hub(self.directory)
            self.address = await self.hub.start(port=self.port)
            started.set()
            await self.hub.wait()

        def run() -> None:
            try:
                self._loop.run_until_complete(serve())
            finally:
                started.set()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert started.wait(10)
        self.port = int(self.address.rsplit(":", 1)[1])
        self.url = f"{self.address}/v1/socket"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.hub.stop(), self._loop).result(10)
        self._thread.join(10)
        self._loop.close()

    def client(self, connect: Any = connect) -> Client:
        return Client(self.url, self.token, connect, TIMEOUT_S)


@contextmanager
def running(directory: Path, **values: Any) -> Iterator[Running]:
    hub = Running(directory / "run", **values)
    try:
        yield hub
    finally:
        hub.stop()


@contextmanager
def joined(client: Client) -> Iterator[Client]:
    """What is made here is made by this member; a process has one, and these tests have several."""
    assert group._client is None
    group._client = client
    try:
        yield client
    finally:
        group._client = None


def network(seed: int = 0) -> nn.Sequential:
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


class Trainer:
    """A member that trains a network; `run` it in a thread of its own if there are others."""

    def __init__(
        self,
        client: Client,
        make: Callable[[Any], optim.Optimizer] = lambda p: optim.SGD(p, lr=0.1),
        wrap: Callable[[optim.Optimizer], optim.Optimizer] = HubOptimizer,
        seed: int = 0,
    ) -> None:
        self.client, self.inner = client, network(seed)
        with joined(client):
            self.net = DistributedDataParallel(self.inner, bucket_bytes=100)
            self.optimizer = wrap(make(self.net.parameters()))

    def step(self, x: tg.Tensor, y: tg.Tensor) -> float:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def parameters(self) -> Any:
        return [p.detach().numpy().copy() for p in self.inner.parameters()]


def together(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run functions at the same time, each in a thread; their results."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
        return [future.result(60) for future in futures]


class Flaky:
    """Makes connections that are lost at given places, and may change what comes.

    Args:
        sends: numbers of frames, counted over all connections, that are lost with the connection.
        receives: the same, of frames that come.
        change: is given each frame that comes, and returns what the member is to get.
        mute: the number of a frame from which on nothing comes any more on the first connection.
    """

    def __init__(
        self,
        sends: Sequence[int] = (),
        receives: Sequence[int] = (),
        change: Callable[[bytes], bytes] = lambda data: data,
        mute: int = 0,
    ) -> None:
        self.mute = mute
        self.sends, self.receives, self.change = set(sends), set(receives), change
        self.sent = self.received = self.connections = 0

    def __call__(self, url: str, heartbeat: bytes, every: float) -> Transport:
        self.connections += 1
        return _FlakyTransport(self, connect(url, heartbeat, every))


class _FlakyTransport:
    name = "flaky"

    def __init__(self, plan: Flaky, inner: Transport) -> None:
        self.plan, self.inner, self.lost = plan, inner, False

    def send(self, data: bytes) -> None:
        if not self.lost:
            self.plan.sent += 1
            if self.plan.sent in self.plan.sends:
                self.lose()
        if self.lost:
            raise ConnectionError("lost")
        self.inner.send(data)

    def receive(self, timeout: float | None) -> bytes | None:
        if self.lost:
            raise ConnectionError("lost")
        data = self.inner.receive(timeout)
        if self.plan.mute and self.plan.connections == 1 and self.plan.received >= self.plan.mute:
            time.sleep(min(timeout or 0, 0.01))
            return None
        if data is not None:
            self.plan.received += 1
            if self.plan.received in self.plan.receives:
                self.lose()
                raise ConnectionError("lost")
            data = self.plan.change(data)
        return data

    def fetch(self, path: str, headers: dict[str, str]) -> bytes:
        if self.lost:
            raise ConnectionError("lost")
        return self.inner.fetch(path, headers)

    def lose(self) -> None:
        self.lost = True
        self.inner.close()

    def close(self) -> None:
        if not self.lost:
            self.inner.close()
