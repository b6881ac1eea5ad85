"""A member of a simulation: what client.py does, without sockets and arrays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tensorgl.distributed import messages, wire
from tensorgl.distributed.effects import Part, Reduce, Share
from tensorgl.distributed.wire import Frame, Kind
from tests.distributed.simulated_hub import BUCKETS, Link, hash_of, step

if TYPE_CHECKING:
    from tests.distributed.simulator import World


@dataclass
class Job:
    """What a member computes, or has computed and not been answered about."""

    round: int
    share: Share | None
    samples: int
    seq: int = 0  # 0 until it is computed


@dataclass
class Client:
    """A member, as client.py makes one."""

    world: World
    name: str
    link: Link | None = None
    over: bool = False
    frozen: float = 0.0  # until then it neither computes nor hears
    stalled: float = 0.0  # until then it only sends heartbeats
    welcomed: bool = False
    rank: int | None = None
    seq: int = 0
    version: int = -1
    view: list[str] = field(default_factory=list)
    defined: dict[str, str] = field(default_factory=dict)
    current: bool = False  # has sent READY on this connection
    pulling: bool = False
    told: bool = False  # has got a ROUND on this connection
    asked: tuple[int, Share | None] | None = None
    job: Job | None = None
    results: dict[tuple[int, int], dict[int, tuple[Part, ...]]] = field(default_factory=dict)
    speed: float = 0.0
    tries: int = 0
    _backlog: deque[Callable[[], object]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.speed = self.world.random.lognormvariate(2.5, 0.5)
        self.world.at(self.world.random.random(), self.connect)
        self._beat()

    # What goes wrong

    def lose(self) -> None:
        """Its connection is lost."""
        if self.link:
            self.link.lose()

    def freeze(self) -> None:
        """It does nothing for a while."""
        self.frozen = self.world.now + self.world.random.expovariate(
            0.5 / self.world.settings.lease
        )
        self.world.at(self.frozen - self.world.now, self._thaw)

    def stall(self) -> None:
        """It does nothing for a while, but its connection lives."""
        self.stalled = self.world.now + self.world.random.expovariate(
            1 / 3 / self.world.settings.lease
        )
        self.world.at(self.stalled - self.world.now, self._thaw)

    def leave(self) -> None:
        """It says good-bye; another one comes."""
        if self.link and self.version >= 0:
            self._send(Kind.BYE)
            self._end()

    def vanish(self) -> None:
        """It is not there any more; another one comes."""
        self.lose()
        self._end()

    def _end(self) -> None:
        self.over = True
        self.world.join()

    def _thaw(self) -> None:
        if self._stuck or self.over:
            return
        while self._backlog and not self._stuck:
            self._backlog.popleft()()

    @property
    def _stuck(self) -> bool:
        return self.world.now < max(self.frozen, self.stalled)

    def _whenever(self, do: Callable[[], object]) -> None:
        """Now, or when it does something again."""
        if self.over:
            return
        if self._stuck or self._backlog:
            self._backlog.append(do)
        else:
            do()

    def _beat(self) -> None:
        if not self.over:
            if self.link and self.link.up and self.welcomed and self.world.now >= self.frozen:
                self._send(Kind.HEARTBEAT)
            self.world.at(self.world.settings.lease / 4, self._beat)

    # Connection

    def connect(self) -> None:
        """Say HELLO."""
        if self.over or self.link:
            return
        if self._stuck:
            self._backlog.append(self.connect)
            return
        self.link = self.world.hub.connect(self)
        if self.link is None:
            self.tries += 1
            longest = min(5.0, 0.5 * 2**self.tries)
            self.world.at(self.world.random.uniform(0, longest), self.connect)
            return
        self.tries = 0
        self.current = self.pulling = self.told = False
        self.asked = None
        self.results.clear()
        link, resumes = self.link, self.welcomed
        hub = self.world.hub
        link.send(
            True,
            lambda: hub.receive(link.session, lambda: hub.hello(link.session, self.name, resumes)),
        )

    def lost(self, link: Link) -> None:
        """It notices that its connection is lost."""
        if self.link is link:
            self.link = None
            self.connect()

    def _send(self, kind: Kind, seq: int = 0, round: int = 0, **fields: Any) -> None:
        if self.link is None:
            return
        link, hub = self.link, self.world.hub
        frame = wire.decode(messages.pack(kind, seq=seq, round=round, **fields))
        link.send(
            True,
            lambda: hub.receive(link.session, lambda: hub.message(link.session, self.name, frame)),
        )

    def _send_arrays(self, seq: int) -> None:
        assert self.link
        link, hub = self.link, self.world.hub
        buckets = list(range(BUCKETS))
        self.world.random.shuffle(buckets)
        for bucket in buckets:
            payload = f"{self.name} {seq} {bucket}"

            def part(bucket: int = bucket, payload: str = payload) -> None:
                hub.part(link.session, self.name, seq, bucket, payload)

            link.send(True, lambda part=part: hub.receive(link.session, part))
        self._send(Kind.COMMIT, seq, digest="0" * 32, metrics={"loss": 1.0})

    # Messages

    def message(self, frame: Frame, view: list[str]) -> None:
        """A message has come; `view`: what PARAMETERS is about."""
        link = self.link
        self._whenever(lambda: link is self.link and self._message(frame, view))

    def _message(self, frame: Frame, view: list[str]) -> None:
        fields = messages.parse(frame)
        match frame.kind:
            case Kind.WELCOME:
                self._welcome(fields)
            case Kind.DEFINED:
                self.defined[fields["part"]] = fields["digest"]
                self._define()
            case Kind.UPLOAD:
                self._send_arrays(frame.seq)
            case Kind.PARAMETERS:
                self.version, self.view, self.pulling = fields["version"], view, False
                self._ready()
            case Kind.ROUND:
                self._round(frame.round, fields)
            case Kind.ACK:
                self._acknowledged(frame.seq, fields["outcome"])
            case Kind.CLOSED:
                self._closed(fields)
            case _:
                raise AssertionError(frame)

    def _welcome(self, fields: dict[str, Any]) -> None:
        self.welcomed, self.rank = True, fields["rank"]
        self.defined = dict(fields["defined"])
        if self.job and 0 < self.job.seq <= fields["committed"]:
            self._acknowledged(self.job.seq, "counted")
        self._define(fields["version"])

    def _define(self, version: int = -2) -> None:
        """Define what is not, and go on when all is."""
        for part, value in self.world.definitions.items():
            if part not in self.defined:
                if part == "optimizer" and "model" not in self.defined:
                    return
                self.seq += 1
                self._send(Kind.DEFINE, self.seq, part=part, value=value)
                if part == "model":
                    return
        if len(self.defined) == len(self.world.definitions) and not (self.current or self.pulling):
            if version == self.version:
                self._ready()
            else:
                self._pull()

    def _pull(self) -> None:
        self.pulling, self.current = True, False
        self.results.clear()
        self._send(Kind.PULL)

    def _ready(self) -> None:
        self.current = True
        self._send(Kind.READY, version=self.version, busy=self.job is not None)

    def result(self, effect: Reduce) -> None:
        """A RESULT has come."""
        link = self.link

        def take() -> None:
            if link is self.link and effect.round > self.version:
                self.results.setdefault((effect.round, effect.bucket), {})[effect.attempt] = (
                    effect.parts
                )

        self._whenever(take)

    def _closed(self, fields: dict[str, Any]) -> None:
        version, attempts = fields["version"], fields["attempts"]
        if self.pulling or version <= self.version:
            return
        assert version == self.version + 1
        attempts = attempts + [0] * (BUCKETS - len(attempts))
        valid = [self.results.get((version, b), {}).get(attempts[b]) for b in range(BUCKETS)]
        for bucket in range(BUCKETS):
            self.results.pop((version, bucket), None)
        if any(parts is None for parts in valid):
            self.world.missed += 1
            self._pull()
            return
        self.view = [
            step(before, version, parts or ())
            for before, parts in zip(self.view, valid, strict=True)
        ]
        self.version = version
        assert hash_of(self.view) == fields["hash"]

    # Work

    def _round(self, round: int, fields: dict[str, Any]) -> None:
        share = tuple(fields["share"]) if fields["share"] else None
        again, self.told = not self.told, True
        self.asked = (round, share) if fields["expected"] else None
        job = self.job
        if job and again and job.seq:
            if round > job.round or (round == job.round and share == job.share):
                self._contribute()
            else:
                self.job = None
        if self.job and (self.job.round, self.job.share) == self.asked:
            self.asked = None
        self._start()

    def _start(self) -> None:
        if self.asked is None or self.job or not self.current:
            return
        (round, share), self.asked = self.asked, None
        samples = share[1] - share[0] if share else self.world.random.randint(1, 20)
        self.job = job = Job(round, share, samples)
        took = samples / self.speed * self.world.random.lognormvariate(0, self.world.faults.spread)
        self.world.at(took, lambda: self._whenever(lambda: self._computed(job)))

    def _computed(self, job: Job) -> None:
        if self.job is not job:
            return
        self.seq += 1
        job.seq = self.seq
        self.world.contributions[self.name, job.seq] = job
        if self.told and self.link:
            self._contribute()

    def _contribute(self) -> None:
        job = self.job
        assert job
        share = list(job.share) if job.share else None
        self._send(Kind.BEGIN, job.seq, job.round, samples=job.samples, share=share, lr=[0.1])
        self._send_arrays(job.seq)

    def _acknowledged(self, seq: int, outcome: str) -> None:
        self.world.acknowledged[self.name, seq] = outcome
        if self.job and self.job.seq == seq:
            self.job = None
            self._start()
