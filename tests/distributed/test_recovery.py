"""A hub that is killed, or whose disk is full, loses nothing that it has told, and counts nothing twice."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from tensorgl.distributed import config
from tests.distributed.raw import Member, first, gradient, token

ROUNDS = 5
HUB = """
import asyncio, resource, sys
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.run import Run

Run.ROUNDS = 2
async def main():
    hub = Hub(sys.argv[1])
    await hub.start(port=int(sys.argv[2]))
    if sys.argv[3:]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
    await hub.wait()
try:
    asyncio.run(main())
except RuntimeError as error:
    sys.exit(str(error))
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def start(
    directory: Path, port: int, point: str = "", *arguments: str
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", HUB, str(directory), str(port), *arguments,
        env={**os.environ, "TENSORGL_FAIL_POINT": point}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def check(members: list[Member]) -> None:
    """All are at the parameters that a run without any accident comes to, bit for bit."""
    values = first()
    for round in range(1, ROUNDS + 1):
        for k, value in enumerate(values):
            mean = np.mean([gradient(round, m.number)[k] for m in members], 0, np.float64)
            value -= np.float32(0.5) * mean.astype(np.float32)
    for member in members:
        assert member.version == ROUNDS
        assert member.hash == member.mine
        for value, expected in zip(member.values, values, strict=True):
            np.testing.assert_array_equal(value, expected)


async def train(directory: Path, *ends: tuple[str, ...], codes: int = 137) -> list[str]:
    """A run whose hub is started with the arguments of each end, in turn, and then lives on."""
    config.create(directory, up="raw", down="raw", least_members=2)
    port, said = free_port(), list[str]()
    url = f"ws://127.0.0.1:{port}"
    members = [Member(url, token(directory), number) for number in range(2)]
    training = [asyncio.create_task(member.survive(ROUNDS)) for member in members]
    for end in ends:
        hub = await start(directory, port, *end)
        _, errors = await hub.communicate()
        said.append(errors.decode())
        assert hub.returncode == codes, said
    hub = await start(directory, port)
    try:
        await asyncio.gather(*training)
    finally:
        for member in members:
            await member.close()
        hub.send_signal(signal.SIGKILL)
        await hub.communicate()
    check(members)
    return said


# The model and the optimizer are logged, then the rounds; after every second record is a checkpoint.
POINTS = [
    "before-log",
    "before-log:4",
    "torn-log",
    "torn-log:5",
    "after-log:2",
    "after-log:5",
    "mid-broadcast",
    "mid-broadcast:8",
    "mid-checkpoint",
    "mid-checkpoint:2",
    "after-rename:2",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_hub_that_dies_anywhere_goes_on_as_if_it_had_not(tmp_path: Path, point: str) -> None:
    asyncio.run(train(tmp_path, (point,)))


def test_a_hub_that_dies_again_and_again(tmp_path: Path) -> None:
    asyncio.run(train(tmp_path, ("after-log:3",), ("mid-broadcast:2",), ("before-log:2",)))


def test_a_hub_whose_disk_is_full_says_so_and_tells_nobody_a_lie(tmp_path: Path) -> None:
    size = 2_300_000  # of a log: not quite two rounds
    [said] = asyncio.run(train(tmp_path, ("", str(size)), codes=1))
    assert re.search(r"log-\d\.tgl: could not be written whole: File too large; make room", said)
