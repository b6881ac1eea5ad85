"""`local://N`: a hub and N processes on this machine, made by forking the one that asks for them."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from tensorgl.avals import device
from tensorgl.backends import existing

__all__ = ["Ring", "fork"]

_MOST = 256
_LEFT = "local://: another process ended before all had connected"
_TOKEN_S = 10 * 365 * 86_400


class Ring:
    """A process's place among those that were forked, in the order of their ranks.

    As a context it is the time to connect: one after the other, so that ranks are places; and nobody
    goes on before all have.

    Attributes:
        url: of the hub.
        token: that lets in.
        count: of processes.
    """

    def __init__(
        self, url: str, token: str, before: int, after: int, place: int, count: int
    ) -> None:
        self.url, self.token = url, token
        self.count = count
        self._before, self._after, self._place = before, after, place

    def __enter__(self) -> None:
        if self._place:
            self._await()

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self._pass_on()
            self._await()
            if self._place < self.count - 1:
                self._pass_on()
        os.close(self._before)
        os.close(self._after)

    def _pass_on(self) -> None:
        try:
            os.write(self._after, b".")
        except BrokenPipeError:
            raise RuntimeError(_LEFT) from None

    def _await(self) -> None:
        if not os.read(self._before, 1):
            raise RuntimeError(_LEFT)


def fork(url: str) -> Ring:
    """Make the other processes and a hub; returns in all of them but the hub.

    At its exit, the first process waits for the others, and ends with status 1 if one has failed.

    Raises:
        ValueError: the address does not say how many there are to be.
        RuntimeError: this process cannot be forked, or the hub did not start.
    """
    text = url.removeprefix("local://").strip("/")
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise ValueError(
            f"expected local:// and a number up to {_MOST}, such as local://4; given {url}"
        )
    if not hasattr(os, "fork") or sys.platform == "emscripten":
        raise RuntimeError(
            f"{url}: this system cannot fork processes; start them one by one, with a hub's address"
        )
    if existing(device("gl")) is not None:
        raise RuntimeError(
            f"{url}: device 'gl' was used already, and cannot be shared with other processes; call "
            "init_process_group first"
        )
    count = int(text)
    sys.stdout.flush()
    sys.stderr.flush()
    directory = tempfile.mkdtemp(prefix="tensorgl-local-")
    alive_out, alive_in = os.pipe()  # closed when all processes have ended, and so the hub's end
    answer_out, answer_in = os.pipe()
    hub = os.fork()
    if not hub:
        os.close(alive_in)
        os.close(answer_out)
        _in_child(lambda: _serve(directory, count, alive_out, answer_in))
    os.close(alive_out)
    os.close(answer_in)
    with os.fdopen(answer_out) as answer:
        address, _, token = answer.read().partition(" ")
    if not token:
        raise RuntimeError(f"{url}: the hub did not start; it says why above")
    pipes = [os.pipe() for _ in range(count)]
    children: list[int] = []
    place = 0
    for k in range(1, count):
        child = os.fork()
        if not child:
            place, children = k, []
            break
        children.append(child)
    before, after = pipes[place - 1][0], pipes[place][1]
    for end in (end for pipe in pipes for end in pipe):
        if end not in (before, after):
            os.close(end)
    if not place:
        atexit.register(_wait, os.getpid(), children, hub, alive_in)
    return Ring(address, token, before, after, place, count)


def _in_child(work: Callable[[], object]) -> NoReturn:
    """Do something in a process of its own, which shall run nothing of the script."""
    status = 1
    try:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # Ctrl-C is for the script; the hub ends with it
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _serve(directory: str, count: int, alive: int, answer: int) -> None:
    """Be the hub, until nobody is there who may need it."""
    from tensorgl.distributed import config, tokens  # the hub's, of which members know nothing
    from tensorgl.distributed.hub import Hub

    async def serve() -> None:
        hub = Hub(directory)
        url = await hub.start()
        token = tokens.sign(hub.secret, hub.config.run, "worker", time.time() + _TOKEN_S)
        os.write(answer, f"{url} {token}".encode())
        os.close(answer)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(alive)
        await hub.stop()

    try:
        # Nothing is far here: no codec need lose anything, and no process is to be left behind.
        config.create(directory, up="raw", down="raw", least_members=count, quorum=1.0)
        asyncio.run(serve())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(parent: int, children: list[int], hub: int, alive: int) -> None:
    """End with the other processes."""
    if os.getpid() != parent:
        return  # somebody else's fork
    failed = False
    for rank, child in enumerate(children, 1):
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            failed = True
            print(f"tensorgl.distributed: rank {rank} ended with status {code}", file=sys.stderr)
    os.close(alive)
    os.waitpid(hub, 0)
    if failed:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # what is left of this process has no other way to say so
