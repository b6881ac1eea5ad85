"""Finds and starts a browser of this machine, and ends it with all its children and its profile.

This file also runs as a program, the guard: it stands between us and the browser, waits for either
to end, and cleans up after both. So no browser outlives us, even if we are killed.
"""

from __future__ import annotations

import html
import os
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO

__all__ = ["Browser", "BrowserError", "find", "launch"]

_PROGRAMS = {
    "chromium": (
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "microsoft-edge",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "firefox": (
        "firefox",
        "firefox-esr",
        "/Applications/Firefox.app/Contents/MacOS/firefox",
    ),
}
_REMEDIES = {
    "chromium": "install Chromium, Google Chrome or Edge (Debian, Ubuntu: apt-get install chromium; "
    "macOS: brew install --cask google-chrome), or use firefox",
    "firefox": "install Firefox (Debian: apt-get install firefox-esr; macOS: brew install --cask "
    "firefox), or use chromium",
}

_CHROMIUM = (
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-quic",
    "--disable-sync",
    "--password-store=basic",
    "--use-mock-keychain",
    # A script goes on when its window is behind another.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # Without a GPU, WebGL is drawn by the CPU, or there is none.
    "--enable-unsafe-swiftshader",
)
_FIREFOX = {
    "webgl.force-enabled": "true",  # also where there is no GPU
    "app.update.auto": "false",
    "browser.aboutwelcome.enabled": "false",
    "browser.shell.checkDefaultBrowser": "false",
    "browser.startup.homepage_override.mstone": '"ignore"',
    "datareporting.policy.dataSubmissionEnabled": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
    "toolkit.telemetry.reportingpolicy.firstRun": "false",
}


class BrowserError(RuntimeError):
    """A browser, or what it needs, is missing."""


def find(name: str) -> Path:
    """The program of a browser, "chromium" (and its kin) or "firefox".

    Raises:
        BrowserError: it is not installed.
    """
    if sys.platform == "win32":
        raise BrowserError("a browser is started on Linux and macOS only; use WSL on Windows")
    if name not in _PROGRAMS:
        raise BrowserError(f"expected a browser of {', '.join(_PROGRAMS)}, given {name!r}")
    for program in _PROGRAMS[name]:
        found = shutil.which(program)
        if found:
            return Path(found)
    looked = ", ".join(program for program in _PROGRAMS[name] if "/" not in program)
    raise BrowserError(f"no {name} found (looked for {looked} on PATH): {_REMEDIES[name]}")


class Browser:
    """A browser that runs."""

    def __init__(self, guard: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._guard = guard
        self._log = log

    def ended(self) -> bool:
        """Whether it is over with the browser: closed, crashed, killed."""
        return self._guard.poll() is not None

    def said(self) -> str:
        """The last lines of its complaints."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-8:])


@contextmanager
def launch(
    name: str,
    url: str,
    *,
    headed: bool = False,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Generator[Browser, None, None]:
    """Open a page in a new browser with a fresh profile; at the end both are gone.

    The address stays out of the list of processes, which every user of the machine can read.

    Args:
        name: "chromium" or "firefox".
        url: the page.
        headed: show a window.
        args: more arguments for the browser's command line.
        env: more environment variables for it.

    Raises:
        BrowserError: the browser or the display it needs is missing.
    """
    program = str(find(name))
    framed = name == "firefox" and not headed and sys.platform == "linux"
    if framed and not shutil.which("Xvfb"):
        raise BrowserError(
            "firefox has WebGL only with a display, and Xvfb, which gives it one without a window, "
            "is missing: apt-get install xvfb, show the window (--headed), or use chromium"
        )
    # A browser that is a snap sees only this folder and what the person keeps at home.
    snap = Path.home() / "snap" / name / "common"
    folder = Path(tempfile.mkdtemp(prefix="tensorgl-browser-", dir=snap if snap.is_dir() else None))
    profile, start = folder / "profile", folder / "start.html"
    profile.mkdir()
    refresh = html.escape(f"0;url={url}")
    start.write_text(f'<!doctype html><meta http-equiv="refresh" content="{refresh}">')
    if name == "chromium":
        command = [program, f"--user-data-dir={profile}", *_CHROMIUM]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium has no sandbox for root
        command += [] if headed else ["--headless"]
    else:
        lines = (f'user_pref("{key}", {value});\n' for key, value in _FIREFOX.items())
        (profile / "user.js").write_text("".join(lines))
        command = [program, "--no-remote", "--new-instance", "--profile", str(profile)]
        command += [] if headed or framed else ["--headless"]
    command += [*args, start.as_uri()]
    guard = [sys.executable, "-I", "-S", __file__, str(folder), str(int(framed)), *command]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            guard,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        try:
            yield Browser(process, log)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait()


def _guard(folder: str, framed: bool, command: list[str]) -> int:
    """Run a browser until it ends or whoever holds our standard input does."""
    environment = dict(os.environ)
    started: list[subprocess.Popen[bytes]] = []
    ends = Thread(target=_end_with_parent, args=(started,), daemon=True)
    try:
        if framed:
            started.append(_display(folder, environment))
        started.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        )
        ends.start()
        return started[-1].wait()
    finally:
        for process in reversed(started):
            _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _end_with_parent(started: list[subprocess.Popen[bytes]]) -> None:
    os.read(0, 1)  # not by sys.stdin, which a thread must not hold when Python ends
    with suppress(ProcessLookupError):
        os.killpg(started[-1].pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group; the display cleans up after itself where it is asked to end."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(2)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _display(folder: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start an X server without a screen that only this browser may use."""
    name, cookie = b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16)
    authority = Path(folder, "authority")
    any_display = struct.pack(">HHH", 0xFFFF, 0, 0)
    authority.write_bytes(
        any_display + struct.pack(">H", len(name)) + name + struct.pack(">H", 16) + cookie
    )
    reading, writing = os.pipe()
    options = ["-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-auth", str(authority)]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), *options], pass_fds=[writing], start_new_session=True
    )
    os.close(writing)
    with open(reading) as answer:
        environment |= {"DISPLAY": f":{answer.readline().strip()}", "XAUTHORITY": str(authority)}
    return server


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1], sys.argv[2] == "1", sys.argv[3:]))
