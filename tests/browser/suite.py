"""Runs tests of this folder's neighbours inside a browser's tab, and gives back what became of each.

The tab gets the tests and pytest from the environment that runs this, so they are the same files.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import files
from pathlib import Path

from aiohttp import web

from tensorgl.wasm import browsers, server

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGES = (
    "attrs",
    "hypothesis",
    "iniconfig",
    "packaging",
    "pluggy",
    "pygments",
    "pytest",
    "sortedcontainers",
)
"""What pytest and hypothesis need in the tab; all of it is pure Python."""
SILENCE = 240
"""Seconds without a word after which a tab is taken for dead."""
SHOWN = 20
"""Failures whose text is shown in full."""


@dataclass
class Outcome:
    """What became of the tests in a tab."""

    selected: int = 0
    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    code: int | None = None
    error: str = ""
    output: list[str] = field(default_factory=list)
    running: str = "no test"

    def take(self, line: str) -> None:
        """A line that the tab printed."""
        if not line.startswith("\x1e"):
            self.output.append(line)
            return
        said = json.loads(line[1:])
        match said:
            case {"selected": count, "left_out": left_out}:
                self.selected, self.left_out = count, left_out
            case {"code": code}:
                self.code = code
            case {"error": text}:
                self.error = text
            case {"test": test, "outcome": "started"}:
                self.running = test
            case {"test": test, "outcome": "passed"}:
                self.passed.append(test)
            case {"test": test, "outcome": outcome, "text": text}:
                (self.failed if outcome == "failed" else self.skipped)[test] = text

    def over(self) -> bool:
        return self.code is not None or bool(self.error)

    def complaint(self) -> str:
        """Why the run is not as it should be; "" if it is."""
        lines = [f"FAILED {test}\n{text}" for test, text in list(self.failed.items())[:SHOWN]]
        lines += [f"FAILED {test}" for test in list(self.failed)[SHOWN:]]
        lines += [f"nothing is named {name}" for name, n in self.left_out.items() if not n]
        if self.error or self.code:
            lines.append(f"{self.error or f'pytest ended with {self.code}'} in {self.running}")
            lines += self.output[-40:]
        if lines:
            lines.append(f"{len(self.failed)} failed, {len(self.passed)} passed in the tab")
        return "\n".join(lines)


def run(
    site: Path,
    browser: str,
    tests: Sequence[str],
    *,
    part: tuple[int, int] = (0, 1),
    left_out: Sequence[str] = (),
    args: Sequence[str] = (),
) -> Outcome:
    """Run tests in a new browser.

    Args:
        site: the built site.
        browser: its name, for `browsers.launch`.
        tests: as on pytest's command line.
        part: (k, n): every nth test from the kth on.
        left_out: how the names of tests begin that are not for a tab.
        args: for the browser's command line.
    """
    argument = {"tests": list(tests), "part": part, "left_out": list(left_out)}
    spec = {
        "script": (HERE / "inside.py").read_text(),
        "argument": json.dumps(argument),
        "env": {"TENSORGL_TEST_BACKENDS": "webgl", "CI": os.environ.get("CI", "")},
    }
    return asyncio.run(_run(site, browser, spec, args))


async def _run(site: Path, browser: str, spec: dict[str, object], args: Sequence[str]) -> Outcome:
    outcome, news = Outcome(), asyncio.Event()
    rest = ""

    async def take(request: web.Request) -> web.Response:
        nonlocal rest
        *lines, rest = (rest + await request.text()).split("\n")
        for line in lines:
            outcome.take(line)
        news.set()
        return web.Response()

    async def page(request: web.Request) -> web.Response:
        text = '<!doctype html><script type="module" src="/suite/suite.js"></script>'
        return web.Response(text=text, content_type="text/html")

    async def script(request: web.Request) -> web.Response:
        return web.Response(text=(HERE / "suite.js").read_text(), content_type="text/javascript")

    async def given(request: web.Request) -> web.Response:
        return web.json_response(spec)

    async def archive(request: web.Request) -> web.Response:
        return web.Response(body=_archive())

    app = server.application(site)
    app.router.add_post("/suite/output", take)
    app.router.add_get("/suite/page.html", page)
    app.router.add_get("/suite/suite.js", script)
    app.router.add_get("/suite/spec.json", given)
    app.router.add_get("/suite/files.zip", archive)
    async with server.serving(app) as url:
        with browsers.launch(browser, f"{url}suite/page.html", args=args) as tab:
            while not outcome.over():
                news.clear()
                try:
                    await asyncio.wait_for(news.wait(), SILENCE)
                except TimeoutError:
                    outcome.error = f"the tab said nothing for {SILENCE} s\n{tab.said()}"
    return outcome


@cache
def _archive() -> bytes:
    """The tests, pytest, and what both need, as a zip."""
    ours = [ROOT / "pyproject.toml", *(ROOT / "tests").rglob("*"), *(ROOT / "bench").rglob("*.py")]
    found = {p.relative_to(ROOT).as_posix(): p for p in ours if p.is_file()}
    for package in PACKAGES:
        for name in files(package) or ():
            if name.suffix != ".so" and ".." not in name.parts:
                found[name.as_posix()] = Path(str(name.locate()))
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in found.items():
            if "__pycache__" not in name:
                archive.write(path, name)
    return memory.getvalue()
