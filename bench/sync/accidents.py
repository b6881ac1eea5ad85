"""One run with accidents: a hub, its workers, and a plan of what befalls them, round by round."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random, randrange
from typing import Any

from tensorgl.distributed import config, tokens

from .actors import Actor, hub, worker
from .attacker import forge, replay
from .audit import audit
from .proxy import Proxy
from .tap import entries

__all__ = ["FORMS", "KINDS", "ROUNDS", "Accident", "Form", "Outcome", "plan", "play"]

ROUNDS = 16
LATEST = 10
"""No accident begins after this round, so that what it leads to is seen."""
PATIENCE_S = 60.0
GROWTH = 64 << 20
"""Bytes that a hub may take beyond those that it starts with, whatever happens."""
_POINT, _FULL = 137, 1
"""Exit codes: at a fail point, and where there is no room on the disk."""

_HUB_POINTS = (
    "before-log", "torn-log", "after-log", "mid-broadcast", "mid-checkpoint", "after-rename",
)  # fmt: skip
_WORKER_POINTS = (
    "mid-upload", "after-welcome", "after-begin", "after-bucket", "before-commit", "after-commit",
    "at-answer",
)  # fmt: skip
_TAMPERING = ("replayed", "corrupted", "reordered")
_KEEPING = (
    *(f"hub {point}" for point in _HUB_POINTS),
    "hub killed", "hub stopped", "hub disk-full", "worker stopped",
    *(f"frames {kind}" for kind in _TAMPERING),
)  # fmt: skip
"""What no member is lost by, so that each round has the contributions that it would have had."""
_LOSING = (
    *(f"worker {point}" for point in _WORKER_POINTS),
    "worker killed", "half-open connection", "slow reader", "forged contributions",
)  # fmt: skip
_REPLAY = "replayed connection"
KINDS = (*_KEEPING, *_LOSING, _REPLAY)


@dataclass(frozen=True, slots=True)
class Form:
    """What a run is like.

    Attributes:
        workers: how many.
        same: what it comes to is what it comes to without accidents: who is in which round does not
            depend on when they happen.
        settings: of the hub.
        kinds: of accidents.
        pause_s: how long something is stopped at most.
    """

    workers: int
    same: bool
    settings: dict[str, Any]
    kinds: tuple[str, ...]
    pause_s: float


_BASE: dict[str, Any] = {"balanced": False, "quorum": 1.0, "grace": 60.0, "lease": 0.8}
FORMS = {
    # Two that are never given up, quantised with error feedback.
    "pair": Form(2, True, _BASE | {"least_members": 2, "lease": 10.0}, (*_KEEPING, _REPLAY), 0.3),
    # One, so that whoever comes after it is given the very same shares.
    "alone": Form(1, True, _BASE | {"up": "raw"}, (*_KEEPING, *_LOSING), 1.2),
    # Three that nobody waits for, so that contributions come late, or too late.
    "crowd": Form(
        3, False,
        _BASE | {
            "up": "raw", "down": "raw", "least_members": 3, "quorum": 0.3, "grace": 0.1,
            "most_stale": 1,
        },
        KINDS, 1.2,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accident:
    """Something that happens as soon as a round is over."""

    kind: str
    after: int = 1
    count: int = 1
    """Of passes of a fail point."""
    worker: int = 0
    pause_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        hash: of the parameters after round ROUNDS.
        happened: kinds of accidents that took effect.
        wrong: all that is not as it has to be.
        growth: bytes of memory that a hub took at most beyond those that it started with.
    """

    hash: str
    happened: list[str]
    wrong: list[str]
    growth: int


def plan(form: Form, draw: Random) -> list[Accident]:
    """Three to five accidents."""
    accidents: list[Accident] = []
    for _ in range(draw.randint(3, 5)):
        kind, after = draw.choice(form.kinds), draw.randint(1, LATEST)
        first = kind == "worker mid-upload"  # happens before all rounds
        accidents.append(
            Accident(
                kind, 0 if first else after, 1 if first else draw.randint(1, 3),
                draw.randrange(form.workers), draw.uniform(0.05, form.pause_s),
            )
        )  # fmt: skip
    return sorted(accidents, key=lambda accident: accident.after)


