"""The hub of a simulation, and its connections: what hub.py does, without sockets and arrays."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tensorgl.distributed import messages, wire
from tensorgl.distributed.core import Core, digest
from tensorgl.distributed.effects import (
    Close,
    Discard,
    Effect,
    Log,
    Part,
    Reduce,
    Send,
)
from tensorgl.distributed.wire import Frame, Kind, ProtocolError

if TYPE_CHECKING:
    from tests.distributed.simulated_member import Client
    from tests.distributed.simulator import World

BUCKETS = 3


class Link:
    """A connection. Messages come in order, until it is lost; either end learns that some time later."""

    def __init__(self, world: World, session: int, client: Client) -> None:
        self.world, self.session, self.client = world, session, client
        self.up = True
        self._arrives = [0.0, 0.0]

    def send(self, to_hub: bool, deliver: Callable[[], object]) -> None:
        """Deliver after all that was sent before in the same direction."""
        arrives = max(self._arrives[to_hub], self.world.now + self.world.latency())
        self._arrives[to_hub] = arrives
        self.world.at(arrives - self.world.now, lambda: self.up and deliver())

    def lose(self) -> None:
        """It is lost, and so is what is on its way."""
        if self.up:
            self.up = False
            world, hub = self.world, self.world.hub
            world.at(
                world.random.expovariate(2),
                lambda: world.hub is hub and hub.lost(self.session),
            )
            world.at(world.random.expovariate(5), lambda: self.client.lost(self))


class Hub:
    """What hub.py does, without sockets and arrays: the core, staging, one queue of effects, a disk."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.disk: list[tuple[Log, str]] = []  # with the hash
        self.views: list[list[str]] = []  # of each version: the digest of each bucket
        self.boots = self.effects = self.sessions = 0
        self.start()

    def start(self) -> None:
        """A process begins, from what is on the disk."""
        self.boots += 1
        self.up = True
        self.links: dict[int, Link] = {}
        self.staging: dict[tuple[str, int], dict[int, str]] = {}
        self.trials: dict[int, tuple[Part, ...]] = {}
        self.inbox: dict[int, deque[Callable[[], None]]] = {}
        self.blocked: set[int] = set()
        self.queue: deque[Effect | Callable[[], None]] = deque()
        self.working = False
        defined = {d[0]: d[1] for log, _ in self.disk if (d := log.definition)}
        snapshot, hash = (self.disk[-1][0].snapshot, self.disk[-1][1]) if self.disk else (None, "")
        self.core = Core(
            self.world.settings, digest(self.boots), "raw", self.world.now, snapshot, hash,
            BUCKETS if "model" in defined else 0, defined.get("data"),
            defined["optimizer"]["local_steps"] if "optimizer" in defined else 0,
        )  # fmt: skip
        life = self.boots
        self.world.at(0.1, lambda: self._tick(life))

    def _tick(self, life: int) -> None:
        if self.up and self.boots == life:
            self.do(self.core.tick(self.world.now))
            self._check()
            self.world.at(0.1, lambda: self._tick(life))

    def _check(self) -> None:
        """What holds at any time."""
        core = self.core
        ranks = [m.rank for m in core.members.values()]
        assert len(ranks) == len(set(ranks))
        for member in core.members.values():
            assert member.gone or self.world.now - member.seen <= self.world.settings.lease
        if core.round:
            assert core.round.expected.keys() <= core.members.keys()

    def crash(self) -> None:
        """The process is killed."""
        self.up = False
        for link in list(self.links.values()):
            link.lose()
        self.world.at(self.world.random.uniform(0.1, 3), self.start)

    # Sockets

    def connect(self, client: Client) -> Link | None:
        """A new connection, if the hub is there."""
        if not self.up:
            return None
        self.sessions += 1
        link = self.links[self.sessions] = Link(self.world, self.sessions, client)
        self.inbox[self.sessions] = deque()
        return link

    def lost(self, session: int) -> None:
        """The hub notices that a connection is lost."""
        if self.links.pop(session, None):
            self.do(self.core.gone(session, self.world.now))

    def receive(self, session: int, handle: Callable[[], None]) -> None:
        """A frame has come in: after those before it."""
        if session in self.links:
            self.inbox[session].append(handle)
            self._pump(session)

    def _pump(self, session: int) -> None:
        inbox = self.inbox[session]
        while inbox and session not in self.blocked and session in self.links:
            try:
                inbox.popleft()()
            except ProtocolError as error:
                raise AssertionError(f"a member of this simulation was refused: {error}") from error

    def _block(self, session: int) -> Callable[[], None]:
        """Take in nothing more from a session; what undoes it."""
        self.blocked.add(session)
        life = self.boots

        def go_on() -> None:
            if self.up and self.boots == life:
                self.blocked.discard(session)
                self._pump(session)

        return go_on

    def hello(self, session: int, name: str, resumes: bool) -> None:
        """HELLO has come in."""
        self.do(self.core.hello(session, name, resumes, self.world.now))

    def message(self, session: int, name: str, frame: Frame) -> None:
        """A message has come in."""
        fields = messages.parse(frame)
        effects = self.core.message(
            session, frame.kind, frame.seq, frame.round, fields, self.world.now
        )
        self.do(effects)
        if frame.kind is Kind.BEGIN:
            go_on = self._block(session)

            def begun() -> None:
                if self.core.receives(session, frame.seq):
                    self.staging[name, frame.seq] = {}
                go_on()

            self._later(begun)

    def _later(self, do: Callable[[], None]) -> None:
        """Once all that was asked for so far is done."""
        self.queue.append(do)
        self._work()

    def part(self, session: int, name: str, seq: int, bucket: int, payload: str) -> None:
        """An array has come in; it takes time to check it."""
        go_on = self._block(session)

        def checked() -> None:
            if self.up and self.core.receives(session, seq) and (name, seq) in self.staging:
                self.staging[name, seq][bucket] = payload
                self.do(self.core.staged(session, seq, bucket, self.world.now))
            go_on()

        self.world.at(self.world.random.expovariate(1000), checked)

    # Effects

    def do(self, effects: list[Effect]) -> None:
        """Put what the core asks for into the queue."""
        self.queue.extend(effects)
        self._work()

    def _work(self) -> None:
        if self.working or not self.queue or not self.up:
            return
        self.working = True
        effect, life = self.queue.popleft(), self.boots
        slow = 0.003 if isinstance(effect, Reduce) else 0.01 if isinstance(effect, Log) else 0.0

        def finish() -> None:
            if not self.up or self.boots != life:
                return
            if callable(effect):
                effect()
            elif self._crashes():
                self.crash()
                return
            else:
                self._perform(effect)
            self.working = False
            self._work()

        self.world.at(self.world.random.uniform(0, 2) * slow, finish)

    def _crashes(self) -> bool:
        self.effects += 1
        return self.effects in self.world.faults.crash

    def _perform(self, effect: Effect) -> None:
        now = self.world.now
        match effect:
            case Send():
                self._send(effect)
            case Close():
                if link := self.links.get(effect.session):
                    link.lose()
            case Discard():
                self.staging.pop((effect.member, effect.seq), None)
            case Reduce():
                self._reduce(effect)
            case Log():
                self._log(effect)
                if not self._crashes():  # it is durable, and nobody knows
                    self.do(self.core.durable(self.disk[-1][1], now))
                else:
                    self.crash()
            case _:
                raise AssertionError(effect)

    def _send(self, effect: Send) -> None:
        fields = effect.fields
        if effect.kind is Kind.WELCOME:
            fields = fields | {"resume": "0" * 64}
        view: list[str] = []
        if effect.kind is Kind.PARAMETERS:
            view = list(self.views[-1])
            assert (fields["version"], fields["hash"]) == (len(self.views) - 1, hash_of(view))
        elif effect.kind is Kind.UPLOAD:
            link = self.links.get(effect.session)
            if link:
                self.staging[link.client.name, effect.seq] = {}
        data = messages.pack(effect.kind, seq=effect.seq, round=effect.round, **fields)
        if link := self.links.get(effect.session):
            link.send(False, lambda: link.client.message(wire.decode(data), view))

    def _reduce(self, effect: Reduce) -> None:
        for part in effect.parts:
            payload = self.staging[part.member, part.seq][effect.bucket]
            assert payload == f"{part.member} {part.seq} {effect.bucket}"
        assert effect.parts
        self.trials[effect.bucket] = effect.parts
        for session in effect.to:
            if link := self.links.get(session):
                client = link.client
                link.send(False, lambda client=client: client.result(effect))

    def _log(self, effect: Log) -> None:
        if effect.definition and effect.definition[0] == "model":
            self.views.append([""] * BUCKETS)
        elif effect.round is not None:
            assert effect.round == len(self.views)
            assert all(self.trials[bucket] == effect.parts for bucket in range(BUCKETS))
            self.views.append(
                [step(before, effect.round, effect.parts) for before in self.views[-1]]
            )
            self.trials.clear()
            for part in effect.parts:
                del self.staging[part.member, part.seq]
        self.disk.append((effect, hash_of(self.views[-1])))


def step(before: str, round: int, parts: tuple[Part, ...]) -> str:
    return digest([before, round, [[p.member, p.seq, p.weight] for p in parts]])


def hash_of(view: list[str]) -> str:
    return hashlib.blake2b("".join(view).encode(), digest_size=16).hexdigest()
