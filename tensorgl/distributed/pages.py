"""What a hub serves beside its socket: parameters for members, status and metrics for who looks after it.

The pages for people, in wasm/hub.html and wasm/join.html, hold no secrets. A token comes to them behind
the "#" of their address, which no browser sends, and goes on in a header.
"""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tensorgl.distributed import tokens
from tensorgl.distributed.history import History, Look
from tensorgl.distributed.messages import LARGEST_INTEGER
from tensorgl.version import __version__

if TYPE_CHECKING:
    from tensorgl.distributed.hub import Hub

__all__ = ["Script", "application", "status"]

_SLICE = 256 << 10  # bytes that are written at a time
_BODY = 4096  # bytes of a request, of which none has any
_LOOK = 0.25  # seconds between looks at the run, for its history
_SITE = "/site"  # where the built site is, for who joins in a browser
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGES = {
    "hub.html": "text/html",
    "hub.js": "text/javascript",
    "hub.css": "text/css",
    "theme.css": "text/css",
}
# uPlot is in a built site, and the page can do without it.
_UPLOT = {"uplot.js": ("text/javascript", "export default null;"), "uplot.css": ("text/css", "")}


@dataclass(frozen=True, slots=True)
class Script:
    """What browsers run that join.

    Attributes:
        name: of its file.
        source: its text.
        site: the folder of the built site.
    """

    name: str
    source: str
    site: Path

    @property
    def about(self) -> str:
        """Its docstring."""
        try:
            return ast.get_docstring(ast.parse(self.source)) or ""
        except SyntaxError:
            return ""


def application(hub: Hub) -> web.Application:
    """The hub's pages."""

    @web.middleware
    async def cross_origin(request: web.Request, handler: Any) -> web.StreamResponse:
        """Let the pages that may connect read what they fetch."""
        hub.door.asked(request.transport)
        if not hub.allows(request.headers.get("Origin", ""), request.host):
            return await handler(request)
        if request.method == "OPTIONS":
            return web.Response(status=204)
        return await handler(request)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith(f"{_SITE}/"):
            return  # the site has headers of its own
        origin = request.headers.get("Origin", "")
        if hub.allows(origin, request.host):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Headers"] = "Authorization"
            response.headers["Vary"] = "Origin"
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"

    async def parameters(request: web.Request) -> web.StreamResponse:
        connection = hub.members.get(_bearer(request))
        if connection is None:
            raise web.HTTPForbidden(text="expected the resume key of a member that is connected")
        data = hub.run.parameters(request.match_info["hash"])
        if data is None:
            raise web.HTTPNotFound(text="these parameters are old; send PULL again")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = len(data)
        transport, view, lease = request.transport, memoryview(data), hub.config.settings.lease
        if transport is None:
            return response
        hub.door.asked(transport, member=True)
        with connection.downloading(transport):
            try:
                await response.prepare(request)
                for at in range(0, len(data), _SLICE):
                    async with asyncio.timeout(lease):
                        await response.write(view[at : at + _SLICE])
                async with asyncio.timeout(lease):
                    await response.write_eof()
            except (ConnectionError, TimeoutError):
                transport.abort()
                return response
            finally:
                hub.door.asked(transport)
        hub.metrics.add("bytes_total", len(data), label="out")
        return response

    async def show_status(request: web.Request) -> web.Response:
        _authorize(hub, request, "observer", "admin")
        told = status(hub)
        since = request.query.get("since")
        if since is not None:
            if not (since.isascii() and since.isdigit() and len(since) <= _DIGITS):
                raise web.HTTPBadRequest(text="since: expected the version of a round\n")
            told["history"] = history.after(int(since))
        return web.json_response(told)

    async def metrics(request: web.Request) -> web.Response:
        _authorize(hub, request, "observer", "admin")
        hub.metrics.replace("member_metric", hub.said)
        hub.metrics.set("connections", len(hub.connections))
        hub.metrics.set("members", hub.core.world)
        hub.metrics.set("version", hub.core.version)
        hub.metrics.set("staged_bytes", hub.run.staging.reserved)
        hub.metrics.set("queued_bytes", sum(c.queued for c in hub.connections.values()))
        return web.Response(text=hub.metrics.text(), content_type="text/plain")

    async def stop(request: web.Request) -> web.Response:
        _authorize(hub, request, "admin")
        request.app[_STOPPING].append(asyncio.create_task(hub.stop()))
        return web.Response(status=202, text="the hub stops\n")

    async def dashboard(request: web.Request) -> web.Response:
        return _page(request.match_info.get("name", "hub.html"))

    async def join(request: web.Request) -> web.Response:
        if not script:
            raise web.HTTPNotFound(
                text="browsers cannot join; start the hub with --script SCRIPT\n"
            )
        raise web.HTTPFound(f"{_SITE}/join.html")  # browsers keep what is behind the "#"

    async def show_script(request: web.Request) -> web.Response:
        _authorize(hub, request, "worker", "admin")
        if not script:
            raise web.HTTPNotFound(text="start the hub with --script SCRIPT\n")
        told = {"run": hub.config.run, "name": script.name, "about": script.about}
        return web.json_response(told | {"source": script.source})

    async def watch(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_watch(hub, history))
        yield
        task.cancel()

    script, history = hub.script, History()
    app = web.Application(middlewares=[cross_origin], client_max_size=_BODY)
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(watch)
    app[_STOPPING] = []
    if script:
        app.add_subapp(_SITE, import_module("tensorgl.wasm.server").application(script.site))
    app.add_routes(
        [
            web.get("/v1/parameters/{hash}", parameters),
            web.get("/", dashboard),
            web.get("/hub/{name}", dashboard),
            web.get("/join", join),
            web.get("/v1/script", show_script),
            web.get("/v1/status", show_status),
            web.get("/metrics", metrics),
            web.post("/v1/stop", stop),
        ]
    )
    return app


_DIGITS = len(str(LARGEST_INTEGER))
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
        "contributions": hub.metrics.by_label("contributions_total"),
        "refused": hub.metrics.by_label("refused_total"),
        "dropped": hub.metrics.by_label("dropped_total"),
    } | asdict(_look(hub))


def _look(hub: Hub) -> Look:
    bytes_total = hub.metrics.by_label("bytes_total")
    return Look(
        version=hub.core.version,
        time=time.time(),
        samples=hub.metrics.get("samples_total"),
        received=int(bytes_total.get("in", 0)),
        sent=int(bytes_total.get("out", 0)),
        metrics=hub.said,
    )


async def _watch(hub: Hub, history: History) -> None:
    """Look at the run every now and then: what that costs does not depend on how fast rounds go."""
    while True:
        if hub.core.version != history.version:
            await hub.settled()  # members have been told of the round, with its metrics
            history.add(_look(hub))
        await asyncio.sleep(_LOOK)


def _page(name: str) -> web.Response:
    """A file of the page that shows the run."""
    wasm = Path(str(import_module("tensorgl.wasm").__file__)).parent
    if name in _PAGES:
        text = (wasm / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=_PAGES[name])
    if name not in _UPLOT:
        raise web.HTTPNotFound
    kind, text = _UPLOT[name]
    for folder in _sites():
        file = folder / "vendor" / name
        if file.is_file():
            text = file.read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind)


def _sites() -> list[Path]:
    """The sites that were built for this machine, if any."""
    vendor = import_module("tensorgl.wasm.vendor")
    try:
        return sorted((vendor.cache() / "sites").iterdir())
    except (OSError, RuntimeError):  # none was built, or tensorgl[browser] is not installed
        return []


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
