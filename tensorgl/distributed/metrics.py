"""What a hub counts, as Prometheus reads it. Standard library only."""

from __future__ import annotations

__all__ = ["Metrics"]

# Name: kind and help. All begin with tensorgl_hub_.
_TABLE = {
    "sessions": ("gauge", "Connections of members."),
    "members": (
        "gauge",
        "Members, those included whose connection is lost for less than the lease.",
    ),
    "version": ("gauge", "Rounds that are over."),
    "sessions_total": ("counter", "Connections that a token has let in."),
    "refused_total": ("counter", "Connections that were not let in, by why."),
    "dropped_total": ("counter", "Connections that the hub has closed, by why."),
    "frames_total": ("counter", "Frames, by direction."),
    "bytes_total": ("counter", "Bytes of frames, by direction."),
    "contributions_total": ("counter", "Contributions, by outcome."),
    "samples_total": ("counter", "Samples of rounds that are over, as weighted."),
    "reduced_total": ("counter", "Reductions of buckets, those included that were done again."),
    "reduce_seconds_total": ("counter", "Seconds in reductions."),
    "log_seconds_total": ("counter", "Seconds until a state was on the disk."),
    "checkpoints_total": ("counter", "Checkpoints."),
    "staged_bytes": ("gauge", "Contributions that wait for their round's end."),
    "queued_bytes": ("gauge", "Bytes that wait to be sent, each connection's for itself."),
    "member_metric": ("gauge", "What members say of the last round, weighted."),
}


class Metrics:
    """Numbers by name and label."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, float]] = {name: {} for name in _TABLE}

    def add(self, name: str, value: float = 1, label: str = "") -> None:
        """Count up; a label is 'key="value"'."""
        values = self._values[name]
        values[label] = values.get(label, 0) + value

    def set(self, name: str, value: float, label: str = "") -> None:
        """Say how much there is now."""
        self._values[name][label] = value

    def get(self, name: str, label: str = "") -> float:
        """What add and set have made of it."""
        return self._values[name].get(label, 0)

    def by_label(self, name: str) -> dict[str, float]:
        """All values of a name, by what its label says."""
        return {label.split('"')[1]: value for label, value in self._values[name].items()}

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        lines: list[str] = []
        for name, (kind, help) in _TABLE.items():
            full = f"tensorgl_hub_{name}"
            lines += [f"# HELP {full} {help}", f"# TYPE {full} {kind}"]
            for label, value in sorted(self._values[name].items()):
                lines.append(f"{full}{{{label}}} {value:.17g}" if label else f"{full} {value:.17g}")
        return "\n".join(lines) + "\n"
