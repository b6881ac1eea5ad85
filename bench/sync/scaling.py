"""`python -m bench sync`: how much faster N members train than one, and those of DistML.js on the same link.

Members are processes with real sockets, codecs and gradients; the hub is the one that people run. Emulated
are the device, on which a batch of 64 digits takes `--step` seconds (passes sleep for their part of
it), and the hub's link, one relay for all members. Its rate is set so that DistML.js's protocol gives the 2.4
times with 16 members that were published (arXiv:2407.01023); whether the link or the server bounded that is
not known. Speed-ups are against one such device without any hub.

Members that would each have a machine share this one's cores. So that these bound nothing, time is stretched
for many members: devices are slower by a factor, the link is, too, and what was measured is divided by it. A
figure whose processes were busy for more than 70 % of the cores' time all the same is marked.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tensorgl.nn.utils import parameters_to_vector

from ..records import write_json
from . import distml, members
from .process import hub
from .task import BATCH, network

__all__ = ["Mode", "run"]

PUBLISHED = 2.4
ENOUGH = 0.97
_FORK = multiprocessing.get_context("fork")
_LATEST_S = 1200.0
_STRETCHED = 8  # members that share the cores without any stretching
_BUSY = 0.7


@dataclass(frozen=True)
class Mode:
    """A way to train together.

    Attributes:
        name: for people.
        members: how many.
        local_steps: of DiLoCo; 0: every gradient is sent.
        codec: of both directions; "distml": the other protocol.
        rounds: to time.
        target: the speed-up that is the bar; None where there is none.
    """

    name: str
    members: int
    local_steps: int
    codec: str
    rounds: int
    target: float | None = None

    @property
    def stretch(self) -> float:
        """By which factor devices and the link are slower while it is measured."""
        return max(1.0, self.members / _STRETCHED)


MODES = (
    Mode("DistML.js's protocol", 16, 0, "distml", 130, None),
    Mode("gradients, float32", 16, 0, "raw", 12, None),
    Mode("gradients, int8", 4, 0, "int8", 130, None),
    Mode("gradients, int8", 8, 0, "int8", 130, None),
    Mode("gradients, int8", 16, 0, "int8", 130, 11),
    Mode("DiLoCo, H = 10, int8", 16, 10, "int8", 30, 14),
    Mode("DiLoCo, H = 50, int8", 64, 50, "int8", 8, 40),
)


@dataclass(frozen=True)
class Outcome:
    """What was measured of a mode; times as they would be without the stretching.

    Attributes:
        step_s: median time of a batch of 64 samples.
        speedup: of one device's time over it.
        to_accuracy_s: until 97 % of the test digits are read right; None: not within the rounds.
        accuracy: in the end.
        bytes_a_step: over the hub's link, both ways, for a batch.
        computing: processor time of members and hub over the time that went by, of all cores.
    """

    step_s: float
    speedup: float
    to_accuracy_s: float | None
    accuracy: float
    bytes_a_step: float
    computing: float


def run(step_s: float, save: str | None, names: Sequence[str] = ()) -> int:
    """Calibrate the link, measure all modes, and print a table.

    Args:
        step_s: what a batch of 64 takes one device.
        save: the name of a file of bench/results.
        names: parts of modes' names to measure; none: all.

    Returns:
        An exit code.
    """
    size = parameters_to_vector(network().parameters()).numel()
    rate = _calibrated(size, step_s)
    print(
        f"{size} parameters; the link has {rate / 1e6:.2f} MB/s each way; a batch takes a device {step_s} s"
    )
    print(
        f"{'':<24}{'members':>8}{'a batch':>10}{'speed-up':>10}{'to 97 %':>10}{'accuracy':>10}"
        f"{'bytes/step':>12}{'stretch':>9}{'CPU':>7}"
    )
    rows: list[dict[str, Any]] = []
    for mode in MODES:
        if names and not any(n in mode.name for n in names):
            continue
        outcome = measure(mode, rate, step_s)
        reached = f"{outcome.to_accuracy_s:.0f} s" if outcome.to_accuracy_s else "-"
        print(
            f"{mode.name:<24}{mode.members:>8}{outcome.step_s:>8.3f} s{outcome.speedup:>9.2f}x{reached:>10}"
            f"{outcome.accuracy:>10.3f}{outcome.bytes_a_step:>12.0f}{mode.stretch:>9g}{outcome.computing:>7.0%}"
            f"{'  too busy' if outcome.computing > _BUSY else ''}",
            flush=True,
        )
        rows.append({**asdict(mode), "stretch": mode.stretch, **asdict(outcome)})
    if save:
        about = {"parameters": size, "link_bytes_s": rate, "device_step_s": step_s}
        print("written:", write_json(save, {"emulated": "device and link", **about, "rows": rows}))
    return 0


def _calibrated(size: int, step_s: float) -> float:
    """The rate of a link on which 16 members of DistML.js's protocol are 2.4 times as fast as one."""
    rate = 8 * size / (0.0227 * step_s)  # by the model T(N) = C / N + N b
    for _ in range(4):
        one = measure(Mode("", 1, 0, "distml", 3), rate, step_s)
        many = measure(Mode("", 16, 0, "distml", 8), rate, step_s)
        found = one.step_s / many.step_s
        if abs(found / PUBLISHED - 1) < 0.03:
            break
        # The time of 16 beside the devices' is the link's.
        wanted = one.step_s / PUBLISHED - step_s / 16
        rate *= (many.step_s - step_s / 16) / wanted
    return rate


