"""A core that is told things one by one, for tests."""

from __future__ import annotations

from typing import Any

from tensorgl.distributed import messages
from tensorgl.distributed.core import Core
from tensorgl.distributed.effects import (
    Effect,
    Log,
    Send,
    Settings,
)
from tensorgl.distributed.wire import Kind

MODEL = {"parameters": [["w", [3]], ["b", []]], "buckets": [3, 1]}
OPTIMIZER = {"name": "SGD", "options": [{"lr": 0.1}], "groups": [0, 0], "local_steps": 0}
DATA = {"size": 100, "batch": 12, "seed": 0}
A, B, C, D = (f"{k:032x}" for k in range(4))


class Driver:
    """A core, a clock, and what the core has asked for. Sessions are numbered by member."""

    def __init__(self, held: Settings | None = None, data: dict[str, int] | None = DATA) -> None:
        self.now = 0.0
        self.held = held or Settings(lease=30, grace=10)
        self.data = data
        self.core = Core(self.held, "0" * 32, "raw", 0.0)
        self.sessions: dict[str, int] = {}
        self.count = 0
        self.effects: list[Effect] = []

    def take(self, effects: list[Effect]) -> list[Effect]:
        """What is asked for; Logs are made durable at once."""
        queue, taken = list(effects), []
        while queue:
            effect = queue.pop(0)
            taken.append(effect)
            if isinstance(effect, Send):
                fields = effect.fields
                if effect.kind is Kind.WELCOME:
                    fields = fields | {"resume": "0" * 64}
                messages.pack(effect.kind, seq=effect.seq, round=effect.round, **fields)
            if isinstance(effect, Log):
                version = effect.round if effect.round is not None else self.core.version
                queue += self.core.durable(f"{version:032x}", self.now)
        self.effects += taken
        return taken

    def hello(self, name: str, resumes: bool = False) -> list[Effect]:
        self.count += 1
        self.sessions[name] = self.count
        return self.take(self.core.hello(self.count, name, resumes, self.now))

    def say(
        self, name: str, kind: Kind, seq: int = 0, round: int = 0, **fields: Any
    ) -> list[Effect]:
        return self.take(self.core.message(self.sessions[name], kind, seq, round, fields, self.now))

    def stage(self, name: str, seq: int, *buckets: int) -> list[Effect]:
        out: list[Effect] = []
        for bucket in buckets:
            out += self.take(self.core.staged(self.sessions[name], seq, bucket, self.now))
        return out

    def begin(
        self, name: str, seq: int, round: int, share: Any, samples: int = 0, lr: Any = ()
    ) -> list[Effect]:
        samples = samples or (share[1] - share[0] if share else 1)
        share = list(share) if share else None
        return self.say(name, Kind.BEGIN, seq, round, samples=samples, share=share, lr=list(lr))

    def commit(self, name: str, seq: int, **metrics: float) -> list[Effect]:
        return self.say(name, Kind.COMMIT, seq, digest="0" * 32, metrics=metrics)

    def contribute(
        self, name: str, seq: int, round: int, share: Any, samples: int = 0, lr: Any = ()
    ) -> list[Effect]:
        out = self.begin(name, seq, round, share, samples, lr)
        out += self.stage(name, seq, 0, 1)
        return out + self.commit(name, seq)

    def tick(self, seconds: float, *alive: str) -> list[Effect]:
        """Time passes; some give signs of life."""
        self.now += seconds
        for name in alive:
            self.core.seen(self.sessions[name], self.now)
        return self.take(self.core.tick(self.now))

    def gone(self, name: str) -> list[Effect]:
        return self.take(self.core.gone(self.sessions[name], self.now))

    def begun(self, *names: str) -> list[Effect]:
        """All is defined, and these members are in the first round."""
        for name in names:
            self.hello(name)
        self.say(names[0], Kind.DEFINE, 1, part="model", value=MODEL)
        self.commit(names[0], 1)
        self.say(names[0], Kind.DEFINE, 2, part="optimizer", value=OPTIMIZER)
        if self.data:
            self.say(names[0], Kind.DEFINE, 3, part="data", value=self.data)
        out: list[Effect] = []
        for name in names:
            self.say(name, Kind.PULL)
            out += self.say(name, Kind.READY, version=0, busy=False)
        return out


def sent(effects: list[Effect], kind: Kind, session: int | None = None) -> list[Send]:
    return [
        e
        for e in effects
        if isinstance(e, Send) and e.kind is kind and session in (None, e.session)
    ]


def of(effects: list[Effect], kind: type) -> list[Any]:
    return [e for e in effects if isinstance(e, kind)]
