"""What people see of a hub in Chromium: the page that shows the run, and the page on which they join."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect
from playwright.sync_api import expect as expect_sync
from playwright.sync_api import sync_playwright

from tensorgl.distributed import config, tokens
from tensorgl.distributed.wire import Kind
from tensorgl.wasm import browsers
from tests.browser.conftest import MESA
from tests.distributed.raw import Member, gradient, serving, token

SLOW = 120_000
"""Milliseconds that nothing here takes."""
HOSTILE = '<img src=x onerror="document.title=1">'
WIDTH = 390
"""Of a phone."""


class Teller(Member):
    """A member that tells how well it does, and has a bad name."""

    async def hello(self) -> dict[str, Any]:
        await self.connect()
        await self.say(
            Kind.HELLO, token=self.token, member=self.name, resume=self.resume, agent=HOSTILE
        )
        _, fields = await self.hear(Kind.WELCOME)
        self.resume = fields["resume"]
        return fields

    async def take_part(self, rounds: int) -> None:
        while self.version < rounds:
            round, _ = await self.asked()
            self.seq += 1
            told = {"loss": 2.0 / round, "accuracy": 1 - 1 / round}
            await self.say(Kind.BEGIN, self.seq, round, samples=7, share=None, lr=[])
            digest = await self.parts(self.seq, gradient(round))
            await self.say(Kind.COMMIT, self.seq, round, digest=digest, metrics=told)
            await self.hear(Kind.CLOSED)


def watched(page: Any, complaints: list[str]) -> None:
    """Have errors of a page collected, and what a policy kept it from doing."""
    page.set_default_timeout(SLOW)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type != "info" else None)


async def cells(page: Page, table: str) -> list[list[str]]:
    """What the rows of a table say."""
    rows = await page.locator(f"#{table} tr").all()
    return [await row.locator("th, td").all_inner_texts() for row in rows]


def test_the_page_shows_members_and_curves(built: Path, tmp_path: Path) -> None:
    async def check() -> None:
        complaints: list[str] = []
        worker = token(tmp_path, "worker")
        async with serving(tmp_path) as hub, async_playwright() as playwright:
            member = Teller(hub.url, worker)
            await member.join()
            await member.take_part(3)
            chromium = await playwright.chromium.launch(
                executable_path=browsers.find("chromium"), args=["--no-sandbox"]
            )
            context = await chromium.new_context(
                color_scheme="dark", viewport={"width": WIDTH, "height": 844}
            )
            page = await context.new_page()
            watched(page, complaints)
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            url = hub.url.replace("ws", "http", 1)
            await page.goto(f"{url}/#token={token(tmp_path, 'observer')}")
            loss, accuracy = page.locator("#others"), page.locator("#shares")
            await expect(loss).to_have_attribute("aria-label", "After round 3: loss 0.6667")
            await expect(accuracy).to_have_attribute("aria-label", "After round 3: accuracy 0.6667")
            await expect(page.locator("#speed canvas")).to_be_visible()
            drawn = await loss.locator("canvas").evaluate(
                "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
            )
            assert drawn
            assert await page.title() == "Round 3 · tensorgl hub"
            (row,) = await cells(page, "members")
            assert (row[0], row[4], row[5]) == ("0", "0", HOSTILE)
            assert row[6] == "loss 0.6667, accuracy 0.6667"
            assert await page.locator("#members img").count() == 0
            assert await cells(page, "contributions") == [["counted", "3"]]
            assert await cells(page, "refused") == [["none"]]
            assert await page.locator("#samples").inner_text() == "21 since the start"
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width == WIDTH  # what is wider scrolls by itself
            # It goes on, and the page does.
            await member.take_part(4)
            await expect(loss).to_have_attribute("aria-label", "After round 4: loss 0.5")
            await page.get_by_role("button", name="Switch").click()
            assert await page.evaluate("getComputedStyle(document.body).colorScheme") == "light"
            assert await loss.locator("canvas").count() == 1
            await member.close()
            await expect(page.locator("#members .lost")).to_have_text(re.compile("lost .* s ago"))
            assert not any("token" in address for address in asked)
            assert complaints == []
            await chromium.close()

    config.create(tmp_path, up="raw", down="raw")
    asyncio.run(check())


def test_the_page_asks_for_a_token(built: Path, tmp_path: Path) -> None:
    async def check() -> None:
        async with serving(tmp_path) as hub, async_playwright() as playwright:
            chromium = await playwright.chromium.launch(
                executable_path=browsers.find("chromium"), args=["--no-sandbox"]
            )
            page = await chromium.new_page()
            page.set_default_timeout(SLOW)
            await page.goto(hub.url.replace("ws", "http", 1))
            state, main = page.locator("#state"), page.locator("#main")
            await expect(state).to_have_text("A token is needed")
            for key, said in (
                ("nonsense", "the token is not of this run"),
                (token(tmp_path, "worker"), "expected a token for observer or admin"),
            ):
                await page.get_by_label("A token").fill(key)
                await page.get_by_role("button", name="Watch").click()
                await expect(state).to_have_text(re.compile(said))
                await expect(main).to_be_hidden()
            await page.get_by_label("A token").fill(token(tmp_path, "observer"))
            await page.get_by_role("button", name="Watch").click()
            await expect(state).to_have_text("Live")
            await expect(main).to_be_visible()
            await hub.stop()
            await expect(state).to_have_text(re.compile("does not answer"))
            await chromium.close()

    config.create(tmp_path)
    asyncio.run(check())


SCRIPT = '''"""<b>Digits</b>

