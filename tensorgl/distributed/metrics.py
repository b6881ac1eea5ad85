"""What a hub counts, for Prometheus and for its own page."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

__all__ = ["Metrics"]

_PREFIX = "tensorgl_hub_"
# Name: kind, help, and what its label says, if it has one.
_TABLE = {
    "connections": (Gauge, "Connections of members.", ""),
    "members": (
        Gauge,
        "Members, those included whose connection is lost for less than the lease.",
        "",
    ),
    "version": (Gauge, "Rounds that are over.", ""),
    "sessions_total": (Counter, "Connections that a token has let in.", ""),
    "refused_total": (Counter, "Connections that were not let in.", "why"),
    "dropped_total": (Counter, "Connections that the hub has closed.", "why"),
    "frames_total": (Counter, "Frames.", "direction"),
    "bytes_total": (Counter, "Bytes of frames.", "direction"),
    "contributions_total": (Counter, "Contributions.", "outcome"),
    "samples_total": (Counter, "Samples of rounds that are over, as weighted.", ""),
    "reduced_total": (Counter, "Reductions of buckets, those included that were done again.", ""),
    "reduce_seconds_total": (Counter, "Seconds in reductions.", ""),
    "log_seconds_total": (Counter, "Seconds until a state was on the disk.", ""),
    "checkpoints_total": (Counter, "Checkpoints.", ""),
    "staged_bytes": (Gauge, "Contributions that wait for their round's end.", ""),
    "queued_bytes": (Gauge, "Bytes that wait to be sent, each connection's for itself.", ""),
    "member_metric": (Gauge, "What members say of the last round, weighted.", "name"),
}


class Metrics:
    """Numbers by name and label."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics = {
            name: kind(_PREFIX + name, help, [label] if label else [], registry=self._registry)
            for name, (kind, help, label) in _TABLE.items()
        }
        self._counters: dict[tuple[str, str], Counter | Gauge] = {}  # those with a label

    def add(self, name: str, value: float = 1, label: str = "") -> None:
        """Count up."""
        metric = self._metrics[name]
        if label:  # kept, as labels() takes longer than all else here
            key = name, label
            metric = self._counters.get(key) or self._counters.setdefault(key, metric.labels(label))
        metric.inc(value)

    def set(self, name: str, value: float, label: str = "") -> None:
        """Say how much there is now."""
        metric = self._metrics[name]
        assert isinstance(metric, Gauge)
        (metric.labels(label) if label else metric).set(value)

    def replace(self, name: str, values: Mapping[str, float]) -> None:
        """Say how much there is now of each label, and of no other."""
        self._metrics[name].clear()
        for label, value in values.items():
            self.set(name, value, label)

    def get(self, name: str, label: str = "") -> float:
        """What add and set have made of it."""
        return self.by_label(name).get(label, 0)

    def by_label(self, name: str) -> dict[str, float]:
        """All values of a name, by what its label says."""
        return {
            sample.labels.get(_TABLE[name][2], ""): sample.value
            for family in self._metrics[name].collect()
            for sample in family.samples
            if sample.name == _PREFIX + name
        }

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry).decode()
