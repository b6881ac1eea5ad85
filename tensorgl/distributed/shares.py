"""Which samples are whose: the stream of epochs, and how a piece of it is divided. Standard library only."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from math import ceil

from tensorgl.distributed.effects import Share

__all__ = ["Shares", "divide"]


class Shares:
    """The samples that are to be given out: what came back first, then what follows in the stream.

    Args:
        cursor: where the stream goes on.
        leftover: shares that came back, in order; none is next to another.
    """

    def __init__(self, cursor: int, leftover: Iterable[Share]) -> None:
        self.cursor = cursor
        self.leftover: list[Share] = []
        for start, stop in leftover:
            self.give_back((start, stop))

    def take(self, samples: int, size: int) -> Share:
        """At most so many samples, of one epoch; an epoch has `size`."""
        start, end = self.leftover.pop(0) if self.leftover else (self.cursor, None)
        stop = min(start + samples, (start // size + 1) * size)
        if end is None:
            self.cursor = stop
        elif stop < end:
            self.leftover.insert(0, (stop, end))
        else:
            stop = end
        return start, stop

    def give_back(self, share: Share) -> None:
        """Somebody else shall have it; together with what is next to it, so that batches are whole."""
        at = bisect(self.leftover, share)
        start, stop = share
        if at < len(self.leftover) and self.leftover[at][0] == stop:
            stop = self.leftover.pop(at)[1]
        if at and self.leftover[at - 1][1] == start:
            at -= 1
            start = self.leftover.pop(at)[0]
        self.leftover.insert(at, (start, stop))


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