def play(form: Form, accidents: list[Accident], seed: int = 0) -> Outcome:
    """Do a run with these accidents, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        stage = _Stage(Path(folder), form, list(accidents), seed)
        try:
            stage.run()
        finally:
            stage.close()
        if stage.wrong:
            return Outcome("", stage.happened, stage.wrong, stage.growth)
        hashes, wrong = audit(Path(folder), stage.told)
        if stage.growth > GROWTH:
            wrong.append(f"a hub grew by {stage.growth >> 20} MiB")
        return Outcome(hashes.get(ROUNDS, ""), stage.happened, wrong, stage.growth)


class _Stage:
    """The processes of a run, and what they are told."""

    def __init__(self, folder: Path, form: Form, accidents: list[Accident], seed: int) -> None:
        self._form, self._accidents, self._draw = form, accidents, Random(seed)
        self._folder = folder
        self.happened: list[str] = []
        self.wrong: list[str] = []
        self.told: list[tuple[int, str]] = []
        self.growth = self._started_with = 0
        self._version = 0
        self._armed: dict[tuple[Actor, int], str] = {}  # by what is to end, and its exit code
        self._stopped: dict[Actor, float] = {}  # until when
        made = config.create(folder / "run", **form.settings)
        (folder / "run" / "kept").mkdir()
        self._token = tokens.sign(
            tokens.read_secret(folder / "run"), made.run, "worker", time.time() + 1000
        )
        self._port = _free_port()
        self._hub = Actor(hub, str(folder / "run"), self._port)
        self._proxies = [Proxy(self._port) for _ in range(form.workers)]
        self._workers = [
            Actor(worker, p.port, self._token, str(folder / f"journal-{k}"), ROUNDS, seed + 100 * k)
            for k, p in enumerate(self._proxies)
        ]
        self._working = list(self._workers)
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Until all workers are done, or something is wrong."""
        end = time.monotonic() + PATIENCE_S
        while self._working and not self.wrong:
            time.sleep(0.002)
            now = time.monotonic()
            for actor, until in list(self._stopped.items()):
                if now >= until:
                    actor.signal(signal.SIGCONT)
                    del self._stopped[actor]
            self._look_at_hub()
            for one in list(self._working):
                self._look_at(one)
            if self._accidents and self._accidents[0].after <= self._version:
                self._befall(self._accidents.pop(0))
            if now > end:
                self.wrong.append(f"at version {self._version} after {PATIENCE_S:g} s")
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """End all."""
        for actor in (self._hub, *self._workers):
            actor.kill()
        for proxy in self._proxies:
            proxy.close()

    def _look_at_hub(self) -> None:
        self._hub.listen()
        if peak := self._hub.peak:
            if self._hub.said:
                self._hub.said.clear()
                self._started_with = peak
            if self._started_with:
                self.growth = max(self.growth, peak - self._started_with)
        self._look_at_end(self._hub)

    def _look_at(self, one: Actor) -> None:
        one.listen()
        for said in one.said:
            if said[0] == "version":
                self._version = max(self._version, said[1])
            elif said[0] == "done":
                self.told.append((said[1], said[2]))
                self._working.remove(one)
            else:
                self.happened.append(f"frames {said[0]}")
        one.said.clear()
        if one in self._working:
            self._look_at_end(one)

    def _look_at_end(self, actor: Actor) -> None:
        """Start an actor again that has ended, as it had to."""
        code = actor.ended()
        if code is None:
            return
        if kind := self._armed.get((actor, code)):
            self.happened.append(kind)
        elif code != -signal.SIGKILL:
            self.wrong.append(f"{'hub' if actor is self._hub else 'worker'}: ended with {code}")
        for known in (_POINT, _FULL):
            self._armed.pop((actor, known), None)
        self._stopped.pop(actor, None)
        if actor is self._hub:
            self._started_with = 0
        actor.start()

    def _befall(self, accident: Accident) -> None:
        who, _, what = accident.kind.partition(" ")
        one = self._workers[accident.worker]
        if who == "hub":
            self._strike(self._hub, accident, what)
        elif one not in self._working:
            return
        elif who == "worker":
            self._strike(one, accident, what)
        elif who == "frames":
            one.order("tamper", what)
        elif accident.kind in ("half-open connection", "slow reader"):
            if self._proxies[accident.worker].silence(who == "half-open"):
                self.happened.append(accident.kind)
        else:
            self._attack(accident)

    def _strike(self, actor: Actor, accident: Accident, what: str) -> None:
        if what in ("killed", "stopped"):
            actor.signal(signal.SIGKILL if what == "killed" else signal.SIGSTOP)
            self.happened.append(accident.kind)
            if what == "stopped":
                self._stopped[actor] = time.monotonic() + accident.pause_s
            return
        self._armed[actor, _FULL if what == "disk-full" else _POINT] = accident.kind
        if what == "disk-full":
            actor.order("limit", self._draw.randrange(1000, 30_000))  # of files of up to 37 kB
        else:
            actor.order("fail", f"{what}:{accident.count}")

    def _attack(self, accident: Accident) -> None:
        if accident.kind == _REPLAY:
            # In a run that is to come to the same, that of a name that it was told of only there.
            recorded = self._proxies[accident.worker].recorded
            chosen = recorded[0] if self._form.same else self._draw.choice(recorded)
            work = threading.Thread(target=replay, args=[self._port, bytes(chosen)])
        else:
            known = entries(sorted(self._folder.glob("journal-*")))
            work = threading.Thread(
                target=forge, args=[self._port, self._token, known, self._version, self._draw]
            )
        work.start()
        self._threads.append(work)
        self.happened.append(accident.kind)


def _free_port() -> int:
    """A port below those that systems give away, or another program might have it when a hub comes back."""
    while True:
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", randrange(20_000, 32_000)))
            return free.getsockname()[1]
