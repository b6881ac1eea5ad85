"""`python -m bench sync --real`: browsers and native workers learn digits together, and one process alone.

Four tabs, each of a browser of its own, and two native workers train through a hub as people run it. A
browser is killed in the middle of it, and another one joins. All run `digits.py`. Nothing is emulated; as
all share this machine, the seconds say nothing of a speed-up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Any

from tqdm import tqdm

from tensorgl.backends.opengl import probe
from tensorgl.distributed import config, tokens

from ..records import write_json
from ..sides import BROWSERS
from .process import serving

__all__ = ["run"]

TABS, ROUNDS = 4, 480  # a tab beside six others takes a minute to come in
ENOUGH, NEAR = 0.98, 0.01
_SCRIPT = Path(__file__).parent / "digits.py"
_LATEST_S = 1500.0
_LOOK_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """What came of a process.

    Attributes:
        name: for people.
        fate: stayed, killed or joined.
        on: what computed.
        transport: how it reached the hub; "" where there was none.
        contributions: that it made.
        samples: in these.
        first: the round after its first one.
        last: the round after its last one.
        accuracy: on digits that it was not trained with; None if it was killed, as all below.
        round: that its parameters are of in the end.
        hash: of its parameters as its device has them.
    """

    name: str
    fate: str
    on: str
    transport: str
    contributions: int
    samples: int
    first: int
    last: int
    accuracy: float | None
    round: int | None
    hash: str | None


class Worker:
    """A process that trains, and what it has said so far.

    Args:
        name: for people.
        device: cpu or gl.
        folder: for what it says on its standard error.
        hub: the address and a token for it; none: it trains alone.
        tab: run it in a browser's tab.
        fate: see `Outcome`.

    Attributes:
        steps: what it said of each contribution.
        end: what it said in the end.
    """

    def __init__(
        self,
        name: str,
        device: str,
        folder: Path,
        hub: dict[str, str] | None = None,
        tab: bool = False,
        fate: str = "stayed",
    ) -> None:
        self.name, self.fate = name, fate
        self.steps: list[dict[str, int]] = []
        self.end: dict[str, Any] = {}
        self._errors = folder / f"{name}.txt"
        command = [sys.executable, str(_SCRIPT), str(ROUNDS)]
        if tab:
            browser = [f"--browser-arg={argument}" for argument in BROWSERS["llvmpipe"]]
            command[1:1] = ["-P", "-m", "tensorgl", "run", "--browser", *browser]
        ours = {name: value for name, value in os.environ.items() if name != "TENSORGL_HUB"}
        environment = ours | {"TENSORGL_DEVICE": device} | (hub or {})
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=errors
            )
        self._thread = Thread(target=self._listen, args=(self.process.stdout,), daemon=True)
        self._thread.start()

    def _listen(self, lines: IO[bytes]) -> None:
        for line in lines:
            said = json.loads(line)
            if "samples" in said:
                self.steps.append(said)
            else:
                self.end = said

    @property
    def joined(self) -> bool:
        """Whether it is a member of the run."""
        return "tensorgl.distributed: rank" in self._errors.read_text()

    @property
    def round(self) -> int:
        """The round after its last contribution."""
        return self.steps[-1]["round"] if self.steps else 0

    @property
    def ended(self) -> bool:
        """Whether it is over.

        Raises:
            RuntimeError: it failed.
        """
        code = self.process.poll()
        if code is None or self.fate == "killed":
            return code is not None
        self._thread.join()
        if code:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self._errors.read_text()}")
        return True

    def kill_browser(self) -> None:
        """End its browser at once, with all of that one's processes."""
        guard = _child(self.process.pid)  # see tensorgl/wasm/browsers.py
        self.fate = "killed"
        os.killpg(_child(guard), signal.SIGKILL)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()

    def outcome(self) -> Outcome:
        """What came of it, once it has ended."""
        end, steps = self.end, self.steps
        return Outcome(
            self.name, self.fate, end.get("on", ""), end.get("transport", ""), len(steps),
            sum(step["samples"] for step in steps), steps[0]["round"] if steps else 0, self.round,
            end.get("accuracy"), end.get("round"), end.get("hash"),
        )  # fmt: skip


