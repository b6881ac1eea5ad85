"""Devices whose context can be lost: what they held comes back on a new one.

A browser may take a WebGL context away at any time: the driver was reset, the GPU's process crashed,
other pages wanted it. A `VolatileDevice` therefore keeps on the host what it takes to get there again: the
contents of the memories that mattered at some moment, and every write and list of launches since. After
a loss both are done again on a new context, where memories and programs have the numbers that they had,
so that nobody above notices. Launches are deterministic: so is what comes back.

It knows memories, not tensors; only to say what is lost does it look for those.
"""

from __future__ import annotations

import gc
import warnings
from abc import abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from time import monotonic
from typing import Any, TypeVar

from tensorgl.backends.glsl.device import COPY, KERNEL, Device, DeviceLost, Limits
from tensorgl.backends.glsl.graph import Node
from tensorgl.backends.glsl.memory import BYTES
from tensorgl.errors import ContextLostError

__all__ = ["VolatileDevice", "used_memories"]

SECONDS = 5.0
"""How much work is done again at most, about. Reading what matters then takes the GPU's whole queue."""
SHARE = 50
"""Reading takes at most one part in so many of the time, however slow it is."""
HOST_BYTES = 256 << 20
"""What is kept on the host of memories' contents; where more matters, nothing is."""
LOG_BYTES = 64 << 20
"""How long the list of what was done since may become before memories are read in its place."""
ATTEMPTS = 3
"""Contexts in a row; work that kills each of them would kill the next, too."""

_KERNEL_WORDS, _COPY_WORDS, _COUNTS = 11, 6, 9  # see device.py
_ENTRY_BYTES = 256
"""What an entry of the log takes besides its arrays."""

T = TypeVar("T")


_Entry = tuple[Any, Any, Any]
"""Of the log: a write's memory, start and data, or a run's launches, slots and numbers."""


