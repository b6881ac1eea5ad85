"""The hub and the workers of a chaos run, each a process that can be killed, stopped and started again.

They are forked from a server that has imported all they need, so that a start takes a few milliseconds.
Orders come through a pipe while they run: to arm a fail point, to limit the size of files, to tamper
with what is sent. A worker tells how far it has come.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tensorgl.distributed import hub as hub_module
from tensorgl.distributed import run, session, transport_native
from tensorgl.distributed.client import Client
from tensorgl.distributed.view import hash_of
from tensorgl.errors import SerializationError

from .tap import Tap

__all__ = ["ELEMENTS", "Actor", "contribution", "hub", "worker"]

ELEMENTS = (40, 3000)
"""Of the model's two buckets."""
DATA = {"size": 64, "batch": 12, "seed": 0}
WORK_S = 0.002
"""What a bucket takes a worker beside its numbers, so that some of what it sends is on its way."""
_context: Any = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class Actor:
    """A process.

    Args:
        main: what it runs; it is given its end of the pipe, and `args`.

    Attributes:
        said: what came through the pipe and was not looked at yet.
        lives: how often it was started.
    """

    def __init__(self, main: Callable[..., None], *args: Any) -> None:
        self._main, self._args = main, args
        self.lives = 0
        self.said: list[tuple[Any, ...]] = []
        self.start()

    def start(self) -> None:
        """Start it, also again once it has ended."""
        if self.lives:
            self.kill()
        self._pipe, theirs = _context.Pipe()
        args = (theirs, self._main, self.lives, *self._args)
        self._process = _context.Process(target=_live, args=args, daemon=True)
        self._process.start()
        theirs.close()
        self.lives += 1

    def order(self, *order: Any) -> None:
        """Tell it something; it may have ended."""
        with suppress(OSError):
            self._pipe.send(order)

    def signal(self, number: int) -> None:
        """Send it a signal; it may have ended."""
        if self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def listen(self) -> None:
        """Take in what it has said."""
        with suppress(EOFError, OSError):
            while self._pipe.poll():
                self.said.append(self._pipe.recv())

    def ended(self) -> int | None:
        """Its exit code, once it has one; `start` is next, then, or `kill`."""
        code: int | None = self._process.exitcode
        return code

    @property
    def peak(self) -> int:
        """The most bytes of memory that it has had; 0 if it has ended."""
        with suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) << 10
        return 0

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


def _live(pipe: Connection, main: Callable[..., None], life: int, *args: Any) -> None:
    logging.disable()  # what goes wrong here is meant to
    threading.Thread(target=_obey, args=[pipe], daemon=True).start()
    main(pipe, life, *args)


def _obey(pipe: Connection) -> None:
    with suppress(EOFError, OSError):
        while True:
            what, value = pipe.recv()
            if what == "fail":
                os.environ["TENSORGL_FAIL_POINT"] = value
            elif what == "limit":
                resource.setrlimit(resource.RLIMIT_FSIZE, (value, -1))
            else:
                Tap.orders.append(value)


def hub(pipe: Connection, life: int, directory: str, port: int) -> None:
    """A hub, until it cannot write any more."""

    async def serve() -> None:
        made = hub_module.Hub(directory)
        await made.start(port=port)
        pipe.send(("ready",))
        await made.wait()

    hub_module.Run = _Run
    try:
        asyncio.run(serve())
    except SerializationError:
        sys.exit(1)


class _Run(run.Run):
    """Keeps all logs, in the folder `kept`, for who wants to know the whole story."""

    ROUNDS = 3

    def checkpoint(self) -> None:
        for path in self.store.directory.glob("log-*.tgl"):
            kept = path.parent / "kept" / path.name
            if not kept.exists():
                os.link(path, kept)
        super().checkpoint()


def worker(
    pipe: Connection, life: int, port: int, token: str, journal: str, rounds: int, seed: int
) -> None:
    """Contribute until the parameters are those of a version, and tell of it."""
    session.HEARTBEAT_S, session.PAUSE_S, session.LONGEST_PAUSE_S = 0.1, 0.05, 0.2
    transport_native.CLOSING_S = 0.2
    tap = Tap(f"{journal}-{life}", random.Random(seed + life), lambda kind: pipe.send((kind,)))
    client = Client(f"ws://127.0.0.1:{port}/v1/socket", token, tap, 60.0)
    model = {"parameters": [[str(n), [n]] for n in ELEMENTS], "buckets": list(ELEMENTS)}
    view = client.define_model(model, [np.linspace(-1, 1, n, dtype=np.float32) for n in ELEMENTS])
    client.define("data", DATA)  # before the optimizer: so all rounds have shares
    options = [{"lr": 0.1, "momentum": 0.9}]
    client.define(
        "optimizer", {"name": "SGD", "options": options, "groups": [0, 0], "local_steps": 0}
    )
    while view.version < rounds:
        pipe.send(("version", view.version))
        share = client.take().share
        assert share
        client.begin(view.version, share[1] - share[0], [])
        for values in contribution(share):
            client.put(values)
            time.sleep(WORK_S)
        client.commit()
    found = view.version, hash_of(view.values.astype("<f4").data)
    with suppress(ConnectionError):
        client.close()
    pipe.send(("done", *found))
    signal.pause()  # so that who waits for the end of an accident finds it


def contribution(share: tuple[int, int]) -> list[np.ndarray]:
    """The mean of what is to be learned of samples: noise that each position in the stream has its own of."""
    rows = [
        np.random.default_rng(at).standard_normal(sum(ELEMENTS), np.float32) for at in range(*share)
    ]
    return np.split(np.mean(rows, 0, np.float32), np.cumsum(ELEMENTS)[:-1])
