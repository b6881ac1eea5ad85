"""Serves the built site: its files with the headers that shared memory and safety need.

It knows nothing of what the pages do; who needs more than files adds routes to the application.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

__all__ = ["application", "serving"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
}
"""Given here, as the tables of some systems call JavaScript plain text; all else is just bytes."""

_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src {connect}; worker-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Styles may be inline, as editors and plots write them. The worker has a policy of its own: Pyodide
and compiled Python packages evaluate JavaScript text there."""

_HEADERS = {
    "Cache-Control": "no-cache",  # ask again each time: the answer is mostly 304
    "Cross-Origin-Embedder-Policy": "require-corp",  # with the next, allows SharedArrayBuffer
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def application(site: Path, connect: Sequence[str] = ()) -> web.Application:
    """An application that serves the files of a folder, and index.html for the folder itself.

    Links in the folder are followed: it is ours. A name that leads out of it is not found.

    Args:
        site: the folder.
        connect: origins that the pages may speak to beside their own.
    """
    places = " ".join(["'self'", *connect])
    policy = _POLICY.format(scripts="'wasm-unsafe-eval'", connect=places)
    worker_policy = _POLICY.format(scripts="'wasm-unsafe-eval' 'unsafe-eval'", connect=places)
    headers = {**_HEADERS, "Content-Security-Policy": policy}

    async def serve(request: web.Request) -> web.StreamResponse:
        parts = (request.match_info["name"] or "index.html").split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise web.HTTPNotFound
        path = site.joinpath(*parts)
        if not path.is_file():
            raise web.HTTPNotFound
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        response = web.FileResponse(path, headers={"Content-Type": kind})
        if path.name == "worker.js":
            response.headers["Content-Security-Policy"] = worker_policy
        return response

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in headers.items():
            response.headers.setdefault(name, value)

    app = web.Application()
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/{name:.*}", serve)
    return app


@asynccontextmanager
async def serving(
    app: web.Application, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str, None]:
    """Serve an application; gives its address, such as "http://127.0.0.1:8000/".

    Args:
        app: what to serve.
        host: the interface to listen on.
        port: 0 takes any free one.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