class VolatileDevice(Device):
    """A device that survives its context.

    Subclasses answer `Device`'s methods under the names `_read` and so on, each of which raises
    `DeviceLost` where the context is gone, and never gives garbage.
    """

    def __init__(self) -> None:
        self._kinds: dict[int, tuple[str, int, int]] = {}  # of each memory: kind, texels, width
        self._freed: dict[int, tuple[str, int, int]] = {}  # of those that the log may still name
        self._saved: dict[int, bytes] = {}
        self._log: list[_Entry] | None = []  # None: too much matters to be kept
        self._log_bytes = 0
        self._next = monotonic() + SECONDS
        self._lost: set[int] = set()  # memories whose contents are gone for good

    @abstractmethod
    def reopen(self) -> Limits:
        """Make a new context with the memories and programs of the old one, under their numbers.

        Memories may hold anything. Returns what the new context can do.

        Raises:
            RuntimeError: there is none to be had.
        """

    @abstractmethod
    def _allocate(self, kind: str, texels: int, width: int) -> int: ...

    @abstractmethod
    def _free(self, memory: int) -> None: ...

    @abstractmethod
    def _write(self, memory: int, start: int, data: bytes) -> None: ...

    @abstractmethod
    def _read(self, memory: int, start: int, texels: int) -> bytes: ...

    async def _read_async(self, memory: int, start: int, texels: int) -> bytes:
        return self._read(memory, start, texels)

    @abstractmethod
    def _compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int: ...

    @abstractmethod
    def _run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None: ...

    @abstractmethod
    def _timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]: ...

    @abstractmethod
    def _finish(self) -> None: ...

    # -- the contract ------------------------------------------------------------------------------

    def allocate(self, kind: str, texels: int, width: int) -> int:
        try:
            memory = self._allocate(kind, texels, width)
        except DeviceLost:
            memory = self._again(lambda: self._allocate(kind, texels, width))
        self._kinds[memory] = kind, texels, width
        self._lost.discard(memory)
        return memory

    def free(self, memory: int) -> None:
        spec = self._kinds.pop(memory)
        if self._log:
            self._freed[memory] = spec
        self._lost.discard(memory)
        self._free(memory)

    def write(self, memory: int, start: int, data: bytes) -> None:
        try:
            self._write(memory, start, data)
        except DeviceLost:
            self._again(lambda: self._write(memory, start, data))
        self._lost.discard(memory)
        if self._log is not None:
            self._log.append((memory, start, data))
            self._log_bytes += _ENTRY_BYTES + len(data)

    def read(self, memory: int, start: int, texels: int) -> bytes:
        def work() -> bytes:
            self._check((memory,))
            return self._read(memory, start, texels)

        try:
            return work()
        except DeviceLost:
            return self._again(work)

    async def read_async(self, memory: int, start: int, texels: int) -> bytes:
        self._check((memory,))
        try:
            return await self._read_async(memory, start, texels)
        except DeviceLost:
            return self.read(memory, start, texels)

    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        try:
            return self._compile(source, inputs, outputs)
        except DeviceLost:
            return self._again(lambda: self._compile(source, inputs, outputs))

    def run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        if self._lost:
            self._check_run(launches, slots)
        try:
            self._run(launches, slots, numbers)
        except DeviceLost:

            def work() -> None:
                self._check_run(launches, slots)
                self._run(launches, slots, numbers)

            self._again(work)
        # Only now: what was interrupted filled memory that nobody refers to.
        self._note(launches, slots, numbers)

    def timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]:
        def work() -> list[int]:
            self._check_run(launches, slots)
            return self._timed(launches, slots, numbers)

        try:
            times = work()
        except DeviceLost:
            times = self._again(work)
        self._note(launches, slots, numbers)
        return times

    def _note(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        if self._log is not None:
            self._log.append((launches, slots[:], numbers[:]))
            self._log_bytes += _ENTRY_BYTES + 4 * len(numbers)

    def finish(self) -> None:
        try:
            self._finish()
        except DeviceLost:
            self._again(self._finish)

    def rest(self, used: Callable[[], Collection[int]]) -> None:
        before = monotonic()
        if before < self._next and self._log_bytes < LOG_BYTES:
            return
        memories = self._kinds.keys() & used()
        total = sum([self._size(m) for m in memories])
        if total <= HOST_BYTES:
            try:
                self._save(memories)
            except DeviceLost:
                self._again(lambda: self._save(memories))
        elif self._log_bytes >= LOG_BYTES:
            self._give_up(total)
        now = monotonic()
        self._next = now + max(SECONDS, SHARE * (now - before))

    # -- before a loss -----------------------------------------------------------------------------

    def _size(self, memory: int) -> int:
        kind, texels, _ = self._kinds[memory]
        return texels * BYTES[kind]

    def _save(self, memories: Collection[int]) -> None:
        """Keep these memories' contents on the host, in place of the log."""
        known = self._saved.copy()
        outputs: dict[int, list[int]] = {}  # of each list of launches, which repeat
        for entry in self._log or ():
            if isinstance(entry[0], int):
                memory, start, data = entry
                known.pop(memory, None)
                if not start:
                    known[memory] = data
            else:
                launches, slots, _ = entry
                key = id(launches)
                if key not in outputs:
                    outputs[key] = list({s for out, _ in _launches(launches) for s in out})
                for slot in outputs[key]:
                    known.pop(slots[slot], None)
        saved: dict[int, bytes] = {}
        for memory in memories:
            if memory not in self._lost:
                data = known.get(memory)
                if data is None:
                    data = self._read(memory, 0, self._kinds[memory][1])
                saved[memory] = data
        self._saved, self._log, self._log_bytes = saved, [], 0
        self._freed.clear()

    def _give_up(self, total: int) -> None:
        """Keep nothing, as it is too much."""
        if self._log is not None:
            warnings.warn(
                f"tensors on device 'gl' take {total / 2**20:.0f} MiB, too much to keep copies on the host "
                f"(at most {HOST_BYTES / 2**20:.0f} MiB): if the browser takes the GPU away, they will be "
                "lost. Save checkpoints now and then",
                stacklevel=2,
            )
        self._saved, self._log, self._log_bytes = {}, None, 0
        self._freed.clear()

    # -- after a loss ------------------------------------------------------------------------------

    def _again(self, work: Callable[[], T]) -> T:
        """Bring everything back, then do the work that the loss interrupted."""
        for _ in range(ATTEMPTS):
            try:
                self._restore()
                if self._log is None:
                    _warn(f"these tensors are lost: {_names(self._lost)}")
                result = work()
            except DeviceLost:
                continue
            if self._log is not None:
                _warn(
                    f"all that it held is back: {len(self._saved)} pieces of memory were restored, and "
                    f"{len(self._log)} uploads and lists of launches done again"
                )
            return result
        raise ContextLostError(
            f"the GPU's context was lost {ATTEMPTS} times while doing the same work on "
            f"{self.limits.renderer}: a kernel may take longer than the browser allows, or memory may be "
            "short. Use smaller batches"
        )

    def _restore(self) -> None:
        try:
            now = self.reopen()
        except DeviceLost:
            raise
        except (RuntimeError, MemoryError) as error:
            raise ContextLostError(
                f"the browser took the GPU's context away and gives no other: {error}. What was on device "
                "'gl' cannot be read; reload the page, and go on from your last checkpoint"
            ) from None
        lacks = _lacking(self.limits, now)
        if lacks:
            raise ContextLostError(
                f"the browser took the GPU's context away; the new one ({now.renderer}) can do less than the "
                f"one before ({self.limits.renderer}): {lacks}. Reload the page, and go on from your last "
                "checkpoint"
            )
        if self._log is None:
            self._lost = set(self._kinds)
            return
        for memory, data in self._saved.items():
            if memory in self._kinds:
                self._write(memory, 0, data)
        freed = {m: self._allocate(*spec) for m, spec in self._freed.items()}
        for memory, data in self._saved.items():
            if memory in freed:
                self._write(freed[memory], 0, data)

        def place(memory: int) -> int:
            return freed.get(memory, memory)

        for entry in self._log:
            if isinstance(entry[0], int):
                memory, start, data = entry
                self._write(place(memory), start, data)
            else:
                launches, slots, numbers = entry
                if freed:
                    slots = array("i", [place(m) for m in slots])
                self._run(launches, slots, numbers)
        for memory in freed.values():
            self._free(memory)

    def _check(self, memories: Collection[int]) -> None:
        """That nothing of this is lost.

        Raises:
            ContextLostError: something is; the message names it.
        """
        lost = self._lost.intersection(memories)
        if lost:
            raise ContextLostError(
                "the browser took the GPU's context away, and these tensors with it, as they were too large "
                f"to keep copies on the host: {_names(lost)}. Load your last checkpoint into them, or make "
                "them anew"
            )

    def _check_run(self, launches: array[int], slots: array[int]) -> None:
        """That these launches read nothing that is lost; what they write is not lost any more."""
        if not self._lost:
            return
        missing, written = set[int](), set[int]()
        for outputs, inputs in _launches(launches):
            missing |= self._lost.intersection([slots[s] for s in inputs]) - written
            written.update([slots[s] for s in outputs])
        self._check(missing)
        self._lost -= written


def _warn(outcome: str) -> None:
    warnings.warn(f"the browser took the GPU's context away; {outcome}", stacklevel=4)


def used_memories() -> set[int]:
    """The memories of every tensor and every view that is alive."""
    return {n.buffer.block.memory for n in _realised()}


def _realised() -> list[Any]:
    return [x for x in gc.get_objects() if type(x) is Node and x.buffer is not None]


def _names(memories: Collection[int]) -> str:
    """Dtypes and shapes of the tensors in these memories."""
    found = [n.call.out for n in _realised() if n.buffer.block.memory in memories]
    names = [f"{a.dtype.name}{list(a.shape)}" for a in sorted(found, key=lambda a: -a.size)]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _launches(launches: array[int]) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """The slots that each launch of a list writes and reads."""
    at = 0
    while at < len(launches):
        if launches[at] == COPY:
            yield launches[at + 3 : at + 4], launches[at + 1 : at + 2]
            at += _COPY_WORDS
            continue
        assert launches[at] == KERNEL
        outputs, inputs = launches[at + _COUNTS : at + _KERNEL_WORDS]
        at += _KERNEL_WORDS
        yield launches[at : at + outputs], launches[at + outputs : at + outputs + inputs]
        at += outputs + inputs


def _lacking(before: Limits, now: Limits) -> str:
    """What a context cannot do that the one before could, in words."""
    names = ("draw_buffers", "inputs", "texels", "rows", "number_bytes")
    less = [n for n in names if getattr(now, n) < getattr(before, n)]
    return ", ".join(f"{n} {getattr(now, n)} and not {getattr(before, n)}" for n in less)
