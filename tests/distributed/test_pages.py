"""What a hub serves to people: its page, the history of the run, and the page on which browsers join."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tensorgl.distributed import config, pages, tokens
from tensorgl.distributed.history import History, Look
from tensorgl.distributed.hub import Hub
from tests.distributed.raw import members, serving, token

SOURCE = '"""What it is about."""\nprint(1)\n'


def look(version: int, **values: Any) -> Look:
    fields: dict[str, Any] = {"time": 0.0, "samples": 0, "received": 0, "sent": 0, "metrics": {}}
    return Look(version=version, **(fields | values))


def versions(history: History, after: int) -> list[int]:
    return [told["version"] for told in history.after(after)]


def test_history_keeps_the_first_and_the_newest_and_is_bounded() -> None:
    history = History()
    assert history.version == -1
    for version in range(10 * History.MOST):
        history.add(look(version))
        assert history.version == version
        if version % 977 == 0:
            assert len(versions(history, 0)) <= History.MOST
    kept = versions(history, 0)
    assert (kept[0], kept[-1]) == (0, 10 * History.MOST - 1)
    assert len(kept) > History.MOST // 2
    *gaps, last = [b - a for a, b in pairwise(kept)]
    assert set(gaps) == {16}
    assert 0 < last <= 16


def test_history_has_one_look_a_round() -> None:
    history = History()
    history.add(look(3, samples=5))
    history.add(look(3, samples=6))
    history.add(look(2))
    assert history.after(0) == [history.after(2)[0]]
    assert history.after(2)[0]["samples"] == 5
    assert history.after(3) == []


@asynccontextmanager
async def offering(directory: Path) -> AsyncGenerator[Hub]:
    """A hub with a script for browsers; of the site there is no more than the page."""
    config.create(directory / "run")
    site = directory / "site"
    site.mkdir()
    (site / "join.html").write_text("<!doctype html>")
    hub = Hub(directory / "run", script=pages.Script("train.py", SOURCE, site))
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def get(
    hub: Hub, path: str, key: str = "", redirected: bool = True
) -> tuple[int, str, dict[str, str]]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = hub.url.replace("ws", "http", 1) + path
    async with (
        aiohttp.ClientSession() as client,
        client.get(url, headers=headers, allow_redirects=redirected) as answer,
    ):
        return answer.status, await answer.text(), dict(answer.headers)


def test_the_page_needs_no_token_and_has_no_secret(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            for path, kind in (
                ("/", "text/html"),
                ("/hub/hub.html", "text/html"),
                ("/hub/hub.js", "text/javascript"),
                ("/hub/hub.css", "text/css"),
            ):
                status, text, headers = await get(hub, path)
                assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
                assert hub.config.run not in text
                policy = headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
                assert "unsafe" not in policy
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Referrer-Policy"] == "no-referrer"
            for path in ("/hub/hub.json", "/hub/..%2Fhub.py", "/hub/secret", "/hub/", "/hub.html"):
                assert (await get(hub, path))[0] == 404, path

    asyncio.run(test())


def test_the_page_does_without_curves_where_no_site_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with serving(tmp_path / "run") as hub:
            assert (await get(hub, "/hub/uplot.js"))[1] == "export default null;"
            assert (await get(hub, "/hub/uplot.css"))[:2] == (200, "")
            vendor = tmp_path / "tensorgl" / "sites" / "1" / "vendor"
            vendor.mkdir(parents=True)
            (vendor / "uplot.js").write_text("export default 1;")
            assert (await get(hub, "/hub/uplot.js"))[1] == "export default 1;"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asyncio.run(test())


def test_status_tells_the_history_that_is_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub, members(hub, 1) as (member,):
            await member.join()
            observer = token(tmp_path, "observer")

            async def told(since: str = "") -> dict[str, Any]:
                status, text, _ = await get(hub, f"/v1/status{since}", observer)
                assert status == 200
                return json.loads(text)

            async def looked(version: int) -> list[dict[str, Any]]:
                async with asyncio.timeout(20):
                    while (
                        not (history := (await told(f"?since={max(version - 1, 0)}"))["history"])
                        or history[-1]["version"] < version
                    ):
                        await asyncio.sleep(0.02)
                return history

            await looked(0)
            await member.take_part(1)
            await looked(1)
            await member.take_part(2)
            history = await looked(2)
            assert [h["version"] for h in history] == [2]
            assert history[0]["metrics"] == {"loss": 0.5}
            assert history[0]["samples"] == 2
            assert history[0]["received"] > 2 * 1_200_000
            assert history[0]["sent"] > 2 * 1_200_000
            assert abs(history[0]["time"] - time.time()) < 60
            whole = (await told("?since=0"))["history"]
            assert [h["version"] for h in whole] == [0, 1, 2]
            assert [h["samples"] for h in whole] == [0, 1, 2]
            now = await told()
            assert "history" not in now
            assert now["contributions"] == {"counted": 2}
            assert (now["refused"], now["samples"]) == ({}, 2)
            assert now["metrics"] == {"loss": 0.5}
            for wrong in ("-2", "x", "", "1.5", "9" * 17, "²"):
                assert (await get(hub, f"/v1/status?since={wrong}", observer))[0] == 400

    asyncio.run(test())


def test_status_tells_who_was_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            async with aiohttp.ClientSession() as client:
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await client.ws_connect(hub.url + "/v1/socket", origin="https://a.example")
            _, text, _ = await get(hub, "/v1/status", token(tmp_path, "admin"))
            assert json.loads(text)["refused"] == {"origin": 1}

    asyncio.run(test())


def test_browsers_join_only_where_there_is_a_script(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as hub:
            status, text, _ = await get(hub, "/join")
            assert status == 404
            assert "--script SCRIPT" in text
            worker = token(tmp_path, "worker")
            assert (await get(hub, "/v1/script", worker))[0] == 404
            assert (await get(hub, "/site/join.html"))[0] == 404

    asyncio.run(test())


def test_the_page_on_which_browsers_join(tmp_path: Path) -> None:
    async def test() -> None:
        async with offering(tmp_path) as hub:
            status, _, headers = await get(hub, "/join", redirected=False)
            assert (status, headers["Location"]) == (302, "/site/join.html")
            status, text, headers = await get(hub, "/join")
            assert (status, text) == (200, "<!doctype html>")
            # Python runs there, in shared memory; the site's own server says how.
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert "'wasm-unsafe-eval'" in headers["Content-Security-Policy"]
            assert headers["Cache-Control"] == "no-cache"
            worker = tokens.sign(hub.secret, hub.config.run, "worker", time.time() + 60)
            observer = tokens.sign(hub.secret, hub.config.run, "observer", time.time() + 60)
            status, text, _ = await get(hub, "/v1/script", worker)
            expected = {"run": hub.config.run, "name": "train.py", "source": SOURCE}
            assert json.loads(text) == expected | {"about": "What it is about."}
            assert (await get(hub, "/v1/script"))[0] == 401
            assert (await get(hub, "/v1/script", observer))[0] == 403
            assert (await get(hub, f"/v1/script?token={worker}"))[0] == 401

    asyncio.run(test())


@pytest.mark.parametrize("source", ["", "x = (", "print(1)"])
def test_a_script_may_say_nothing_of_itself(source: str) -> None:
    assert pages.Script("a.py", source, Path()).about == ""


def test_the_script_of_the_guide_runs(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "training-together.md"
    script = re.search(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    assert script
    (tmp_path / "train.py").write_text(script[1])
    environment = os.environ | {"TENSORGL_HUB": "local://2"}
    said = subprocess.run(
        [sys.executable, tmp_path / "train.py"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    results = dict(re.findall(r"rank (\d): accuracy (\d\.\d{3})", said.stdout))
    assert results.keys() == {"0", "1"}
    assert min(map(float, results.values())) > 0.95
