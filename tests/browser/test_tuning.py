"""The playground's button Tune: what it finds is shown, kept from visit to visit, and used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import playground
from tests.browser.playground import opened, printed, run, status, stop

no_complaints, server, url = playground.no_complaints, playground.server, playground.url
browser, page = playground.browser, playground.page


def tuning(*cases: str) -> Callable[[Page], None]:
    """Has a page tune for these cases only."""

    def changed(route: Route) -> None:
        answer = route.fetch()
        module, count = re.subn("CASES = .*;", f"CASES = {json.dumps(cases)};", answer.text())
        assert count == 1
        route.fulfill(response=answer, body=module)

    def prepare(page: Page) -> None:
        page.unroute_all()
        page.route("**/tuning.js", changed)

    return prepare


def tune(page: Page, end: str = "^Finished") -> str:
    """Press Tune; what the console then shows."""
    page.get_by_role("button", name="Tune").click()
    status(page, end)
    return printed(page).inner_text()


def test_tuning_is_shown_stopped_and_kept(browser: Browser, url: str) -> None:
    page = opened(browser, url, tuning("matmul-64", "mlp-sgd"))
    try:
        button = page.get_by_role("button", name="Tune")
        expect(button).to_be_disabled()
        status(page, "^Ready")
        assert button.get_attribute("title")
        button.click()
        expect(printed(page)).to_contain_text(re.compile(r"/ fragment / \d: 0 choices known\n"))
        expect(button).to_be_disabled()
        expect(page.get_by_role("button", name="Run")).to_be_disabled()
        status(page, "^Tuning: mlp-sgd: matmul")
        stop(page)
        status(page, "^Stopped")
        text = printed(page).inner_text()
        lines = text.splitlines()
        assert lines[1].split()[:3] == ["case", "choice", "gain"]
        assert lines[2].split()[:2] == ["matmul-64", "matmul"]
        assert lines[-1] == "stopped; the same again goes on from here"
        assert "kept in" not in text
        expect(page.locator("#chart")).to_be_hidden()
        expect(button).to_be_enabled()
        tuning("matmul-64")(page)
        page.reload()
        status(page, "^Ready")
        lines = tune(page).splitlines()
        assert re.search(r": [1-9]\d* choices known$", lines[0])
        assert lines[2:] == ["0 choices measured, 0 of them improved"]
    finally:
        page.context.close()


def test_tuning_where_nothing_can_be_kept(browser: Browser, url: str) -> None:
    """It is said, and known as long as the page is open."""

    def prepare(page: Page) -> None:
        tuning("matmul-64")(page)
        page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")

    page = opened(browser, url, prepare)
    try:
        status(page, "^Ready")
        assert "1 choices measured" in tune(page, "^Finished .* this browser keeps nothing")
        page.get_by_label("Device").select_option("gl")
        status(page, "^Ready")
        assert "1 choices known" in tune(page, "^Finished")
    finally:
        page.context.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is left out"),
        ('{"a": [{"family": "\ud800"}]}', "is left out"),
        (" " * 400_000 + "{", ""),
        ('["]",' * 50_000, ""),
    ],
    ids=["cut", "no finding", "long", "deep"],
)
def test_what_others_left_as_tuning(page: Page, text: str, said: str) -> None:
    page.evaluate("(text) => localStorage.setItem('tensorgl.tuning', text)", text)
    try:
        page.get_by_label("Device").dispatch_event("change")
        status(page, "^Ready")
        text = run(page, "import tensorgl as tg\nprint(tg.ones(2, device='gl').sum().item())")
        *complaint, result = text.splitlines()
        assert result == "2.0"
        assert bool(complaint) == bool(said)
        assert said in text
    finally:
        page.evaluate("localStorage.removeItem('tensorgl.tuning')")
