"""A headless browser with one page, in which tensorgl and JavaScript libraries are timed by turns.

A server on the loopback interface gives the browser page.html and, under a path that nobody can guess,
a socket. `Tab` asks over it and page.js answers, one question at a time (its head lists them). The
arithmetic of a case is known to bench/cases and peers/, not here.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from tensorgl.wasm import browsers, server, site, vendor

from ..cases import CASES, Case
from ..sides import SIDES
from ..worker import UnsupportedError

__all__ = ["IN_TAB", "Tab", "TabError", "TabWorker"]

IN_TAB = tuple(name for name, side in SIDES.items() if side.where == "tab")
"""What can be timed in a tab."""
SILENCE_S = 300.0
"""How long a tab may leave a question unanswered: three steps of jax-js can take minutes."""
TICK_S = 0.5

_HERE = Path(__file__).parent
_TYPES = {".html": "text/html", ".js": "text/javascript"}
_MAX_BYTES = 1 << 29  # of an answer: results of a case, in text


class TabError(RuntimeError):
    """The tab, or a library in it, failed. The tab can still be used unless it has `ended`."""


class TabWorker:
    """A case of one side: call it with a number of calls, and it gives the seconds a call took.

    Attributes:
        about: of tensorgl as in `Local`; of a peer `first_s`, the seconds of the first call with all
            compilation, `launches`, draws of one call, and `renderer`.
    """

    def __init__(self, tab: Tab, side: str, case: Case) -> None:
        self._tab, self._what = tab, {"side": side, "case": case.name, "key": next(tab._keys)}
        about = self._ask(do="open", op=case.op, sizes=case.sizes, group=case.group)
        if "unsupported" in about:
            raise UnsupportedError(about["unsupported"])
        self.about: dict[str, Any] = about

    def __call__(self, n: int) -> float:
        """Time n calls and the reading of what the last one gave; the seconds that one call took."""
        return float(self._ask(do="time", n=n)["seconds"])

    def check(self) -> list[np.ndarray]:
        """What one call computes, as float64; of training, the losses of the first three steps."""
        return [_array(given) for given in self._ask(do="check")["arrays"]]

    def close(self) -> None:
        """Have the tab forget the case, if the tab is still there."""
        if not self._tab.ended:
            self._ask(do="close")

    def _ask(self, **question: Any) -> dict[str, Any]:
        return self._tab.ask({**self._what, **question})


class Tab:
    """One headless Chromium with one page; a context manager.

    Attributes:
        about: `browser` (its user agent), `versions` and `load_s` (seconds to start) of each library.
        ended: whether it is over with the tab: it crashed, or said nothing for too long.
    """

    def __init__(
        self,
        browser_args: Sequence[str],
        sides: Collection[str],
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Open it and load what the sides need.

        Args:
            browser_args: for Chromium's command line, such as one of BROWSERS.
            sides: of IN_TAB.
            env: more environment variables for the browser.

        Raises:
            BrowserError: there is no Chromium.
            VendorError: Pyodide or a peer could not be had.
            TabError: the tab did not start.
        """
        unknown = set(sides) - set(IN_TAB)
        if unknown:
            raise ValueError(f"expected sides of {', '.join(IN_TAB)}, given {unknown.pop()!r}")
        self._keys = count()
        self.ended = False
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._page: web.WebSocketResponse | None = None
        self._stack = AsyncExitStack()
        self._runner = asyncio.Runner()
        try:
            browsers.find("chromium")  # before anything is fetched or built for it
            peers = [side for side in sides if SIDES[side].library != "tensorgl"]
            self._runner.run(self._open(browser_args, env, bool(peers)))
            self.about: dict[str, Any] = {"versions": {}, "load_s": {}}
            if len(peers) < len(sides):
                self._load("tensorgl", (_HERE / "inside.py").read_text(encoding="utf-8"))
            for side in peers:
                self._load(side)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def worker(self, side: str, case: str) -> TabWorker:
        """Make a case ready on a side: build it and call it for the first times.

        Raises:
            UnsupportedError: the side cannot do such a thing.
            TabError: it failed.
        """
        return TabWorker(self, side, CASES[case])

    def close(self) -> None:
        """End the browser and the server."""
        self.ended = True
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask the page something and wait for the answer.

        Raises:
            TabError: what was asked failed, or the tab is gone or says nothing.
        """
        if self.ended:
            raise TabError("the tab has ended")
        return self._runner.run(self._ask(question))

    def _load(self, library: str, script: str | None = None) -> None:
        about = self.ask({"do": "load", "side": library, "script": script})
        self.about["browser"] = about["browser"]
        self.about["versions"] |= about["versions"]
        self.about["load_s"][library] = about["load_s"]

    async def _open(
        self, browser_args: Sequence[str], env: Mapping[str, str] | None, peers: bool
    ) -> None:
        files = {path.relative_to(_HERE).as_posix(): path for path in _HERE.rglob("*")}
        if peers:
            parts = vendor.npm_parts(_HERE / "peers.json")
            files |= {f"npm/{name}": path for name, path in parts.items()}

        async def file(request: web.Request) -> web.FileResponse:
            path = files.get(request.match_info["name"])
            kind = _TYPES.get(path.suffix) if path else None
            if path is None or kind is None:
                raise web.HTTPNotFound
            return web.FileResponse(path, headers={"Content-Type": f"{kind}; charset=utf-8"})

        app = server.application(site.cached())
        token = secrets.token_urlsafe(32)
        app.router.add_get("/bench/{name:.*}", file)
        app.router.add_get(f"/{token}/socket", self._socket)
        url = await self._stack.enter_async_context(server.serving(app))
        page = f"{url}bench/page.html#{token}"
        self._browser = self._stack.enter_context(
            browsers.launch("chromium", page, args=browser_args, env=env)
        )
        await self._answer("open the page")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        """Hear the page; there is one."""
        if self._page is not None:
            raise web.HTTPConflict
        self._page = page = web.WebSocketResponse(max_msg_size=_MAX_BYTES)
        await page.prepare(request)
        self._answers.put_nowait({})
        async for message in page:
            if message.type == WSMsgType.TEXT:
                self._answers.put_nowait(message.json())
        self._answers.put_nowait(None)
        return page

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._page
        with suppress(ConnectionError):  # told by the answer that does not come
            await self._page.send_json(question)
        whom = " ".join(str(question[k]) for k in ("side", "case") if k in question)
        answer = await self._answer(f"{question['do']} {whom}")
        if "error" in answer:
            raise TabError(f"{question['do']} {whom}: {answer['error']}")
        return answer

    async def _answer(self, what: str) -> dict[str, Any]:
        waited = 0.0
        while waited < SILENCE_S:
            try:
                answer = await asyncio.wait_for(self._answers.get(), TICK_S)
            except TimeoutError:
                waited += TICK_S
                if not self._browser.ended():
                    continue
                answer = None
            if answer is not None:
                return answer
            why = "the browser or its tab was closed or crashed"
            break
        else:
            why = f"the tab said nothing for {SILENCE_S:.0f} s"
        self.ended = True
        raise TabError(f"{what}: {why}\n{self._browser.said()}".rstrip())


def _array(given: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(given["data"]), given["dtype"])
    return values.reshape(given["shape"]).astype(np.float64)
