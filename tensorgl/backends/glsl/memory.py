"""Device memory: buckets of sizes, a bounded pool of free memories, and what is live.

A `Block` is one memory of the device; when nothing refers to it any more it goes to the pool, and
the next request for its bucket takes it from there. Work is done in the order in which it is asked
for, so a block can be used again at once. A `Buffer` is a tensor's place in a block.
"""

from __future__ import annotations

from collections import defaultdict, deque
from functools import cache, lru_cache
from typing import Any
from weakref import WeakSet

from tensorgl.backends.glsl.device import Device
from tensorgl.errors import OutOfMemoryError

__all__ = ["BYTES", "Block", "Buffer", "Pool", "bucket"]

BYTES = {"f32": 16, "f16": 8, "i32": 16, "u8": 4}
"""Bytes of a texel of each kind."""

POOLED_BYTES = 1 << 30
"""How much free memory the pool keeps at most."""

TALL = 1024
"""Rows above which they become wider. Large memories of narrow rows take twice as long on llvmpipe."""


class Buffer:
    """Where a tensor's elements are: a block, the texel they start at, their physical order.

    `order` is None for row-major; else dim `order[0]` of the shape is the outermost in memory, and so
    on. `traits` is what a kernel that reads it must know.
    """

    __slots__ = ("block", "order", "start", "traits")

    def __init__(self, block: Block, start: int = 0, order: tuple[int, ...] | None = None) -> None:
        self.block = block
        self.start = start
        self.order = order
        self.traits = traits(block.kind, block.width, order)


@cache
def traits(kind: str, width: int, order: tuple[int, ...] | None) -> tuple[Any, ...]:
    """One tuple for each combination, so that keys compare by identity."""
    return kind, width, order


class Block:
    """One memory of the device."""

    __slots__ = ("kind", "memory", "pool", "texels", "width")

    def __init__(self, pool: Pool, kind: str, texels: int, width: int, memory: int) -> None:
        self.pool = pool
        self.kind = kind
        self.texels = texels
        self.width = width
        self.memory = memory

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return self.texels * BYTES[self.kind]

    def __del__(self) -> None:
        self.pool.recycle(self)


@lru_cache(maxsize=1 << 14)
def bucket(texels: int, rows: int) -> tuple[int, int]:
    """Texels and width of the bucket for so many texels: 2^k, or 1.5 times that, whole rows.

    Where memory has rows, they are 16 texels wide and become wider when there are more than `TALL`:
    software rasterisers share work out in squares of 64 pixels, and so want tall grids.
    """
    size = 1 << max(texels - 1, 0).bit_length()
    if size >= 4 and 3 * size // 4 >= texels:
        size = 3 * size // 4
    if not rows:
        return max(size, 1), 0
    width = 16
    while size > width * TALL and width < rows:
        width *= 2
    return -(-size // width) * width, width


class Pool:
    """Gives out blocks and takes them back.

    A block may be dropped in any thread, in the middle of anything: it is only noted then, and taken
    back by the next `take` or `collect`. Those are called by one thread at a time.

    Attributes:
        live, peak, pooled: bytes in use, their maximum so far, bytes that wait to be used again.
        reserved_peak: the most bytes that were the device's so far, in use or not.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._free: defaultdict[tuple[str, int, int], list[int]] = defaultdict(list)
        self._dropped: deque[tuple[str, int, int, int]] = deque()
        self.holders: WeakSet[Any] = WeakSet()
        """Who keeps blocks that it could give back: their `release` is called when memory is short."""
        self.live = self.peak = self.pooled = self.reserved_peak = self.blocks = 0

    def take(self, kind: str, texels: int, width: int = 0) -> Block:
        """A block of at least this size, in rows of `width` if it is given.

        Raises:
            OutOfMemoryError: the device has no more, even after the pool was emptied.
        """
        limits = self._device.limits
        if width:
            size = -(-texels // width) * width
        else:
            size, width = bucket(texels, limits.rows)
        if size > limits.texels:
            size = -(-texels // max(width, 1)) * max(width, 1)
        if size > limits.texels:
            raise OutOfMemoryError(
                f"a tensor of {texels * BYTES[kind] / 2**20:.0f} MiB was asked for; one tensor of this "
                f"dtype may have at most {limits.texels * BYTES[kind] / 2**20:.0f} MiB on {limits.renderer}. "
                "Use smaller batches, or split the tensor."
            )
        if self._dropped:
            self.collect()
        waiting = self._free.get((kind, size, width))
        if waiting:
            memory = waiting.pop()
            self.pooled -= size * BYTES[kind]
        else:
            memory = self._allocate(kind, size, width)
            reserved = self.live + self.pooled + size * BYTES[kind]
            self.reserved_peak = max(self.reserved_peak, reserved)
        block = Block(self, kind, size, width, memory)
        self.live += block.bytes
        self.blocks += 1
        self.peak = max(self.peak, self.live)
        return block

    def _allocate(self, kind: str, size: int, width: int) -> int:
        try:
            return self._device.allocate(kind, size, width)
        except MemoryError:
            self.empty()
        try:
            return self._device.allocate(kind, size, width)
        except MemoryError:
            raise OutOfMemoryError(
                f"the device has no {size * BYTES[kind] / 2**20:.1f} MiB left: tensors take "
                f"{self.live / 2**20:.1f} MiB in {self.blocks} pieces, {self.peak / 2**20:.1f} MiB at "
                "most so far. Use smaller batches, or delete tensors that are not needed."
            ) from None

    def recycle(self, block: Block) -> None:
        """Note that nothing refers to a block any more."""
        self._dropped.append((block.kind, block.texels, block.width, block.memory))

    def collect(self) -> None:
        """Take back the blocks that were dropped; too much free memory goes back to the device."""
        while self._dropped:
            kind, texels, width, memory = self._dropped.popleft()
            size = texels * BYTES[kind]
            self._free[kind, texels, width].append(memory)
            self.live -= size
            self.pooled += size
            self.blocks -= 1
        if self.pooled > POOLED_BYTES:
            self.trim(POOLED_BYTES // 2)

    def empty(self) -> None:
        """Give everything back to the device that no tensor is in."""
        for holder in list(self.holders):
            holder.release()
        self.collect()
        self.trim()

    def trim(self, keep: int = 0) -> None:
        """Give free memory back to the device, the largest pieces first, until `keep` bytes are left."""
        for key in sorted(self._free, key=lambda k: -k[1]):
            waiting = self._free[key]
            while waiting and self.pooled > keep:
                self._device.free(waiting.pop())
                self.pooled -= key[1] * BYTES[key[0]]
