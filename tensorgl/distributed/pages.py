"""What a hub serves beside its socket: parameters for members, status and metrics for who looks after it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tensorgl.distributed import tokens
from tensorgl.version import __version__

if TYPE_CHECKING:
    from tensorgl.distributed.hub import Hub

__all__ = ["application", "status"]

_SLICE = 256 << 10  # bytes that are written at a time
_BODY = 4096  # bytes of a request, of which none has any


def application(hub: Hub) -> web.Application:
    """The hub's pages."""

    @web.middleware
    async def cross_origin(request: web.Request, handler: Any) -> web.StreamResponse:
        """Let the pages that may connect read what they fetch."""
        if request.headers.get("Origin") not in hub.origins:
            return await handler(request)
        if request.method == "OPTIONS":
            return web.Response(status=204)
        return await handler(request)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if origin in hub.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Headers"] = "Authorization"
            response.headers["Vary"] = "Origin"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"

    async def parameters(request: web.Request) -> web.StreamResponse:
        if _bearer(request) not in hub.members:
            raise web.HTTPForbidden(text="expected the resume key of a member that is connected")
        data = hub.run.parameters(request.match_info["hash"])
        if data is None:
            raise web.HTTPNotFound(text="these parameters are old; send PULL again")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = len(data)
        await response.prepare(request)
        view = memoryview(data)
        for at in range(0, len(data), _SLICE):
            await response.write(view[at : at + _SLICE])
        await response.write_eof()
        hub.metrics.add("bytes_total", len(data), label='direction="out"')
        return response

    async def show_status(request: web.Request) -> web.Response:
        _authorize(hub, request, "observer", "admin")
        return web.json_response(status(hub))

    async def metrics(request: web.Request) -> web.Response:
        _authorize(hub, request, "observer", "admin")
        hub.metrics.set("sessions", len(hub.connections))
        hub.metrics.set("members", hub.core.world)
        hub.metrics.set("version", hub.core.version)
        hub.metrics.set("staged_bytes", hub.run.staging.reserved)
        hub.metrics.set("queued_bytes", sum(c.queued for c in hub.connections.values()))
        return web.Response(text=hub.metrics.text(), content_type="text/plain")

    async def stop(request: web.Request) -> web.Response:
        _authorize(hub, request, "admin")
        request.app[_STOPPING].append(asyncio.create_task(hub.stop()))
        return web.Response(status=202, text="the hub stops\n")

    app = web.Application(middlewares=[cross_origin], client_max_size=_BODY)
    app.on_response_prepare.append(add_headers)
    app[_STOPPING] = []
    app.add_routes(
        [
            web.get("/v1/parameters/{hash}", parameters),
            web.get("/v1/status", show_status),
            web.get("/metrics", metrics),
            web.post("/v1/stop", stop),
        ]
    )
    return app


_STOPPING: web.AppKey[list[asyncio.Task[None]]] = web.AppKey("stopping")


def status(hub: Hub) -> dict[str, Any]:
    """A hub's state, for people and programs that watch it."""
    core, now = hub.core, time.monotonic()
    by_name = {c.member: c for c in hub.connections.values()}
    members: list[dict[str, Any]] = []
    for member in sorted(core.members.values(), key=lambda m: m.rank):
        connection = by_name.get(member.name)
        members.append(
            {
                "rank": member.rank,
                "agent": connection.agent if connection else "",
                "address": connection.address if connection else "",
                "connected": connection is not None,
                "silent_s": round(now - member.seen, 3),
                "samples_per_s": member.speed,
                "share": member.task.share if member.task else None,
                "strikes": member.strikes,
                "metrics": connection.said if connection else {},
            }
        )
    return {
        "run": hub.config.run,
        "url": hub.url,
        "tensorgl": __version__,
        "version": core.version,
        "hash": core.hash,
        "world": core.world,
        "defined": sorted(core.definitions.digests),
        "round": core.round.number if core.round else None,
        "up": hub.config.up,
        "down": hub.config.down,
        "rule": hub.config.rule,
        "members": members,
    }


def _bearer(request: web.Request) -> str:
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    return value if kind == "Bearer" else ""


def _authorize(hub: Hub, request: web.Request, *roles: str) -> None:
    try:
        claims = tokens.verify(hub.secret, _bearer(request), hub.config.run, time.time())
    except tokens.TokenError as error:
        raise web.HTTPUnauthorized(text=f"{error}\n") from None
    if claims.role not in roles:
        raise web.HTTPForbidden(text=f"expected a token for {' or '.join(roles)}\n")
