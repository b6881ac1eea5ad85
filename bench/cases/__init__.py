"""The benchmark cases: `CASES`, by name. Each builds a function to time from a library."""

from . import ops, training
from .case import Case

CASES: dict[str, Case] = {c.name: c for c in (*ops.CASES, *training.CASES)}
