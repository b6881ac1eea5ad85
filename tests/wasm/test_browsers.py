"""Finding, starting and ending browsers; here they are shell scripts that leave children behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tensorgl.wasm import browsers

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="lists processes by /proc")

URL = "http://127.0.0.1:1/run.html#secret"
BROWSER = """#!/bin/sh
echo "$@" > "$TOLD"
echo "cannot open display" >&2
sleep 1000 &
sleep 1000
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but a shell, a chromium, and a temporary folder of its own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "temp").mkdir()
    program(tmp_path, "chromium")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(browsers.shutil, "which", which(tmp_path / "bin"))
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    monkeypatch.setattr(browsers.tempfile, "tempdir", None)
    return tmp_path


def program(machine: Path, name: str, text: str = BROWSER) -> None:
    path = machine / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def which(folder: Path) -> Callable[[str], str | None]:
    def find(name: str) -> str | None:
        path = folder / name
        return str(path) if path.is_file() else None

    return find


def of(machine: Path) -> dict[int, str]:
    """The processes that have this machine's files open or in their command lines."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if folder.name.isdigit() and f"TOLD={machine}".encode() in environment and command:
            found[int(folder.name)] = command
    found.pop(os.getpid(), None)
    return found


def until(condition: Callable[[], object]) -> None:
    """Wait; a test that waits for ever fails by the suite's own limit."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_missing_browser_says_what_to_install(machine: Path) -> None:
    (machine / "bin" / "chromium").unlink()
    with pytest.raises(browsers.BrowserError, match=r"no chromium found.*apt-get install chromium"):
        browsers.find("chromium")
    with pytest.raises(browsers.BrowserError, match="no firefox found"):
        browsers.find("firefox")
    with pytest.raises(browsers.BrowserError, match=r"expected a browser.*given 'netscape'"):
        browsers.find("netscape")


def test_the_kin_of_chromium_are_found(machine: Path) -> None:
    (machine / "bin" / "chromium").rename(machine / "bin" / "google-chrome")
    assert browsers.find("chromium") == machine / "bin" / "google-chrome"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Firefox needs no display")
def test_firefox_needs_a_display(machine: Path) -> None:
    program(machine, "firefox")
    with (
        pytest.raises(browsers.BrowserError, match="apt-get install xvfb"),
        browsers.launch("firefox", URL),
    ):
        pass


def test_a_browser_and_all_it_started_end(machine: Path) -> None:
    with browsers.launch("chromium", URL, args=["--use-this"]) as browser:
        until((machine / "told").exists)
        until(lambda: len(of(machine)) >= 4)  # the guard, the shell and its two children
        until(browser.said)
        told = (machine / "told").read_text()
        assert "--headless" in told
        assert "--use-this" in told
        assert not any("secret" in command for command in of(machine).values())
        start = next((machine / "temp").glob("*/start.html")).read_text()
        assert URL in start
        assert (
            start.index("secret") and next((machine / "temp").iterdir()).stat().st_mode & 0o77 == 0
        )
        assert not browser.ended()
        assert browser.said() == "cannot open display"
    assert of(machine) == {}
    assert list((machine / "temp").iterdir()) == []


def test_a_window_is_shown_on_demand(machine: Path) -> None:
    with browsers.launch("chromium", URL, headed=True):
        until((machine / "told").exists)
        until((machine / "told").read_text)
    assert "--headless" not in (machine / "told").read_text()


def test_a_browser_that_ends_is_noticed(machine: Path) -> None:
    program(machine, "chromium", "#!/bin/sh\necho 'no sandbox' >&2\nexit 3\n")
    with browsers.launch("chromium", URL) as browser:
        until(browser.ended)
        assert browser.said() == "no sandbox"
    assert list((machine / "temp").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_browser_does_not_outlive_its_parent(machine: Path, number: int) -> None:
    code = (
        "import time\nfrom tensorgl.wasm import browsers\n"
        f"with browsers.launch('chromium', {URL!r}):\n    time.sleep(1000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: (machine / "told").exists() and len(of(machine)) >= 5)
    parent.send_signal(number)
    parent.wait()
    until(lambda: of(machine) == {})
    until(lambda: list((machine / "temp").iterdir()) == [])
