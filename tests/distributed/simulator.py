"""A run of the real core in virtual time: members that compute, links that break, a hub that crashes.

Arrays are names: a contribution is its member and seq, the update of a bucket is the list of what
counts in it, and parameters are the digest of all updates so far. So it can be told exactly what each
replica has applied. Everything random is drawn from one seed; the same seed gives the same run.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorgl.distributed.effects import Part, Settings, Snapshot
from tests.distributed.simulated_hub import Hub
from tests.distributed.simulated_member import Client, Job

MODEL = {"parameters": [["w", [6]]], "buckets": [1, 2, 3]}
OPTIMIZER = {"name": "SGD", "options": [{"lr": 0.1}], "groups": [0, 0, 0], "local_steps": 0}


@dataclass(frozen=True)
class Faults:
    """What goes wrong. Rates are per second of virtual time, of a member or of the hub."""

    lose: float = 0.0  # a connection
    freeze: float = 0.0  # a member altogether, for about twice the lease
    stall: float = 0.0  # a member but for its heartbeats, for about thrice the lease
    leave: float = 0.0  # with BYE; another one joins
    vanish: float = 0.0  # without
    crash: tuple[int, ...] = ()  # at which of the hub's effects, counted over all its lives
    spread: float = 0.3  # sigma of the logarithm of a contribution's time
    until: float = 60.0  # from then on nothing goes wrong


class World:
    """The clock, the hub, the members, and what is recorded to be checked.

    Args:
        seed: of everything random.
        members: how many there are at first.
        settings: of the hub.
        faults: what goes wrong.
        data: the definition of the data; None for a run without.
        local_steps: of the optimizer's definition.
    """

    def __init__(
        self,
        seed: int,
        members: int,
        settings: Settings,
        faults: Faults = Faults(),
        data: dict[str, int] | None = None,
        local_steps: int = 0,
    ) -> None:
        self.random = random.Random(seed)
        self.settings, self.faults, self.data = settings, faults, data
        self.definitions: dict[str, dict[str, Any]] = {
            "model": MODEL,
            "optimizer": OPTIMIZER | {"local_steps": local_steps},
        }
        if data:
            self.definitions["data"] = data
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self.acknowledged: dict[tuple[str, int], str] = {}
        self.contributions: dict[tuple[str, int], Job] = {}
        self.missed = 0  # updates that a replica had not got when the round closed
        self.hub = Hub(self)
        self.members: list[Client] = []
        for _ in range(members):
            self.join()
        self._misfortune()

    def at(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something so much later."""
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, do))

    def run(self, done: Callable[[], bool], limit: float = 2000.0) -> None:
        """Until it is done, or so much time has passed."""
        while self._events and not done() and self.now < limit:
            self.now, _, do = heapq.heappop(self._events)
            do()

    def join(self) -> None:
        """Another member comes."""
        self.members.append(Client(self, f"{len(self.members):032x}"))

    @property
    def alive(self) -> list[Client]:
        """The members that are not over."""
        return [m for m in self.members if not m.over]

    def latency(self) -> float:
        """Of a message."""
        return 0.005 + self.random.expovariate(200)

    def _misfortune(self) -> None:
        step, faults = 0.25, self.faults
        if self.now >= faults.until:
            return
        for member in self.alive:
            for rate, happens in (
                (faults.lose, member.lose),
                (faults.freeze, member.freeze),
                (faults.stall, member.stall),
                (faults.leave, member.leave),
                (faults.vanish, member.vanish),
            ):
                if not member.over and self.random.random() < rate * step:
                    happens()
        self.at(step, self._misfortune)


def logged(world: World) -> list[tuple[int, Part]]:
    """All that counts for good: the round, and what it counted."""
    return [(log.round, p) for log, _ in world.hub.disk if log.round for p in log.parts]


def snapshot(world: World) -> Snapshot:
    """What the hub knows for good."""
    return world.hub.disk[-1][0].snapshot
