"""Timing in a browser's tab: every side computes the same, and what goes wrong is said clearly."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.bench.browser import IN_TAB, Tab, TabError, TabWorker, tab
from tensorgl.bench.cases import OPS, TOLERANCE, Case
from tensorgl.bench.sides import BROWSERS
from tensorgl.bench.worker import UnsupportedError
from tensorgl.wasm import browsers, site, vendor
from tests.browser.test_context import gpu_processes
from tests.gl import REQUIRED

LOCK = Path(tab.__file__).with_name("peers.json")
CONV = {"n": 2, "c": 4, "h": 6, "w": 5, "o": 4, "k": 3, "stride": 1, "padding": 1, "groups": 1}
STEP = {"model": "mlp", "optimizer": "sgd", "batch": 2}
SMALL: dict[str, list[dict[str, Any]]] = {
    "small_add": [{"n": 5}],
    "matmul": [{"m": 3, "k": 6, "n": 5}],
    "copy": [{"n": 7}],
    "chain": [{"n": 7}],
    "broadcast": [{"rows": 3, "cols": 5}],
    "transpose": [{"rows": 3, "cols": 5}],
    "sum": [{"rows": 3, "cols": 70}],
    "softmax": [{"rows": 3, "cols": 5}],
    "layer_norm": [{"rows": 3, "cols": 5}],
    "conv": [CONV, CONV | {"groups": 4}, CONV | {"stride": 2, "padding": 0}],
    "conv_grads": [CONV, CONV | {"groups": 4}, CONV | {"stride": 2}],
    "pool": [{"n": 2, "c": 3, "h": 4, "w": 6, "k": 2}],
    "pool_grad": [{"n": 2, "c": 3, "h": 4, "w": 6, "k": 2}],
    "embedding": [{"vocab": 7, "dim": 5, "n": 9}],
    "embedding_grad": [{"vocab": 7, "dim": 5, "n": 9}],
    "attention": [{"b": 2, "heads": 2, "t": 3, "d": 4}],
    "adam": [{"tensors": 3, "size": 5}],
    "readback": [{"n": 5}],
    "train": [STEP, STEP | {"optimizer": "adam"}, STEP | {"captured": 1}],
    "first_step": [STEP],
    "infer": [{"model": model, "batch": 2} for model in ("mlp", "cnn", "lenet")],
    "start_up": [{}],
}
"""Every op, of sizes that take no time. Networks that take long to compile are checked when they are timed."""

TINY = [
    Case(f"{op}-{k}", op, sizes, group="kernel" if op not in ("train", "infer") else "training")
    for op, several in SMALL.items()
    for k, sizes in enumerate(several)
]


@pytest.fixture(scope="module")
def parts() -> None:
    """What a tab needs is there; else tests are skipped, or fail where a browser is required."""
    try:
        browsers.find("chromium")
        site.cached()
        vendor.npm_parts(LOCK)
    except RuntimeError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))


@pytest.fixture(scope="module")
def opened(parts: None) -> Iterator[Tab]:
    """A tab with all sides."""
    with Tab(BROWSERS["llvmpipe"], IN_TAB) as found:
        yield found


def test_there_is_a_small_case_of_every_op() -> None:
    assert set(SMALL) == set(OPS)


@pytest.mark.parametrize("case", TINY, ids=[case.name for case in TINY])
def test_every_side_computes_the_same(opened: Tab, case: Case) -> None:
    expected = case.build(tg).check()
    computed = 0
    for side in IN_TAB:
        try:
            worker = TabWorker(opened, side, case)
        except UnsupportedError:
            assert (side, case.op) == ("jax-js", "embedding_grad")
            continue
        given = worker.check()
        assert [g.shape for g in given] == [e.shape for e in expected], side
        for g, e in zip(given, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=TOLERANCE, atol=TOLERANCE, err_msg=side)
        worker.close()
        computed += 1
    assert computed >= 3


@pytest.mark.parametrize("side", IN_TAB)
def test_a_worker_times_and_tells_of_itself(opened: Tab, side: str) -> None:
    worker = opened.worker(side, "matmul-64")
    assert worker(3) > 0
    about = worker.about
    assert about["first_s"] > 0
    if side != "pyodide-numpy":
        assert about["launches"] > 0
        assert "llvmpipe" in about["renderer"]
    if side == "webgl":
        assert about["target"] == "fragment"
        assert 0 < about["gpu_s"] < 10
        assert about["bytes_peak"] > 3 * 64**2 * 4
    worker.close()


def test_the_tab_tells_of_itself(opened: Tab) -> None:
    assert "Chrome" in opened.about["browser"]
    versions = opened.about["versions"]
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    assert set(versions) == {"tensorgl", "numpy", "tfjs", "jax-js"}
    assert versions["tensorgl"] == tg.__version__
    assert versions["tfjs"] == lock["@tensorflow/tfjs"]["version"]
    assert versions["jax-js"] == lock["@jax-js/jax"]["version"]
    assert set(opened.about["load_s"]) == {"tensorgl", "tfjs", "jax-js"}
    assert all(seconds > 0 for seconds in opened.about["load_s"].values())


def test_all_sides_have_the_same_renderer(opened: Tab) -> None:
    found = {
        opened.worker(s, "small-add").about["renderer"] for s in IN_TAB if s != "pyodide-numpy"
    }
    assert len(found) == 1 and "llvmpipe" in found.pop()


@pytest.mark.parametrize("side", IN_TAB)
def test_a_case_that_fails_leaves_the_tab_usable(opened: Tab, side: str) -> None:
    with pytest.raises(TabError, match=f"open {side} broken: (?s:.*)rror"):
        TabWorker(opened, side, Case("broken", "matmul", {"m": 2, "k": 3, "n": -1}))
    assert opened.worker(side, "small-add")(1) > 0


def test_what_a_peer_has_not_is_unsupported(opened: Tab) -> None:
    with pytest.raises(UnsupportedError, match="its WebGL backend cannot scatter"):
        opened.worker("jax-js", "embedding-10000x128-grad")
    groups = Case("in groups of two", "conv", CONV | {"groups": 2})
    with pytest.raises(UnsupportedError, match="in groups of one channel only"):
        TabWorker(opened, "tfjs", groups)


def test_an_unknown_side() -> None:
    with pytest.raises(ValueError, match=r"expected sides of webgl, .*given 'tfsj'"):
        Tab((), ["tfsj"])


@pytest.mark.usefixtures("parts")
def test_a_tab_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tab(BROWSERS["llvmpipe"], ["tfjs"]) as busy:
        worker = busy.worker("tfjs", "small-add")
        monkeypatch.setattr(tab, "SILENCE_S", 1.0)
        with pytest.raises(TabError, match="time tfjs small-add: the tab said nothing for 1 s"):
            worker(10**9)
        assert busy.ended
        worker.close()
        with pytest.raises(TabError, match="the tab has ended"):
            busy.worker("tfjs", "small-add")
    assert busy._browser.ended()


@pytest.mark.usefixtures("parts")
def test_a_browser_that_ends() -> None:
    with Tab(BROWSERS["llvmpipe"], ["tfjs"]) as ending:
        worker = ending.worker("tfjs", "small-add")
        guard = ending._browser._guard.pid
        (browser,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
        os.kill(int(browser), signal.SIGKILL)
        with pytest.raises(TabError, match="the browser or its tab was closed or crashed"):
            worker(10**9)
        assert ending.ended


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("side", ["tfjs", "jax-js"])
def test_a_context_that_is_lost(side: str) -> None:
    with Tab(BROWSERS["llvmpipe"], [side]) as losing:
        worker = losing.worker(side, "matmul-64")
        for process in gpu_processes(losing._browser._guard.pid):
            os.kill(process, signal.SIGKILL)
        with pytest.raises(TabError, match="the WebGL context was lost"):
            for _ in range(10):  # it takes the browser a moment to see it
                worker(100)
        assert not losing.ended


def test_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(browsers._PROGRAMS, "chromium", ("no-such-browser",))
    with pytest.raises(browsers.BrowserError, match="no chromium found"):
        Tab((), ["tfjs"])


@pytest.mark.usefixtures("parts")
def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "chromium").symlink_to(browsers.find("chromium"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path / "cache")
    with pytest.raises(vendor.VendorError, match=r"could not be had(?s:.*)npm client: not inst"):
        Tab((), ["tfjs"])


def test_the_lock_records_no_addresses() -> None:
    text = LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    for name, entry in json.loads(text).items():
        assert set(entry) == {"version", "integrity", "files"}, name
        assert entry["integrity"].startswith("sha512-")
