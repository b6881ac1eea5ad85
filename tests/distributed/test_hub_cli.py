"""The `tensorgl hub` commands, as a person uses them."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tensorgl.distributed import config, hub_cli, tokens
from tests.distributed.raw import Member, serving, token

PROGRAM = """
import argparse, sys
from tensorgl.distributed import hub_cli
parser = argparse.ArgumentParser()
hub_cli.add_parser(parser.add_subparsers())
sys.exit(hub_cli.main(parser.parse_args(sys.argv[1:])))
"""


def hub(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    hub_cli.add_parser(parser.add_subparsers())
    return hub_cli.main(parser.parse_args(["hub", *arguments]))


@contextmanager
def a_hub(directory: str) -> Generator[subprocess.Popen[str]]:
    """A hub in a process of its own, which ends whatever happens."""
    command = [sys.executable, "-c", PROGRAM, "hub", "serve", directory, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_from_init_to_stop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    directory = str(tmp_path / "run")
    assert hub("init", directory, "--up", "raw", "--down", "raw") == 0
    assert f"tensorgl hub serve {directory}" in capfd.readouterr().out
    assert hub("token", directory, "--ttl", "1h") == 0
    text = capfd.readouterr().out.strip()
    run = config.read(directory).run
    assert tokens.verify(tokens.read_secret(directory), text, run, 0).role == "worker"
    assert hub("status", directory) == 1
    assert "no hub runs" in capfd.readouterr().out

    with a_hub(directory) as process:
        assert process.stdout
        url = re.search(r"round 0, at (ws://127\.0\.0\.1:\d+)", process.stdout.readline())
        assert url
        join = process.stdout.readline()
        assert f"TENSORGL_HUB={url[1]} " in join
        assert f"$(tensorgl hub token {directory})" in join

        async def train() -> None:
            member = Member(url[1], text)
            await member.join()
            await member.take_part(2)
            await member.close()

        asyncio.run(train())
        assert hub("status", directory) == 0
        assert json.loads(capfd.readouterr().out)["version"] == 2
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate()
        assert (process.returncode, out) == (0, "stopped after round 2\n")
    assert (tmp_path / "run" / "checkpoint-1.tgl").exists()


def test_status_of_an_address_needs_a_token(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with serving(tmp_path) as served:
            monkeypatch.delenv("TENSORGL_TOKEN", raising=False)
            assert await asyncio.to_thread(hub, "status", served.url) == 1
            assert "the token is not of this run" in capfd.readouterr().err
            monkeypatch.setenv("TENSORGL_TOKEN", token(tmp_path, "observer"))
            assert await asyncio.to_thread(hub, "status", served.url) == 0
            assert json.loads(capfd.readouterr().out)["url"] == served.url

    asyncio.run(test())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("serve", "{}/none"), "no run in"),
        (("token", "{}/none"), "make one: tensorgl hub init"),
        (("token", "{}", "--ttl", "soon"), "such as 7d"),
        (("init", "{}"), "File exists"),
        (("init", "{}/new", "--up", "zip"), "up: expected one of raw, float16, int8, topk"),
        (("serve", "{}", "--tls-cert", "x"), "--tls-cert and --tls-key go together"),
        (("serve", "{}", "--host", "0.0.0.0"), "or --insecure"),
        (("status", "http://127.0.0.1:1"), "refused"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    config.create(tmp_path)
    assert hub(*(a.format(tmp_path) for a in arguments)) == 1
    error = capfd.readouterr().err
    assert error.startswith("tensorgl hub: ")
    assert why in error


@pytest.mark.parametrize("package", ["aiohttp", "prometheus_client"])
@pytest.mark.parametrize(
    ("arguments", "extras"),
    [((), "tensorgl[distributed]"), (("--script", "x.py"), "tensorgl[browser,distributed]")],
)
def test_what_is_not_installed_is_said(
    tmp_path: Path, package: str, arguments: tuple[str, ...], extras: str
) -> None:
    config.create(tmp_path / "run")
    (tmp_path / "x.py").write_text("print('x')\n")
    without = f"import sys; sys.modules[{package!r}] = None\n"
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            without + PROGRAM,
            "hub",
            "serve",
            str(tmp_path / "run"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert package in result.stderr
    assert f"pip install '{extras}'" in result.stderr
