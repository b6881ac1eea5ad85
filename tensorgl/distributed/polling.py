"""Members at the hub that have no WebSocket: each of their HTTP requests is an exchange of frames.

exchange.py has the bytes. Between its requests a member is a session, known by a number that only it was
told, and served as a socket is. Nothing comes and nothing goes while it does not ask: one that stays
silent for its lease is gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tensorgl.distributed.exchange import (
    HEAD,
    LARGEST_BODY,
    NOBODY,
    PATH,
    SESSION,
    Head,
    join,
    split,
)
from tensorgl.distributed.sockets import GREETING, Sockets
from tensorgl.distributed.tokens import TokenError
from tensorgl.distributed.wire import ProtocolError

if TYPE_CHECKING:
    from tensorgl.distributed.hub import Hub

__all__ = ["Polls"]

_LONGEST = 20.0  # seconds that an answer waits for a frame
_ROOM = 1 << 20  # bytes of an answer, and the frame that goes beyond
_LINGER = 5.0  # seconds for who has to fetch why a session ended
_OVER = "there is no such session any more"
_logger = logging.getLogger("tensorgl.distributed")


class Polls:
    """The sessions of members that ask for frames, as Sockets serves them."""

    def __init__(self, hub: Hub, sockets: Sockets) -> None:
        self._hub, self._sockets = hub, sockets
        self._pipes: dict[bytes, _Pipe] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add_to(self, application: web.Application) -> None:
        """Serve them there, until it ends."""
        application.router.add_post(PATH, self.handle)
        application.on_cleanup.append(self._close)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self._sockets.check_origin(request)
        new: _Pipe | None = None
        try:
            async with self._sockets.patience():
                head = Head.decode(await _read(request, HEAD))
                if head.session == NOBODY:
                    with self._sockets.stranger(request):
                        new = await self._open(request)
        except (ProtocolError, TokenError, TimeoutError) as error:
            return _answer(NOBODY, [self._sockets.refusal(error)])
        pipe, lease = new or self._find(head), self._hub.config.settings.lease
        self._hub.door.asked(request.transport, member=True)
        with pipe.turn():
            if pipe is not new:
                try:
                    async with asyncio.timeout(lease):
                        pipe.give(await _rest(request, LARGEST_BODY))
                except (ProtocolError, TimeoutError) as error:
                    pipe.fail(ProtocolError(str(error) or "the request took too long"))
            frames = await pipe.take(min(head.wait, _LONGEST, lease / 3))
            if head.last or request.transport is None or request.transport.is_closing():
                pipe.abort()
        return _answer(pipe.session, frames)

    def _find(self, head: Head) -> _Pipe:
        """The session that a request is of, if it may be answered now.

        Raises:
            web.HTTPGone: there is none.
            web.HTTPConflict: another one is being answered, or its number is not the next one. Then
                somebody repeats what was said, or something was lost, and the session ends.
        """
        pipe = self._pipes.get(head.session)
        if pipe is None:
            raise web.HTTPGone(text=_OVER)
        if pipe.busy:
            raise web.HTTPConflict(text="another request of this session is being answered")
        if head.number != pipe.number:
            pipe.abort()
            raise web.HTTPConflict(text=f"expected request {pipe.number}, given {head.number}")
        return pipe

    async def _open(self, request: web.Request) -> _Pipe:
        """Begin a session with who says HELLO.

        Raises:
            ProtocolError, TokenError: nobody does who may.
        """
        frames = await _rest(request, 2 * GREETING)
        fields = self._sockets.greet(frames[0] if len(frames) == 1 else None)
        pipe = _Pipe()
        self._pipes[pipe.session] = pipe
        task = asyncio.create_task(self._serve(pipe, fields, request.remote or ""))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return pipe

    async def _serve(self, pipe: _Pipe, fields: dict[str, Any], address: str) -> None:
        try:
            await self._sockets.serve(pipe, fields, address)
        except Exception:
            _logger.exception("a member's session ends")
        finally:
            pipe.abort()
            del self._pipes[pipe.session]

    async def _close(self, application: web.Application) -> None:
        """End all sessions; requests have been answered."""
        for pipe in self._pipes.values():
            pipe.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Pipe:
    """A session's frames on their way, as a Connection wants it.

    Attributes:
        session: what names it, 128 bits of chance.
        number: of the request that is to come.
        busy: a request is being answered.
    """

    def __init__(self) -> None:
        self.session = secrets.token_bytes(SESSION)
        self.number = 0
        self.busy = False
        self._came: deque[bytes] = deque()
        self._error: ProtocolError | None = None
        self._idle = False  # all that came is worked off
        self._out: list[bytes] = []
        self._bytes = 0  # in it
        self._ending = self._over = False
        self._changed = asyncio.Event()

    # For who serves the session

    async def receive(self) -> bytes | None:
        """The next frame; None at the end.

        Raises:
            ProtocolError: what came is no frames.
        """
        self._idle = not self._came
        self._changed.set()
        await self._until(lambda: self._came or self._error or self._over)
        self._idle = False
        if self._over:
            return None
        if self._error:
            raise self._error
        return self._came.popleft()

    async def send(self, data: bytes) -> None:
        """Put a frame where requests find it; waits until there is room."""
        await self._until(lambda: self._bytes < _ROOM or self._over)
        if self._over:
            raise ConnectionError(_OVER)
        self._out.append(data)
        self._bytes += len(data)
        self._changed.set()

    async def close(self) -> None:
        """End, once what was sent is fetched, or nobody comes for it."""
        self._ending = True
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                await self._until(lambda: not self._out or self._over)
        self.abort()

    def abort(self) -> None:
        """End at once."""
        self._ending = self._over = True
        self._changed.set()

    # For its requests

    @contextmanager
    def turn(self) -> Generator[None]:
        """While a request is answered; if that fails, nobody knows what arrived, and the session ends."""
        self.busy = True
        self.number += 1
        try:
            yield
        except BaseException:
            self.abort()
            raise
        finally:
            self.busy = False

    def give(self, frames: list[bytes]) -> None:
        """Frames that came.

        Raises:
            ProtocolError: there are none.
        """
        if not frames:
            raise ProtocolError("expected a frame at least")
        self._came.extend(frames)
        self._idle = False
        self._changed.set()

    def fail(self, error: ProtocolError) -> None:
        """What came is no frames."""
        self._error = error
        self._idle = False
        self._changed.set()

    async def take(self, wait: float) -> list[bytes]:
        """Frames to answer with: as soon as all that came is worked off, and there are some.

        Raises:
            web.HTTPGone: the session is over.
        """
        await self._until(lambda: self._idle or self._ending)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._until(lambda: self._out or self._over)
        if self._over:
            raise web.HTTPGone(text=_OVER)
        frames, self._out, self._bytes = self._out, [], 0
        self._changed.set()
        return frames

    async def _until(self, done: Callable[[], object]) -> None:
        while not done():
            self._changed.clear()
            await self._changed.wait()


async def _read(request: web.Request, most: int) -> bytes:
    """So many bytes of a request's body, or all if there are fewer.

    Raises:
        ProtocolError: the connection is lost, or what comes on it is no HTTP.
    """
    data = bytearray()
    try:
        while len(data) < most and (chunk := await request.content.read(most - len(data))):
            data += chunk
    except (ConnectionError, web.RequestPayloadError):
        raise ProtocolError("the request is not whole") from None
    return bytes(data)


async def _rest(request: web.Request, most: int) -> list[bytes]:
    """The frames that are the rest of a request's body.

    Raises:
        ProtocolError: it is larger than `most` bytes, or no frames.
    """
    data = await _read(request, most + 1)
    if len(data) > most:
        raise ProtocolError(f"expected at most {most} bytes of frames")
    return split(data)


def _answer(session: bytes, frames: list[bytes]) -> web.Response:
    return web.Response(body=session + join(frames), content_type="application/octet-stream")
