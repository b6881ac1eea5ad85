"""The hub: members' sockets, the core that decides, and the thread that computes and writes.

What happens on a socket is told to the core at once. What the core asks for is put into one queue, and
worked off in order: so nobody hears of a state before it is on the disk, and everybody hears the same.
If it cannot be written, the hub ends without telling anything more.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import web

from tensorgl.distributed import pages, tokens
from tensorgl.distributed.config import read
from tensorgl.distributed.connection import Connection
from tensorgl.distributed.core import Core
from tensorgl.distributed.door import Door
from tensorgl.distributed.effects import Answer, Close, Combine, Discard, Effect, Log, Reduce, Send
from tensorgl.distributed.messages import pack
from tensorgl.distributed.metrics import Metrics
from tensorgl.distributed.polling import Polls
from tensorgl.distributed.run import Run, answer
from tensorgl.distributed.sockets import Sockets
from tensorgl.distributed.staging import BusyError
from tensorgl.distributed.statistics import Statistics
from tensorgl.distributed.wire import Codec, Dtype, Kind
from tensorgl.errors import SerializationError

__all__ = ["Hub"]

T = TypeVar("T")

_TICK = 0.1  # seconds between looks at the clock
_AGAIN = 10.0  # seconds until a checkpoint is tried again
_IDLE = 75.0  # seconds that a connection may be kept open between requests; proxies give up sooner
_LOCAL = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?", re.ASCII)
_logger = logging.getLogger("tensorgl.distributed")


class Hub:
    """The hub of one run.

    Args:
        directory: of the run, as config.create made it.
        origins: of the pages that may connect, such as "https://example.org", beside those that are
            served on a browser's own machine; programs that are no browser's page give none, and may.
        script: what browsers run that join on the hub's own page.

    Raises:
        RuntimeError: another hub runs on the directory.
        SerializationError: the files of the run are damaged.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        origins: Iterable[str] = (),
        script: pages.Script | None = None,
    ) -> None:
        self.config = read(directory)
        self.secret = tokens.read_secret(directory)
        self.origins, self.script = frozenset(origins), script
        self.metrics = Metrics()
        self.door = Door(self.metrics)
        self.said: dict[str, float] = {}  # metrics of the last round
        self.url = ""
        self.run = Run(directory, self.config)
        definitions = self.run.definitions
        self.core = Core(
            self.config.settings,
            secrets.token_hex(16),
            self.config.up,
            time.monotonic(),
            self.run.snapshot,
            self.run.hash,
            len(self.run.sizes) if "model" in definitions else 0,
            definitions.get("data"),
            definitions["optimizer"]["local_steps"] if "optimizer" in definitions else 0,
            bool(self.run.norms),
        )
        self.connections: dict[int, Connection] = {}
        self.members: dict[str, Connection] = {}  # by resume key
        self._effects: asyncio.Queue[Effect | asyncio.Future[None]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "tensorgl-hub")
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._ended: asyncio.Future[None] | None = None
        self.ending = False
        self._full = -1  # the version when memory did not suffice last
        self._working = False  # whether effects are worked off
        self._again = 0.0  # no checkpoint is tried before

    # Start and end

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
    ) -> str:
        """Listen; returns the address, such as ws://127.0.0.1:8080.

        Raises:
            ValueError: the address is not of this machine alone, and there is no TLS.
            OSError: it is taken.
        """
        if not (tls or insecure or _is_loopback(host)):
            raise ValueError(
                f"{host} can be reached from elsewhere, and tokens would be sent in the clear: give "
                "--tls-cert and --tls-key, or --insecure if something before it encrypts"
            )
        application = pages.application(self)
        members = Sockets(self)
        application.router.add_get("/v1/socket", members.handle)
        Polls(self, members).add_to(application)
        self._ended = asyncio.get_running_loop().create_future()
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=1.0, auto_decompress=False,
            keepalive_timeout=_IDLE,
        )  # fmt: skip
        await self._runner.setup()
        try:
            for listener in await self.door.listen(host, port):
                await web.SockSite(self._runner, listener, ssl_context=tls).start()
        except OSError:
            await self._runner.cleanup()
            raise
        port = self._runner.addresses[0][1]
        self.url = f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"
        self.run.store.tell(f"{self.url} process {os.getpid()}")
        self._working = True
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._watch())]
        return self.url

    def allows(self, origin: str, host: str = "") -> bool:
        """Whether pages of an origin may connect that call the hub by the name `host`.

        Its own pages may, and those of a browser's own machine: `tensorgl run --browser` serves its page
        there, on any port.
        """
        own = bool(host) and origin.partition("://")[2] == host
        return own or origin in self.origins or _LOCAL.fullmatch(origin) is not None

    async def stop(self, reason: str = "try again: the hub stops") -> None:
        """Write down the state, tell the members, and end."""
        if self.ending:
            return
        self.ending = True
        await self.settled()
        self._rest()
        error: Exception | None = None
        try:
            await self.compute(self.run.checkpoint)
        except SerializationError as failure:
            error = failure
        for connection in list(self.connections.values()):
            connection.finish(reason)
        await self._close(error)

    async def wait(self) -> None:
        """Until the hub has ended.

        Raises:
            SerializationError: its state could not be written.
        """
        assert self._ended
        await asyncio.shield(self._ended)

    def _rest(self) -> None:
        """Do nothing more of what the core asks for."""
        self._working = False
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        while not self._effects.empty():
            effect = self._effects.get_nowait()
            if isinstance(effect, asyncio.Future) and not effect.done():
                effect.set_result(None)

    async def _close(self, error: Exception | None) -> None:
        assert self._ended
        if self._runner:
            await self._runner.cleanup()
        self.door.close()
        self._thread.shutdown()
        self.run.close()
        if not self._ended.done():
            if error:
                self._ended.set_exception(error)
            else:
                self._ended.set_result(None)

    def compute(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Do something in the thread that computes."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    # What the core asks for

    def do(self, effects: list[Effect]) -> None:
        """Do what the core asks for, after all that it asked for before."""
        for effect in effects:
            self._effects.put_nowait(effect)

    async def settled(self) -> None:
        """Once all that was asked for so far is done."""
        if self._working:
            done = asyncio.get_running_loop().create_future()
            self._effects.put_nowait(done)
            await done

    async def _work(self) -> None:
        """Work off effects, in order. What goes wrong here ends the hub, and nobody is told a lie."""
        try:
            while True:
                await self._work_off(await self._effects.get())
        except Exception as error:
            _logger.critical("the hub ends: %s", error)
            self.ending = True
            self._rest()
            for connection in list(self.connections.values()):
                connection.drop("failed")
            await self._close(error)

    async def _work_off(self, effect: Effect | asyncio.Future[None]) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Close():
                if connection := self.connections.get(effect.session):
                    connection.finish(effect.reason)
            case Discard():
                self.run.staging.discard(effect.member, effect.seq)
            case Reduce():
                await self._reduce(effect)
            case Log():
                await self._log(effect)
            case Combine():
                payloads = await self.compute(self.run.combine, effect)
                self.do(self.core.combined(effect.number, payloads))
            case Answer():
                if connection := self.connections.get(effect.session):
                    for frame in await self.compute(answer, effect):
                        connection.send(frame, self._most() + len(frame))
            case asyncio.Future():
                if not effect.done():
                    effect.set_result(None)

    def _send(self, effect: Send) -> None:
        connection = self.connections.get(effect.session)
        if connection is None:
            return
        fields = effect.fields
        if effect.kind is Kind.WELCOME:
            fields = fields | {"resume": connection.key}
        elif effect.kind is Kind.PARAMETERS:
            self.run.keep_view()
        elif effect.kind is Kind.UPLOAD:
            if connection.defines and connection.defines[0] == effect.seq:
                sizes: Any = connection.defines[1]["buckets"]
                self.expect(connection, effect.seq, sizes, Codec.RAW)
        elif effect.kind is Kind.ACK:
            self.metrics.add("contributions_total", label=fields["outcome"])
        elif effect.kind is Kind.CLOSED:
            self.said = fields["metrics"]
        data = pack(effect.kind, seq=effect.seq, round=effect.round, **fields)
        connection.send(data, self._most())

    def _most(self) -> int:
        """How many bytes may wait for a member: two rounds and some."""
        sizes = self.run.sizes if self.run.model else ()
        return (64 << 20) + 8 * sum(sizes)

    async def _reduce(self, effect: Reduce) -> None:
        start = time.monotonic()
        frames = await self.compute(self.run.reduce, effect)
        self.metrics.add("reduced_total")
        self.metrics.add("reduce_seconds_total", time.monotonic() - start)
        most = self._most()
        for session in effect.to:
            if connection := self.connections.get(session):
                for frame in frames:
                    connection.send(frame, most)

    async def _log(self, effect: Log) -> None:
        start = time.monotonic()
        hash = await self.compute(self.run.log, effect)
        self.metrics.add("log_seconds_total", time.monotonic() - start)
        self.metrics.add("samples_total", sum(p.weight for p in effect.parts))
        self.do(self.core.durable(hash, time.monotonic()))
        if self.run.long and time.monotonic() >= self._again:
            try:
                await self.compute(self.run.checkpoint)
                self.metrics.add("checkpoints_total")
            except SerializationError as error:  # nothing is lost: all is in the log
                _logger.error("%s; it is tried again later", error)
                self._again = time.monotonic() + _AGAIN

    async def _watch(self) -> None:
        """Tell the core that time passes, and members that the hub is there."""
        while True:
            await asyncio.sleep(_TICK)
            self.door.sweep()
            self.do(self.core.tick(time.monotonic()))
            for connection in list(self.connections.values()):
                connection.beat(self.config.settings.lease / 3)

    # For who has the sockets

    def lose(self, connection: Connection, reason: str) -> None:
        """End a connection for a reason that its member is told."""
        self.do(self.core.gone(connection.number, time.monotonic()))
        self.do([Close(connection.number, reason)])

    def expect(
        self,
        connection: Connection,
        seq: int,
        sizes: list[int],
        codec: Codec,
        dtype: Dtype = Dtype.FLOAT32,
        norms: Statistics = (),
    ) -> None:
        """Take in PART frames of this seq.

        Without room, a contribution is sent back; calls fail if other calls have the memory. Who sends
        anything else has to come back later.
        """
        try:
            self.run.staging.open(connection.member, seq, sizes, codec, dtype, norms)
        except BusyError as error:
            self._refuse(connection, seq, error)

    def _refuse(self, connection: Connection, seq: int, error: BusyError) -> None:
        core, member, now = self.core, connection.member, time.monotonic()
        limit = self.config.memory
        if core.calls.wants(member, seq):
            if self.run.staging.taken(core.calls.calling) + error.room > limit:
                reason = f"the arrays of all members do not fit the hub's memory of {limit} bytes"
                self.do(core.unfit(connection.number, seq, reason))
                return
        elif error.room > limit:
            reason = f"{error.room} bytes, where the hub's memory setting is {limit}"
            self.lose(connection, reason)
            return
        elif core.receives(connection.number, seq) and core.definitions.uploader != (member, seq):
            if self._full != core.version:  # once a round
                self._full = core.version
                _logger.warning("a contribution is sent back: %s; see memory in hub.json", error)
            self.do(core.busy(connection.number, seq, str(error), now))
            return
        self.lose(connection, str(error))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
