"""What a training step does in Python besides computing: counts go on, rates change, offsets move.

Such work gives numbers that then enter the computation as operands. It is done by a function
without arguments that is called through `effect`, so that whoever records a step can call it again
at each replay and give its numbers to the recorded computation. Imports nothing of tensorgl.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["effect"]

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