def _child(pid: int) -> int:
    """The process that a process has started."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def run(save: str | None) -> int:
    """Train, print what came of it, and say whether that is what it should be.

    Returns:
        An exit code: 1 if parameters differ, somebody did not contribute, fewer than 98 % of the digits are
        read right, or that is more than one percent away from what the process alone reaches.
    """
    with tempfile.TemporaryDirectory() as name:
        alone, alone_s = _alone(Path(name))
        workers, status, seconds = _together(Path(name))
    outcomes = [worker.outcome() for worker in workers]
    for outcome in (*outcomes, alone):
        right = f"{outcome.accuracy:.2%}" if outcome.accuracy is not None else "-"
        print(
            f"{outcome.name:<12}{outcome.fate:<8}{outcome.contributions:>4} contributions, rounds "
            f"{outcome.first:>3} to {outcome.last:>3} {right:>8}  {outcome.on}"
        )
    print(f"{ROUNDS} rounds together in {seconds:.0f} s, alone in {alone_s:.0f} s")
    print(f"contributions by outcome: {status['contributions']}")
    wrong = list(_wrong(outcomes, alone, status["hash"]))
    for line in wrong:
        print(line, file=sys.stderr)
    if save:
        about = {
            "rounds": ROUNDS, "seconds": seconds, "alone_s": alone_s, "hash": status["hash"],
            "contributions": status["contributions"], "wrong": wrong,
            "alone": asdict(alone), "members": [asdict(o) for o in outcomes],
            "members_from_round": _present(workers),
        }  # fmt: skip
        print("written:", write_json(save, about))
    return int(bool(wrong))


def _alone(folder: Path) -> tuple[Outcome, float]:
    """What one process comes to in as many steps on whole batches, and in how many seconds."""
    with ExitStack() as stack:
        worker = Worker("alone", "cpu", folder)
        stack.callback(worker.close)
        seconds = _wait([worker], "alone")
    return worker.outcome(), seconds


def _together(folder: Path) -> tuple[list[Worker], dict[str, Any], float]:
    """All who took part, what the hub says in the end, and the seconds from the first round to the end."""
    directory, natives = folder / "run", ["cpu", _second()]
    made = config.create(directory, least_members=TABS + len(natives))
    token = tokens.sign(tokens.read_secret(directory), made.run, "worker", time.time() + _LATEST_S)
    workers: list[Worker] = []
    with serving(str(directory)) as (url, _), ExitStack() as stack:
        hub = {"TENSORGL_HUB": url, "TENSORGL_TOKEN": token}

        def start(name: str, device: str, tab: bool, fate: str = "stayed") -> None:
            worker = Worker(name, device, folder, hub, tab, fate)
            stack.callback(worker.close)
            workers.append(worker)

        def meanwhile(round: int) -> None:
            if round >= ROUNDS // 3 and workers[0].fate == "stayed":
                workers[0].kill_browser()
            if round >= ROUNDS // 2 and workers[-1].fate != "joined":
                start(f"tab {TABS}", "gl", True, "joined")

        deadline = time.monotonic() + _LATEST_S
        for number in range(TABS):
            start(f"tab {number}", "gl", True)
            # One after the other: each takes a core for some seconds to start.
            while not (workers[-1].joined or workers[-1].ended) and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
        for number, device in enumerate(natives):
            start(f"native {number}", device, False)
        seconds = _wait(workers, "together", meanwhile)
        command = [sys.executable, "-m", "tensorgl", "hub", "status", str(directory)]
        status = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return workers, status, seconds


def _second() -> str:
    """The device of the second native worker: gl where there is a context."""
    try:
        probe.describe()
    except RuntimeError:
        return "cpu"
    return "gl"


def _wait(
    workers: list[Worker], what: str, meanwhile: Callable[[int], None] = lambda round: None
) -> float:
    """Wait until all have ended, also those who come meanwhile; the seconds since the first round was over.

    Raises:
        RuntimeError: one failed.
        TimeoutError: it took too long.
    """
    deadline, first = time.monotonic() + _LATEST_S, None
    with tqdm(total=ROUNDS, desc=what, leave=False) as bar:
        while not all(tuple(worker.ended for worker in workers)):
            round = max(worker.round for worker in workers)
            if round and first is None:
                first = time.monotonic()
            bar.update(round - bar.n)
            meanwhile(round)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: round {round} of {ROUNDS} after {_LATEST_S:.0f} s")
            time.sleep(_LOOK_S)
    return time.monotonic() - (first or 0.0)


def _present(workers: list[Worker]) -> list[list[int]]:
    """[round, members]: from that round on, so many contributed to each."""
    counts = Counter(step["round"] for worker in workers for step in worker.steps)
    found: list[list[int]] = []
    for round in range(1, ROUNDS + 1):
        if not found or found[-1][1] != counts[round]:
            found.append([round, counts[round]])
    return found


def _wrong(outcomes: list[Outcome], alone: Outcome, hash: str) -> Generator[str]:
    """What is not as it should be."""
    assert alone.accuracy is not None
    for outcome in outcomes:
        if not outcome.contributions:
            yield f"{outcome.name} contributed nothing"
        if outcome.fate == "killed":
            continue
        assert outcome.accuracy is not None
        if outcome.hash != hash:
            yield f"{outcome.name} has other parameters than the hub"
        if outcome.accuracy < ENOUGH or abs(outcome.accuracy - alone.accuracy) > NEAR:
            yield f"{outcome.name} reads {outcome.accuracy:.2%} right, one process {alone.accuracy:.2%}"
