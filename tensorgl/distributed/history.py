"""What a hub remembers of its rounds, for curves. Standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["History", "Look"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a run was getting on.

    Attributes:
        version: rounds that were over.
        time: seconds since 1970.
        samples: of all rounds since the hub was started, as weighted.
        received: bytes of members, since then.
        sent: bytes to members, since then.
        metrics: what members said of the last round, weighted.
    """

    version: int
    time: float
    samples: float
    received: int
    sent: int
    metrics: dict[str, float]


class History:
    """Looks at a run, evenly spread over its rounds, and the newest one."""

    MOST = 2000
    """When there are so many, every second one is forgotten, and only every second new one is kept."""

    def __init__(self) -> None:
        self._looks: list[Look] = []
        self._newest: Look | None = None
        self._every, self._count = 1, 0

    @property
    def version(self) -> int:
        """Of the newest look; -1 if there was none."""
        return self._newest.version if self._newest else -1

    def add(self, look: Look) -> None:
        """Remember a look, unless there was one after the same round."""
        if look.version <= self.version:
            return
        self._newest = look
        if self._count % self._every == 0:
            self._looks.append(look)
            if len(self._looks) == self.MOST:
                del self._looks[1::2]
                self._every *= 2
        self._count += 1

    def after(self, version: int) -> list[dict[str, Any]]:
        """Looks at later versions, as JSON has them; after 0 that at 0 as well."""
        looks = [*self._looks]
        if self._newest and self._newest is not looks[-1]:
            looks.append(self._newest)
        return [asdict(look) for look in looks if look.version > (version or -1)]
