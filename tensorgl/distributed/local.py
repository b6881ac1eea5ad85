"""`local://N`: a hub and N processes on this machine, made by forking the one that asks for them."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from tensorgl.avals import device
from tensorgl.backends import existing

__all__ = ["Ring", "fork"]

_MOST = 256
_LEFT = "local://: another process ended before all had connected"
_TOKEN_S = 10 * 365 * 86_400
_LOOK_S = 0.1  # between looks at the other processes
_END_S = 10.0  # that they have to end before they are killed


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

    If one fails, the first process ends all others, and with them itself, with status 1. At its exit it
    waits for them, unless it has failed itself.

    Raises:
        ValueError: the address does not say how many there are to be.
        ModuleNotFoundError: what a hub needs is not installed.
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
    try:
        import_module("tensorgl.distributed.hub")
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"{url} needs {missing.name}: pip install 'tensorgl[distributed]'", name=missing.name
        ) from missing
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
        atexit.register(_Others(dict(enumerate(children, 1)), hub, alive_in).wait)
    return Ring(address, token, before, after, place, count)


def _in_child(work: Callable[[], object]) -> NoReturn:
    """Do something in a process of its own, which shall run nothing of the script."""
    status = 1
    try:
        # Ctrl-C is for the script; the hub ends with it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        # Nothing is far here: no codec need lose anything, no process is to be left behind, and it is the
        # script's own arrays that take the memory: 4 GiB of each process.
        memory = count << 32
        config.create(
            directory, up="raw", down="raw", least_members=count, quorum=1.0, memory=memory
        )
        asyncio.run(serve())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Others:
    """The processes that the first one has made; a thread looks after them.

    Args:
        children: by rank, their process numbers.
        hub: the hub's.
        alive: what the hub waits for to be closed.
    """

    def __init__(self, children: dict[int, int], hub: int, alive: int) -> None:
        self._children, self._hub, self._alive = children, hub, alive
        self._parent = os.getpid()
        self._failed = self._interrupted = False
        self._thread = threading.Thread(target=self._watch, name="tensorgl-local", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """As this process ends: end with the others; or have them end, too, if it ends by an exception."""
        if os.getpid() != self._parent:
            return  # somebody else's fork
        if isinstance(getattr(sys, "last_value", None), Exception):
            self._failed = True
        self._thread.join()
        os.close(self._alive)
        os.waitpid(self._hub, 0)
        if self._interrupted:
            self._exit()

    def _watch(self) -> None:
        """Wait for all. Ctrl-C is for every process, so that who ends by it is no reason to end others."""
        while self._children:
            for rank, child in list(self._children.items()):
                pid, status = os.waitpid(child, os.WNOHANG)
                if not pid:
                    continue
                del self._children[rank]
                code = os.waitstatus_to_exitcode(status)
                if code == -signal.SIGINT:
                    self._interrupted = True
                elif code:
                    text = f"rank {rank} ended with status {code}"
                    print(f"tensorgl.distributed: {text}; ending the others", file=sys.stderr)
                    self._end()
            if self._failed:
                self._end()
            time.sleep(_LOOK_S)

    def _end(self) -> NoReturn:
        """End all others, and this process; the hub ends by itself then."""
        for child in self._children.values():
            os.kill(child, signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        for child in self._children.values():
            while not os.waitpid(child, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                time.sleep(_LOOK_S / 10)
        self._exit()

    def _exit(self) -> NoReturn:
        """End with status 1, which what is left of this process has no other way to say."""
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(1)
