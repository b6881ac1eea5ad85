"""What is computed of contributions when a round ends. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, isfinite
from statistics import median

from tensorgl.distributed.effects import Part
from tensorgl.distributed.members import Member

__all__ = ["mean_metrics", "median_lr", "usual_seconds", "weigh"]

_MOST_METRICS = 32


def weigh(members: Iterable[Member], number: int) -> tuple[Part, ...]:
    """What these members' contributions count in a round, in the order of ranks: less if they are late."""
    parts: list[Part] = []
    for member in sorted(members, key=lambda m: m.rank):
        assert member.work
        late = number - member.work.round
        parts.append(Part(member.name, member.work.seq, member.work.samples / (1 + late)))
    return tuple(parts)


def median_lr(said: Iterable[tuple[int, Sequence[float]]]) -> tuple[float, ...]:
    """Group by group, of those who have been members longest; () if no contribution says anything.

    Who joins later begins a schedule that the run is far into.

    Args:
        said: when each member joined, as a version, and the learning rates that it gives.
    """
    rows = [(joined, lr) for joined, lr in said if lr]
    first = min((joined for joined, _ in rows), default=0)
    eldest = [lr for joined, lr in rows if joined == first]
    return tuple(median(rates) for rates in zip(*eldest, strict=False))


def mean_metrics(said: Iterable[tuple[float, dict[str, float]]]) -> dict[str, float]:
    """The weighted mean of each metric over those who give it."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for weight, metrics in said:
        for name, value in metrics.items():
            rows.setdefault(name, []).append((weight, value))
    means: dict[str, float] = {}
    for name, row in list(rows.items())[:_MOST_METRICS]:
        total = sum(weight for weight, _ in row)
        mean = sum(weight / total * value for weight, value in row)
        if isfinite(mean):  # else it overflowed
            means[name] = mean
    return means


def usual_seconds(members: Iterable[Member]) -> float:
    """What nine of ten members take for a contribution."""
    times = sorted(m.seconds for m in members if m.seconds is not None)
    return times[ceil(0.9 * len(times)) - 1] if times else 0.0
