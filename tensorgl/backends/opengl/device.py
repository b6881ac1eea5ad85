"""What both native targets share: the context, its limits, numbers, timing."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from time import perf_counter_ns
from typing import Any

import moderngl

from tensorgl.backends.glsl.device import Device, Limits
from tensorgl.backends.opengl.context import Functions
from tensorgl.backends.opengl.probe import check_process

__all__ = ["NativeDevice"]

NUMBERS = 1 << 20
"""Bytes of the ring of numbers at first. Writing on at its end spares the driver from waiting for
kernels that still read what was written before."""

MAX_TEXELS = (1 << 31) // 4 - 1
"""Elements are counted in an int."""


class NativeDevice(Device):
    """A moderngl context. Subclasses hold memory as buffers or as textures.

    OpenGL works in the context that the calling thread has made current, and a context is current
    in one thread at most. So each call takes it (`with self:`) and gives it back, which costs about a
    microsecond: then other threads can use it, and other contexts this thread.
    """

    def __init__(self, context: Any, limits: Limits) -> None:
        self.context = context
        self.limits = limits
        self.gl = Functions(context)
        self._ring = context.buffer(reserve=NUMBERS)
        self._ring_place = 0
        self._memories: dict[int, Any] = {}
        self._programs: list[Any] = []
        self._next = 1
        context.enable_only(moderngl.NOTHING)
        self.__exit__()

    def __enter__(self) -> None:
        check_process()
        self.context.__enter__()

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(None, None, None)

    def _numbers(self, numbers: array[int]) -> int:
        """Put numbers into the ring; where they begin."""
        size = 4 * len(numbers)
        if 4 * size > self._ring.size:  # the driver keeps the old one until its kernels have run
            self._ring.release()
            self._ring = self.context.buffer(reserve=8 * size)
            self._ring_place = 0
        begin = -(-self._ring_place // 256) * 256
        if begin + size > self._ring.size:
            begin = 0
        self._ring.write(numbers, offset=begin)
        self._ring_place = begin + size
        return begin

    def _remember(self, memory: Any) -> int:
        number = self._next
        self._next += 1
        self._memories[number] = memory
        return number

    def run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        with self:
            begin = self._numbers(numbers) if len(numbers) else 0
            at, end = 0, len(launches)
            while at < end:
                at = self._launch(launches, at, slots, begin)

    def timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]:
        """By timer queries; a software rasteriser, whose queries do not see all its work, is waited for."""
        times: list[Any] = []
        with self:
            begin = self._numbers(numbers) if len(numbers) else 0
            at, end = 0, len(launches)
            while at < end:
                timer = (
                    _Clock(self.context) if self.limits.software else self.context.query(time=True)
                )
                with timer:
                    at = self._launch(launches, at, slots, begin)
                    while at < end and launches[at]:  # copies belong to the kernel before them
                        at = self._launch(launches, at, slots, begin)
                times.append(timer)
            self.context.finish()
            return [timer.elapsed for timer in times]

    @abstractmethod
    def _launch(self, launches: array[int], at: int, slots: array[int], begin: int) -> int:
        """Start the launch at a place of the list; the place of the next."""

    def finish(self) -> None:
        with self:
            self.context.finish()

    def close(self) -> None:
        self.__enter__()
        self._release()
        self.context.release()

    def _release(self) -> None:
        """Give back every object of the context."""
        for memory in self._memories.values():
            memory.release()
        self._memories.clear()
        self._ring.release()
        for program in self._programs:
            program.release()
        self._programs.clear()

    def _check_memory(self) -> None:
        """Raise what the contract says if the last allocation did not fit."""
        error = self.context.error
        if error == Functions.OUT_OF_MEMORY:
            raise MemoryError(error)


class _Clock:
    """What a timer query tells, by the CPU's clock: it waits for all work at both ends."""

    elapsed = 0

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._context.finish()
        self._begin = perf_counter_ns()

    def __exit__(self, *error: object) -> None:
        self._context.finish()
        self.elapsed = perf_counter_ns() - self._begin
