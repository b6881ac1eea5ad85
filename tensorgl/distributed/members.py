"""What a hub knows of a member. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field

from tensorgl.distributed.effects import Session, Share

__all__ = ["Contribution", "Member", "Task"]


@dataclass(slots=True)
class Task:
    """What a member was asked for, and what is neither counted nor given back."""

    round: int
    share: Share | None
    since: float | None  # None: it was an earlier hub that asked
    progress: int = 0  # how far it came: 1 with BEGIN, and the most buckets that were there at once

    @property
    def size(self) -> int:
        """Samples that were asked for; 1 where no data is defined."""
        return self.share[1] - self.share[0] if self.share else 1


@dataclass(slots=True)
class Contribution:
    """What a member has begun to send."""

    seq: int
    round: int
    samples: int
    lr: tuple[float, ...]
    staged: set[int] = field(default_factory=set[int])
    metrics: dict[str, float] | None = None  # of COMMIT; None until then


@dataclass(slots=True)
class Member:
    """Somebody who takes part, while its lease lasts.

    Attributes:
        seen: when something came from it.
        joined: the version that there was when it became a member.
        moved: when its task went on further than ever: it was asked, it began, a bucket came.
        committed: the highest seq of its contributions that is counted for good.
        ready: it has the parameters, and can be asked to contribute.
        receiving: it is sent RESULT, CLOSED and ROUND.
        pulls: it is to be told where the parameters are once those of now are durable.
        waits: it is to be told of the round that is open, or the next one.
        away: the task that it was waited for in vain; it is asked again once it shows up.
        gone: it left, but for a contribution that is complete and not counted yet.
        seconds: what a contribution takes, a moving average.
        speed: samples a second, a moving average.
    """

    name: str
    rank: int
    seen: float
    committed: int = 0
    joined: int = 0
    session: Session | None = None
    ready: bool = False
    receiving: bool = False
    pulls: bool = False
    waits: bool = False
    away: Task | None = None
    gone: bool = False
    moved: float = 0.0
    task: Task | None = None
    work: Contribution | None = None
    seconds: float | None = None
    speed: float | None = None
    strikes: int = 0

    @property
    def idle(self) -> bool:
        """Whether it can be asked to contribute."""
        return self.ready and not (self.away is not None or self.gone or self.task or self.work)

    @property
    def complete(self) -> Contribution | None:
        """Its contribution that is to be counted."""
        return self.work if self.work and self.work.metrics is not None else None

    @property
    def size(self) -> float:
        """What it counts in a quorum: the samples that it was asked for."""
        return self.task.size if self.task else 1.0

    def measure(self, task: Task, now: float) -> None:
        """Note how long a contribution took, if this hub asked for it."""
        if task.since is not None:
            took = max(now - task.since, 1e-6)
            self.seconds = _average(self.seconds, took)
            self.speed = _average(self.speed, task.size / took)

    def move(self, progress: int, now: float) -> None:
        """Note how far its task is; beginning anew, again and again, is no progress."""
        if self.task and progress > self.task.progress:
            self.task.progress, self.moved = progress, now


def _average(before: float | None, value: float) -> float:
    return value if before is None else 0.7 * before + 0.3 * value