All together."""

import sys
import tensorgl as tg
import tensorgl.distributed as dist
from tensorgl import nn, optim
from tensorgl.datasets import digits
from tensorgl.utils.data import DataLoader, DistributedSampler

dist.init_process_group()
data = digits()
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to("cpu")
net = dist.DistributedDataParallel(net)
optimizer = dist.HubOptimizer(optim.SGD(net.parameters(), lr=0.1))
sampler = DistributedSampler(data, batch_size=256)
for epoch in range(100_000):
    for x, y in DataLoader(data, batch_sampler=sampler):
        loss = nn.functional.cross_entropy(net(x.to("cpu")), y.to("cpu"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}", flush=True)
'''


@contextmanager
def running(*command: str, **env: str) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, env=os.environ | env
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def test_a_browser_joins_pauses_and_leaves(built: Path, tmp_path: Path) -> None:
    script, directory = tmp_path / "train.py", tmp_path / "run"
    script.write_text(SCRIPT)
    made = config.create(directory, least_members=2)
    secret = tokens.read_secret(directory)
    worker = tokens.sign(secret, made.run, "worker", time.time() + 600)
    serve = ("-m", "tensorgl", "hub", "serve", str(directory), "--port", "0", "--script")
    with running(*serve, str(script)) as hub, sync_playwright() as playwright:
        assert hub.stdout
        lines = [hub.stdout.readline() for _ in range(3)]
        address = re.search(r"at (ws://\S+);", lines[0])
        watch = re.search(r"watch: (http://\S+/#token=\S+)", lines[0])
        link = re.search(r"join in a browser: (http://\S+/join#token=\S+)", lines[2])
        assert address
        assert watch
        assert link
        chromium = playwright.chromium.launch(
            executable_path=browsers.find("chromium"), args=[*MESA, "--no-sandbox"]
        )
        complaints: list[str] = []
        page = chromium.new_page()
        watched(page, complaints)
        expect_sync.set_options(timeout=SLOW)
        page.goto(link[1])
        state, contributions = page.locator("#state"), page.locator("#counted")
        expect_sync(state).to_have_text("Ready")
        expect_sync(page.locator("#about")).to_have_text("<b>Digits</b>\n\nAll together.")
        assert page.locator("#source").inner_text() == ""  # folded away, but
        assert page.locator("#source").text_content() == SCRIPT
        member = running(str(script), TENSORGL_HUB=address[1], TENSORGL_TOKEN=worker)
        with member as native:
            assert native.stdout
            page.get_by_role("button", name="Take part").click()
            expect_sync(page.locator("#world")).to_have_text("2 members")
            assert "epoch 0: loss" in native.stdout.readline()
            expect_sync(page.locator("#chart")).to_have_attribute(
                "aria-label", re.compile("loss 0")
            )
            show = chromium.new_page()
            watched(show, complaints)
            show.goto(watch[1])
            expect_sync(show.locator("#members tr")).to_have_count(2)
            expect_sync(show.locator("#members")).to_contain_text("websocket+sab Emscripten")

            page.get_by_role("button", name="Pause").click()
            expect_sync(state).to_have_text("Paused")
            before = int(contributions.inner_text().replace(",", ""))
            assert before > 0
            expect_sync(show.locator("#members tr")).to_have_count(1)  # it said goodbye

            page.get_by_role("button", name="Go on").click()
            after = rf"^(?!{before:,}$)"
            expect_sync(contributions).to_have_text(re.compile(after))
            page.get_by_role("button", name="Leave").click()
            expect_sync(state).to_have_text("You have left: thank you")
            expect_sync(page.get_by_role("button", name="Go on")).to_be_disabled()
            expect_sync(show.locator("#members tr")).to_have_count(1)
        assert complaints == []
        chromium.close()


def test_a_link_that_is_too_old(built: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print(1)")
    config.create(tmp_path / "run")
    serve = ("-m", "tensorgl", "hub", "serve", str(tmp_path / "run"), "--port", "0", "--script")
    with running(*serve, str(script)) as hub, sync_playwright() as playwright:
        assert hub.stdout
        link = [hub.stdout.readline() for _ in range(3)][2].split()[-1]
        chromium = playwright.chromium.launch(
            executable_path=browsers.find("chromium"), args=["--no-sandbox"]
        )
        page = chromium.new_page()
        page.goto(f"{link.split('#')[0]}#token=old.token")
        said = re.compile("^You cannot take part: the token is not of this run")
        expect_sync(page.locator("#state")).to_have_text(said)
        expect_sync(page.get_by_role("button", name="Take part")).to_be_disabled()
        chromium.close()


def test_a_script_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tensorgl import cli

    config.create(tmp_path)
    assert cli.main(["hub", "serve", str(tmp_path), "--script", str(tmp_path / "no.py")]) == 1
    assert "no.py" in capfd.readouterr().err
