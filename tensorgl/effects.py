"""What a training step does in Python besides computing: counts go on, rates change, offsets move.

Such work gives numbers that then enter the computation as operands. It is done by a function
without arguments that is called through `effect`, so that whoever records a step can call it again
at each replay and give its numbers to the recorded computation. Imports nothing of tensorgl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

__all__ = ["Notes", "effect", "guard", "once", "reads"]

Numbers = TypeVar("Numbers", bound=tuple[float, ...])

recorder: Callable[[Callable[[], Any]], Any] | None = None
"""Set while a step is recorded: called with each function, it returns what that function gives.

At a replay a function that gives another count of numbers than it gave before says that what was
recorded no longer holds; the step must then be recorded anew.
"""


def effect(function: Callable[[], Numbers]) -> Numbers:
    """The numbers that `function()` gives; an effect within an effect is part of the outer one."""
    global recorder
    if recorder is None:
        return function()
    current, recorder = recorder, None
    try:
        return current(function)
    finally:
        recorder = current


class Notes:
    """What a recorded step depends on besides its arguments, as those say who do the work.

    Attributes:
        guards: it is replayed only while each gives what it gave at the end of the recording.
        read: tensors whose gradients it has read.
        repeats: whether it may be replayed at all.
    """

    def __init__(self) -> None:
        self.guards: list[Callable[[], Any]] = []
        self.read: list[Any] = []
        self.repeats = True


notes: Notes | None = None
"""Set while a step is recorded."""


def guard(function: Callable[[], Any]) -> None:
    """Say that work done now holds as long as `function()` gives what it will at the step's end."""
    if notes is not None:
        notes.guards.append(function)


def reads(tensors: Iterable[Any]) -> None:
    """Say that the gradients of these tensors are read."""
    if notes is not None:
        notes.read += tensors


def once() -> None:
    """Say that what is done now is for this call only, such as state that is made or moved."""
    if notes is not None:
        notes.repeats = False
