"""Which samples are whose: the stream of epochs, and how a piece of it is divided. Standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil

from tensorgl.distributed.effects import Share

__all__ = ["Shares", "divide"]


class Shares:
    """The samples that are to be given out: what came back first, then what follows in the stream.

    Args:
        cursor: where the stream goes on.
        leftover: shares that came back.
    """

    def __init__(self, cursor: int, leftover: Iterable[Share]) -> None:
        self.cursor = cursor
        self.leftover = deque((start, stop) for start, stop in leftover)

    def take(self, samples: int, size: int) -> Share:
        """At most so many samples, of one epoch; an epoch has `size`."""
        if self.leftover:
            start, end = self.leftover.popleft()
            stop = min(end, start + samples)
            if stop < end:
                self.leftover.appendleft((stop, end))
            return start, stop
        start = self.cursor
        self.cursor = min(start + samples, (start // size + 1) * size)
        return start, self.cursor

    def give_back(self, share: Share) -> None:
        """Somebody else shall have it."""
        self.leftover.appendleft(share)


def divide(whole: Share, weights: Sequence[float], unit: int = 1) -> list[Share | None]:
    """Parts of a share in these proportions, in this order, and of a sample each at least.

    Where there are fewer samples than parts, some are None. Where there are enough of them, all but the
    last part are of whole units.
    """
    start, stop = whole
    if stop - start < unit * len(weights):
        unit = 1
    units = (stop - start) // unit
    least = int(units >= len(weights))
    rest, total = units - least * len(weights), sum(weights)
    shares: list[Share | None] = []
    at, sofar = start, 0.0
    for k, weight in enumerate(weights, 1):
        sofar += weight
        # Up to a unit's billionth is rounding. The last part is what remains, whatever was rounded.
        end = start + unit * (least * k + min(rest, ceil(rest * sofar / total - 1e-9)))
        if k == len(weights):
            end = stop
        shares.append((at, end) if end > at else None)
        at = end
    return shares
