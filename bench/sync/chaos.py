"""`python -m bench sync --chaos RUNS`: hubs that are killed, stopped and started again while members train.

Each run has accidents that its number decides: the hub ends at a named fail point, is killed at any time, or
is stopped for a while. Gradients are different ones each round, quantised with error feedback; so the
parameters in the end are those of a run without accidents if, and only if, each contribution counted
exactly once, in its round.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tensorgl.distributed import config, tokens
from tensorgl.distributed.client import Client
from tensorgl.distributed.transport import connect
from tensorgl.distributed.view import hash_of

from ..records import write_json

__all__ = ["run"]

MEMBERS, ROUNDS, ELEMENTS = 2, 12, (40, 3000)
POINTS = ("before-log", "torn-log", "after-log", "mid-broadcast", "mid-checkpoint", "after-rename")
HUB = """
import asyncio, sys
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.run import Run

Run.ROUNDS = 3  # between checkpoints
async def main():
    hub = Hub(sys.argv[1])
    await hub.start(port=int(sys.argv[2]))
    await hub.wait()
asyncio.run(main())
"""


def run(runs: int, save: str | None) -> int:
    """Do so many runs; returns an exit code: 1 if one came to other parameters."""
    expected, _ = _train(None)
    counts: dict[str, int] = {}
    wrong: list[int] = []
    for seed in tqdm(range(runs), desc="runs", leave=False):
        found, accidents = _train(seed)
        for accident in accidents:
            counts[accident] = counts.get(accident, 0) + 1
        if found != expected:
            wrong.append(seed)
            print(f"run {seed}: {accidents} led to {found}, not {expected}", file=sys.stderr)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"{runs} runs of {ROUNDS} rounds with {sum(counts.values())} accidents ({told})")
    print(f"{len(wrong)} of them came to other parameters than a run without accidents")
    if save:
        about = {"runs": runs, "rounds": ROUNDS, "accidents": counts, "wrong": wrong}
        print("written:", write_json(save, about))
    return int(bool(wrong))


def _train(seed: int | None) -> tuple[str, list[str]]:
    """The hash of the parameters in the end, and what happened to the hub."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(MEMBERS) as pool:
        made = config.create(Path(folder) / "run", least_members=MEMBERS, quorum=1.0, lease=20.0)
        token = tokens.sign(tokens.read_secret(Path(folder) / "run"), made.run, "worker", 4e9)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        futures = [pool.submit(_member, port, token, k) for k in range(MEMBERS)]
        accidents: list[str] = []
        planned = draw.randint(1, 4) if seed is not None else 0
        while True:
            accident = draw.choice((*POINTS, "kill", "pause")) if len(accidents) < planned else ""
            process = _hub(folder, port, f"{accident}:{draw.randint(1, 6)}")
            try:
                if accident in ("kill", "pause"):
                    time.sleep(draw.uniform(0.3, 1.5))
                    process.send_signal(signal.SIGKILL if accident == "kill" else signal.SIGSTOP)
                    if accident == "pause":
                        time.sleep(draw.uniform(0.1, 1.0))
                        process.send_signal(signal.SIGCONT)
                        accidents.append(accident)
                while process.poll() is None and not all(f.done() for f in futures):
                    time.sleep(0.01)
                if process.poll() is None:
                    hashes = {future.result() for future in futures}
                    assert len(hashes) == 1, hashes
                    return hashes.pop(), accidents
                accidents.append(accident)
            finally:
                process.kill()
                process.wait()


def _hub(folder: str, port: int, point: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HUB, str(Path(folder) / "run"), str(port)]
    known = point.partition(":")[0] in POINTS
    environment = {**os.environ, "TENSORGL_FAIL_POINT": point if known else ""}
    return subprocess.Popen(command, env=environment)


def _member(port: int, token: str, number: int) -> str:
    """Contribute to all rounds; the hash of the parameters after the last one."""
    client = Client(f"ws://127.0.0.1:{port}/v1/socket", token, connect, 120.0)
    first = [np.linspace(-1, 1, n, dtype=np.float32) for n in ELEMENTS]
    model = {"parameters": [[str(n), [n]] for n in ELEMENTS], "buckets": list(ELEMENTS)}
    view = client.define_model(model, first)
    options = {"lr": 0.1, "momentum": 0.9}
    client.define(
        "optimizer", {"name": "SGD", "options": [options], "groups": [0, 0], "local_steps": 0}
    )
    while view.version < ROUNDS:
        version = view.version
        source = np.random.default_rng([number, version])
        client.begin(version, 1 + number, [])
        for n in ELEMENTS:
            client.put(source.standard_normal(n, np.float32))
        client.commit()
    found = hash_of(view.values.astype("<f4").data)
    with contextlib.suppress(ConnectionError):
        client.close()
    return found
