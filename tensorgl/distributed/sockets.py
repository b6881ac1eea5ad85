"""Members' connections at the hub: who is let in, and what becomes of each frame that comes.

It checks all that can be checked before the core hears of it, so that nothing a member says can
surprise whoever works off what the core asks for.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tensorgl.distributed import tokens
from tensorgl.distributed.connection import Connection, Pipe
from tensorgl.distributed.definitions import digest
from tensorgl.distributed.messages import pack, parse
from tensorgl.distributed.model import check_optimizer
from tensorgl.distributed.tokens import TokenError
from tensorgl.distributed.wire import (
    HEADER,
    LARGEST_PAYLOAD,
    Codec,
    Frame,
    Kind,
    ProtocolError,
    decode,
)

if TYPE_CHECKING:
    from tensorgl.distributed.hub import Hub

__all__ = ["GREETING", "Sockets"]

GREETING = 4096  # bytes of the first frame, which comes before its sender is known
_PATIENCE = 5.0  # seconds for it
_STRANGERS = 32  # connections of one address that have not said yet who they are
_REST = 9  # times what a definition took; so all of them together take a tenth of the hub's time


class Sockets:
    """The sockets of a hub's members."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._numbers = itertools.count(1)
        self._strangers: Counter[str] = Counter()
        self._defining = asyncio.Lock()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve a member from its greeting to its end."""
        socket = web.WebSocketResponse(
            timeout=1.0, compress=False, max_msg_size=LARGEST_PAYLOAD + HEADER + 1
        )
        self.check_origin(request)
        with self.stranger(request):
            await socket.prepare(request)
            try:
                async with self.patience():
                    fields = self.greet((await socket.receive()).data)
            except (ProtocolError, TokenError, TimeoutError) as error:
                with suppress(ConnectionError):
                    await socket.send_bytes(self.refusal(error))
                    await socket.close()
                return socket
        self._hub.door.asked(request.transport, member=True)
        await self.serve(_Socket(socket, request.transport), fields, request.remote or "")
        return socket

    # Who is let in, on whatever connection

    def check_origin(self, request: web.Request) -> None:
        """Whether a request may come from where it comes from.

        Raises:
            web.HTTPForbidden: it is a page's that may not connect.
        """
        origin = request.headers.get("Origin")
        if origin is not None and not self._hub.allows(origin, request.host):
            self._refused("origin")
            raise web.HTTPForbidden(
                text=f"pages of {origin} may not connect; start the hub with --origin {origin}"
            )

    @contextmanager
    def stranger(self, request: web.Request) -> Generator[None]:
        """While nobody knows who sends a request.

        Raises:
            web.HTTPServiceUnavailable: there are too many such of this address, or the hub ends.
        """
        address = request.remote or ""
        if self._hub.ending or self._strangers[address] >= _STRANGERS:
            self._refused("crowd")
            raise web.HTTPServiceUnavailable(text="too many connections; try again later")
        self._strangers[address] += 1
        try:
            yield
        finally:
            self._strangers[address] -= 1
            self._strangers += Counter()  # without those that are 0

    def patience(self) -> asyncio.Timeout:
        """How long a stranger has to say HELLO."""
        return asyncio.timeout(_PATIENCE)

    def greet(self, data: object) -> dict[str, Any]:
        """The fields of HELLO, its token checked.

        Raises:
            ProtocolError: the data is not HELLO.
            TokenError: the token does not let in.
        """
        if not isinstance(data, bytes) or len(data) > GREETING:
            raise ProtocolError(f"expected HELLO of at most {GREETING} bytes")
        frame = decode(data)
        if frame.kind is not Kind.HELLO:
            raise ProtocolError(f"expected HELLO, given {frame.kind.name}")
        fields = parse(frame)
        claims = tokens.verify(self._hub.secret, fields["token"], self._hub.config.run, time.time())
        if claims.role != "worker":
            raise TokenError(
                f"the token is for the role {claims.role}; members need one for worker"
            )
        return fields

    def refusal(self, error: Exception) -> bytes:
        """The frame that says why who is there is not let in."""
        self._refused("greeting")
        reason = str(error) or f"expected HELLO within {_PATIENCE:g} s"
        return pack(Kind.ERROR, reason=reason[:200])

    def _refused(self, why: str) -> None:
        self._hub.metrics.add("refused_total", label=why)

    # Who was let in

    async def serve(self, pipe: Pipe, fields: dict[str, Any], address: str) -> None:
        """Serve a member that said HELLO with these fields, to its end."""
        name = fields["member"]
        key = tokens.resume_key(self._hub.secret, name)
        connection = Connection(
            pipe, next(self._numbers), name, key, fields["agent"], address, self._hub.metrics
        )
        self._hub.connections[connection.number] = self._hub.members[key] = connection
        self._hub.metrics.add("sessions_total")
        writer = asyncio.create_task(connection.write(self._hub.config.settings.lease))
        try:
            resumes = hmac.compare_digest(fields["resume"], key)
            self._hub.do(self._hub.core.hello(connection.number, name, resumes, time.monotonic()))
            while (data := await pipe.receive()) is not None and not connection.closed:
                await connection.throttle(data)
                frame = decode(data)
                if frame.kind is Kind.DEFINE:
                    await self._define(connection, frame)
                else:
                    await self._receive(connection, frame)
        except ProtocolError as error:
            self._hub.lose(connection, str(error))
        finally:
            self._hub.do(self._hub.core.gone(connection.number, time.monotonic()))
            await self._forget(connection, writer)

    async def _forget(self, connection: Connection, writer: asyncio.Task[None]) -> None:
        try:
            connection.break_off()
            await self._hub.settled()  # it may be told why
            connection.finish("")
            await writer
        finally:
            writer.cancel()
            del self._hub.connections[connection.number]
            if self._hub.members.get(connection.key) is connection:
                del self._hub.members[connection.key]

    async def _define(self, connection: Connection, frame: Frame) -> None:
        """Take in a definition, which may be large: one after the other, and others have time between."""
        async with self._defining:
            if connection.closed:
                return
            start = time.monotonic()
            try:
                await self._receive(connection, frame)
            finally:
                await asyncio.sleep(_REST * (time.monotonic() - start))

    async def _receive(self, connection: Connection, frame: Frame) -> None:
        number, member, seq = connection.number, connection.member, frame.seq
        if frame.kind is Kind.PART:
            await self._part(connection, frame)
            return
        fields = parse(frame)
        if frame.kind is Kind.DEFINE:
            self._check_definition(connection, seq, fields)
        elif frame.kind is Kind.BEGIN:
            if not self._hub.run.groups:
                raise ProtocolError("BEGIN: no optimizer is defined yet")
            if len(fields["lr"]) not in (0, self._hub.run.groups):
                raise ProtocolError(
                    f"BEGIN: expected {self._hub.run.groups} learning rates, one a group"
                )
        elif frame.kind is Kind.COMMIT and self._hub.core.receives(number, seq):
            self._hub.run.staging.finish(member, seq, fields["digest"])
            connection.said = fields["metrics"]
            if self._hub.core.definitions.uploader == (member, seq) and connection.defines:
                try:
                    await self._hub.compute(
                        self._hub.run.upload, member, seq, connection.defines[1]
                    )
                except KeyError:
                    raise ProtocolError("COMMIT: nobody has asked for it yet") from None
        self._check_number(connection, frame.kind, seq)
        now = time.monotonic()
        self._hub.do(self._hub.core.message(number, frame.kind, seq, frame.round, fields, now))
        if frame.kind in (Kind.BEGIN, Kind.CALL):
            await self._hub.settled()  # or a Discard of before would meet what begins now
            if wants := self._hub.core.calls.wants(member, seq):
                self._hub.expect(connection, seq, [wants[0]], Codec.RAW, wants[1])
            elif self._hub.core.receives(number, seq):
                run = self._hub.run
                self._hub.expect(connection, seq, run.sizes, run.up, norms=run.norms)

    def _check_number(self, connection: Connection, kind: Kind, seq: int) -> None:
        """A number names one thing, as arrays are known by it."""
        member = self._hub.core.members.get(connection.member)
        used = {
            Kind.DEFINE: connection.defines is not None and connection.defines[0] == seq,
            Kind.BEGIN: bool(member and member.work and member.work.seq == seq),
            Kind.CALL: self._hub.core.calls.calling(connection.member, seq),
        }
        if kind in used and any(used[other] for other in used if other is not kind):
            raise ProtocolError(f"{kind.name}: its number is another thing's already")

    def _check_definition(self, connection: Connection, seq: int, fields: dict[str, Any]) -> None:
        part, value = fields["part"], fields["value"]
        if part == "model" and 4 * sum(value["buckets"]) > self._hub.config.memory:
            raise ProtocolError("model: it is larger than the hub's memory setting allows")
        known = self._hub.core.definitions.known(part, digest(value))
        if part == "model":
            connection.defines = seq, value
        elif part == "optimizer" and not known:
            check_optimizer(value)

    async def _part(self, connection: Connection, frame: Frame) -> None:
        number, member, seq = connection.number, connection.member, frame.seq
        self._hub.core.seen(number, time.monotonic())
        if not self._hub.core.receives(number, seq):
            return  # of something that is over
        bucket = self._hub.run.staging.put(member, frame)
        if self._hub.core.definitions.uploader == (member, seq):
            self._hub.core.uploading(time.monotonic())
            return
        if bucket is None:
            return
        checked: tuple[str, bool] | None = "", False
        if not self._hub.core.calls.wants(member, seq):
            checked = await self._hub.compute(self._hub.run.check, member, seq, bucket)
        now = time.monotonic()
        if checked and checked[0]:
            self._hub.do(self._hub.core.rejected(number, seq, *checked, now))
        elif checked:
            self._hub.do(self._hub.core.staged(number, seq, bucket, now))


class _Socket:
    """A WebSocket, as a Connection wants it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self._socket, self._transport = socket, transport

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        return message.data if message.type is WSMsgType.BINARY else None

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()
