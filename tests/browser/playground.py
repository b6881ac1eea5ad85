"""The playground in Chromium, for tests of it: fixtures, and what a person does with the page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tensorgl.wasm import browsers, site
from tests.gl import REQUIRED

MESA = ["--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist"]
SLOW = 120_000
"""Milliseconds that nothing here takes."""

expect.set_options(timeout=SLOW)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`tensorgl serve` and the address that it prints."""
    try:
        browsers.find("chromium")
        site.cached()
    except RuntimeError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))
    command = [sys.executable, "-m", "tensorgl", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            yield process, line.split()[-1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(server: tuple[subprocess.Popen[str], str]) -> str:
    return server[1]


@pytest.fixture(scope="module")
def browser(url: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browsers.find("chromium"), args=[*MESA, "--no-sandbox"]
        )
        yield chromium
        chromium.close()


COMPLAINTS: list[str] = []
"""What any page's console said of errors, and what a policy kept it from doing."""


@pytest.fixture(autouse=True)
def no_complaints() -> Iterator[None]:
    yield
    found = list(COMPLAINTS)
    COMPLAINTS.clear()
    assert found == []


def opened(
    browser: Browser, url: str, prepare: Callable[[Page], None] = lambda page: None, **options: Any
) -> Page:
    page = browser.new_context(**options).new_page()
    prepare(page)
    page.set_default_timeout(SLOW)
    page.on("pageerror", lambda error: COMPLAINTS.append(str(error)))
    page.on(
        "console", lambda m: COMPLAINTS.append(m.text) if m.type in ("error", "warning") else None
    )
    page.goto(url)
    return page


@pytest.fixture(scope="module")
def page(browser: Browser, url: str) -> Page:
    """One page for most tests: Python starts once."""
    page = opened(browser, url)
    status(page, "^Ready")
    return page


def status(page: Page, pattern: str) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(pattern))


def write(page: Page, script: str) -> None:
    """Type a script into the editor."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(script)


def run(page: Page, script: str, end: str = "^Finished") -> str:
    """Run a script; what the console then shows."""
    write(page, script)
    page.get_by_role("button", name="Run").click()
    status(page, end)
    return printed(page).inner_text()


def printed(page: Page) -> Locator:
    return page.get_by_role("log")


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop").click()
