"""The contract of a device: memory, programs and lists of launches, all of them plain integers.

A device never sees a tensor, a shape rule or an op. Native OpenGL and WebGL2 each have one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

__all__ = ["COPY", "KERNEL", "LOCAL", "Device", "DeviceLost", "Limits", "is_software"]

KERNEL, COPY = 0, 1
"""What an entry of a list of launches begins with, and its length in all; then come

KERNEL  program, offset of its numbers in bytes, grid, start, three counts of work groups, barrier,
        count of outputs, count of inputs, then the slots of its outputs and of its inputs
COPY    source slot, first texel, target slot, first texel, texels

A kernel runs `grid` invocations; invocation t fills texel `start` + t of its outputs. Counts of work
groups are zeros unless the kernel decides on them itself. A `barrier` of 1 says that it reads what a
launch since the last barrier wrote. COPY moves whole rows, and only between memories of one width.
"""

LOCAL = 64
"""Invocations of a work group, where a kernel does not decide on it."""


@dataclass(frozen=True)
class Limits:
    """What a device can do, as its context reports it."""

    target: str  # "compute" or "fragment"
    header: str  # what every shader's text begins with: its version and default precisions
    renderer: str
    software: bool
    draw_buffers: int  # outputs of one kernel
    inputs: int  # memories that one kernel may read
    texels: int  # of the largest memory
    rows: int  # of the tallest texture; 0 where memory has no rows
    number_bytes: int  # that the numbers of one kernel may take
    number_alignment: int  # of the offset of a kernel's numbers in bytes

    @property
    def samples(self) -> bool:
        """Whether texels of textures are read as samples, by coordinates from 0 to 1.

        These rasterisers take three fifths as long for that as for a fetch, compute it in 32-bit floats, and
        wrap columns and rows by themselves. On hardware a fetch is as fast, and samples may be less exact.
        """
        return any(name in self.renderer.lower() for name in ("llvmpipe", "swiftshader"))


_SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "software", "basic render")


def is_software(renderer: str) -> bool:
    """Whether a renderer of this name draws with the CPU."""
    return any(word in renderer.lower() for word in _SOFTWARE)


class DeviceLost(RuntimeError):  # noqa: N818  it is what happened, and dealt with, not an error
    """The context is gone with all that it held. `VolatileDevice` deals with it; nobody else sees it."""


class Device(ABC):
    """Nine methods, and three with a default. Memories and programs are numbers; calls work in order."""

    limits: Limits

    @abstractmethod
    def allocate(self, kind: str, texels: int, width: int) -> int:
        """Memory of `texels` texels of four elements, in rows of `width` where it has rows.

        `kind` is what an element is stored as: "f32", "f16", "i32" or "u8".

        Raises:
            MemoryError: there is not so much left.
        """

    @abstractmethod
    def free(self, memory: int) -> None:
        """Give memory back. Launches that were already run are not disturbed."""

    @abstractmethod
    def write(self, memory: int, start: int, data: bytes) -> None:
        """Fill texels from `start` on, which is 0 or the beginning of a row, with whole texels."""

    @abstractmethod
    def read(self, memory: int, start: int, texels: int) -> bytes:
        """The contents of texels, after all work that was asked for."""

    async def read_async(self, memory: int, start: int, texels: int) -> bytes:
        """As `read`, but others work until it is there. What is run meanwhile is not waited for.

        The memory is neither written nor freed until then.
        """
        return self.read(memory, start, texels)

    @abstractmethod
    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        """A program of a shader's text, whose inputs and outputs are of these kinds.

        Raises:
            ShaderError: the driver rejects it; the message shows the lines it complains about.
        """

    @abstractmethod
    def run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        """Start every launch of the list, in order. Slot k of it stands for the memory `slots[k]`.

        `numbers` are all kernels' numbers, floats by their bits. The arrays hold C ints, and are not
        read after the call.
        """

    @abstractmethod
    def timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]:
        """As `run`, and wait: how many nanoseconds the device took for each launch."""

    @abstractmethod
    def finish(self) -> None:
        """Return when all work is done."""

    def error(self) -> str:
        """What went wrong since this was last asked, in the driver's words; "" if nothing. It waits."""
        return ""

    def rest(self, used: Callable[[], Collection[int]]) -> None:
        """Called now and then between two lists. `used()` are the memories whose contents matter now."""
        return

    @abstractmethod
    def close(self) -> None:
        """Give everything back; the device cannot be used any more."""