def measure(mode: Mode, rate: float, step_s: float) -> Outcome:
    """Train in a mode, with real processes."""
    started = _cpu()
    runner = _distml if mode.codec == "distml" else _ours
    slow = mode.stretch
    stamps, found, traffic = runner(mode, rate / slow, slow * step_s / BATCH)
    times = [t / slow for t in stamps]
    laps = [b - a for a, b in itertools.pairwise(times)]
    batches = mode.local_steps or 1  # of 64 samples a round, all members together
    lap = statistics.median(laps[len(laps) // 4 :]) / batches
    right = [(t, a) for t, a in zip(times, found, strict=True) if a >= ENOUGH]
    spent = (_cpu() - started) / (stamps[-1] * (os.cpu_count() or 1))
    return Outcome(
        lap, step_s / lap, right[0][0] if right else None, found[-1],
        traffic / (len(times) * batches), spent,
    )  # fmt: skip


def _cpu() -> float:
    """Processor time of this process and of those that have ended."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


@contextmanager
def _link(port: int, rate: float) -> Generator[tuple[int, Callable[[], int]]]:
    """A relay before a port: its own port, and how many bytes went through by now."""
    command = [sys.executable, "-m", "bench.sync.link", str(port), str(rate)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        inside, outside = process.stdin, process.stdout

        def passed() -> int:
            inside.write("\n")
            inside.flush()
            return int(outside.readline())

        try:
            yield int(outside.readline()), passed
        finally:
            process.terminate()


def _distml(mode: Mode, rate: float, sample_s: float) -> tuple[list[float], list[float], int]:
    port, results = _FORK.Queue(), _FORK.Queue()
    server = _FORK.Process(
        target=_run, args=(distml.serve, mode.members, mode.rounds, port, results)
    )
    server.start()
    with _link(port.get(timeout=60), rate) as (near, passed):
        workers = [
            _FORK.Process(target=_run, args=(distml.work, near, sample_s))
            for _ in range(mode.members)
        ]
        for worker in workers:
            worker.start()
        rows = [results.get(timeout=_LATEST_S) for _ in range(mode.rounds)]
        traffic = passed()
        _join([*workers, server])
    return [t for t, _ in rows], [a for _, a in rows], traffic


def _run(main: Callable[..., Any], *args: Any) -> None:
    asyncio.run(main(*args))


def _ours(mode: Mode, rate: float, sample_s: float) -> tuple[list[float], list[float], int]:
    settings = {"up": mode.codec, "down": mode.codec, "least_members": mode.members}
    with hub(**settings, quorum=1.0, grace=600.0, balanced=False) as (address, token, _):
        return _with_hub(mode, address, token, rate, sample_s)


def _with_hub(
    mode: Mode, address: str, token: str, rate: float, sample_s: float
) -> tuple[list[float], list[float], int]:
    results = _FORK.Queue()
    with _link(int(address.rpartition(":")[2]), rate) as (near, passed):
        url = f"ws://127.0.0.1:{near}"
        share = BATCH // mode.members
        workers = [
            _FORK.Process(
                target=members.work,
                args=(url, token, mode.rounds, sample_s, mode.local_steps, share, results),
            )
            for _ in range(mode.members)
        ]
        for worker in workers:
            worker.start()
        rows: list[tuple[float, float]] = []
        before = 0
        while len(rows) < mode.rounds + 1:
            rows.append(results.get(timeout=_LATEST_S))
            before = before or passed()
        traffic = passed() - before
        _join(workers)
    start = rows[0][0]
    return [t - start for t, _ in rows[1:]], [a for _, a in rows[1:]], traffic


def _join(processes: Sequence[Any]) -> None:
    for process in processes:
        process.join(30)
        if process.is_alive():
            process.kill()
