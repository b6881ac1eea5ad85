"""Forward passes of a module, and which of them its gradients are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorgl.nn.normalization import Batch
from tensorgl.tensor import Tensor

__all__ = ["Pass", "Passes"]


@dataclass(eq=False, slots=True)
class Pass:
    """One forward pass.

    Attributes:
        samples: how many were run through.
        batches: what batch norms saw of them.
    """

    samples: int
    batches: list[Batch] = field(default_factory=list)


class Passes:
    """Those whose outputs a backward has reached since `forget`.

    Whoever clears the gradients forgets, so a batch that a script computes a loss or a gradient of, and
    then skips, is none of them, while a pass before that counts if its backward comes after.
    """

    def __init__(self) -> None:
        self._reached: dict[Pass, None] = {}

    def watch(self, one: Pass, outputs: Any) -> None:
        """Wait for a backward through what a pass returned; without tensors in that, it counts now."""

        def reached(gradient: Tensor) -> None:
            self._reached[one] = None

        found = [t for t in _tensors(outputs) if t.requires_grad and not t.is_leaf]
        for t in found:
            t.register_hook(reached)
        if not found:
            self._reached[one] = None

    @property
    def samples(self) -> int:
        """How many were run through."""
        return sum(one.samples for one in self._reached)

    @property
    def batches(self) -> list[Batch]:
        """What batch norms saw."""
        return [batch for one in self._reached for batch in one.batches]

    def forget(self) -> None:
        """These are done with, or their gradients are gone."""
        self._reached.clear()


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
