"""The tuner: what it finds is kept and not measured again, and what is wrong is not kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench import tune
from bench.cases.case import Array
from bench.local import Local
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.findings import Finding, decoded, encoded, known
from tensorgl.backends.glsl.tuning import Tuning
from tensorgl.wasm import browsers, site
from tests.gl import REQUIRED, use

ROOT = Path(__file__).parent.parent.parent
CASE = "matmul-64"
LONG = 60.0
"""Seconds that the search of one case does not take."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is found is kept."""
    path = tmp_path / "kept" / "tuning.json"
    monkeypatch.setenv("TENSORGL_TUNING", str(path))
    return path


@pytest.fixture
def untuned(gl_target: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GlslBackend]:
    """A backend of which nothing is known."""
    backend = use(gl_target)
    monkeypatch.setattr(backend, "tuning", Tuning(backend.device.limits))
    yield backend
    backend._plans.clear()


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "tune", *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env=dict(os.environ),
    )


def test_what_is_found_is_kept_and_not_measured_again(file: Path) -> None:
    use("fragment")
    arguments = (CASE, "--target", "fragment", "--budget", str(LONG))
    first = command(*arguments)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0].endswith("0 choices known") and "/ fragment /" in lines[0]
    assert lines[1].split()[:4] == ["case", "choice", "gain", "tried"]
    assert lines[2].split()[:2] == [CASE, "matmul"]
    assert lines[3].startswith("1 choices measured")
    assert lines[-1] == f"kept in {file}"
    ((found,),) = decoded(file.read_text(encoding="utf-8")).values()
    assert (found.family, found.case) == ("matmul", CASE)
    text = file.read_text()
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    lines = again.stdout.splitlines()
    assert lines[0].endswith("1 choices known")
    assert lines[2:] == ["0 choices measured, 0 of them improved"]
    assert file.read_text() == text


def test_what_is_found_is_used(untuned: GlslBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is slowest by estimate is the fastest by this clock."""
    monkeypatch.setattr(Local, "check", lambda local: local._workload.check())
    seconds: dict[object, float] = {}

    def clock(local: Local, n: int) -> float:
        (variant,) = untuned.tuning.choices.values()
        return seconds.setdefault(variant, 1.0 / (1 + len(seconds)))

    monkeypatch.setattr(Local, "__call__", clock)
    assert tune.run([CASE], LONG) == 0
    (found,) = known(untuned.device.limits)
    assert found.variant == min(seconds, key=lambda variant: seconds[variant])
    assert found.gain == pytest.approx(len(seconds), abs=0.01)
    assert list(untuned.tuning.choices.values()) == [found.variant]
    other = Tuning.of(untuned.device.limits)
    assert other.choices[found.family, found.key] == found.variant


def test_wrong_variants_are_said_and_not_kept(
    untuned: GlslBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(local: Local) -> list[Array]:
        return [np.zeros((64, 64), "f4")]

    monkeypatch.setattr(Local, "check", check)
    assert tune.run([CASE], LONG) == 1
    (found,) = known(untuned.device.limits)
    assert found.variant is None  # the estimate's, of which nothing else is asked
    said = [line for line in capsys.readouterr().out.splitlines() if "wrong by 1e+00" in line]
    assert said and all(line.startswith("  matmul") for line in said)
    assert not untuned.tuning.choices


def test_an_interrupt_keeps_what_was_found(
    untuned: GlslBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = tune.Tuner._search

    def interrupted(*args: object) -> tune.Result:
        if known(untuned.device.limits):
            raise KeyboardInterrupt
        return search(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(tune.Tuner, "_search", interrupted)
    before = untuned.tuning
    assert tune.run([CASE, "matmul-256"], LONG) == 130
    assert len(known(untuned.device.limits)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("1 choices measured")
    assert lines[4] == "stopped; the same again goes on from here"
    assert untuned.tuning is before


def test_no_time(untuned: GlslBackend, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.run([CASE], 0.0) == 0
    assert not file.exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "0 choices measured, 0 of them improved",
        "the 0 s are over; the same again goes on from here",
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("matmull",), "no such case; choose from matmul-64,"),
        (("start-*",), "no such case"),
        ((CASE, "--browser", "llvmpipe", "--target", "fragment"), "--target is not for --browser"),
    ],
)
def test_wrong_arguments(args: tuple[str, ...], message: str) -> None:
    result = command(*args)
    assert result.returncode == 2
    assert message in result.stderr


def test_in_a_browser(file: Path) -> None:
    """The tab reads and writes the file of this machine."""
    try:
        browsers.find("chromium")
        site.cached()
    except RuntimeError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))
    file.parent.mkdir()
    other = Finding("matmul", (1,), None, 1.0, "another's")
    file.write_text(encoded({"another device": [other]}), encoding="utf-8")
    result = command(CASE, "--browser", "llvmpipe", "--budget", str(LONG))
    assert result.returncode == 0, result.stderr
    assert "1 choices measured" in result.stdout
    found = decoded(file.read_text(encoding="utf-8"))
    assert found.pop("another device") == [other]
    ((name, ours),) = found.items()
    assert "ANGLE" in name and "/ fragment /" in name
    assert [finding.case for finding in ours] == [CASE]
