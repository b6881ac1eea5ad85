"""What is learned: 8x8 digits, by a small network; and a device that takes its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import tensorgl as tg
from tensorgl import nn
from tensorgl.datasets import digits

__all__ = ["BATCH", "LOCAL_LR", "LR", "Device", "accuracy", "data", "network", "order"]

BATCH = 64
LR = 0.1
LOCAL_LR = 0.03
"""Of steps on a member's few samples."""
DEPTH = 8
FORWARD = 0.4
"""The part of a step's time before the first gradient is there."""


def data() -> tuple[tuple[tg.Tensor, tg.Tensor], tuple[tg.Tensor, tg.Tensor]]:
    """Images and labels to train with, and to test with."""
    images, labels = digits().tensors
    # The writers are in turns, so that every sixth is of all of them.
    test = np.arange(len(images)) % 6 == 0
    parts = [np.flatnonzero(~test), np.flatnonzero(test)]
    train, held = ((images.flatten(1)[tg.from_numpy(p)], labels[tg.from_numpy(p)]) for p in parts)
    return train, held


class Residual(nn.Module):
    """x + relu(W x + b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x + self.linear(x).relu()


def network() -> nn.Sequential:
    """The same numbers each time. Of many layers, as what takes long to train is."""
    tg.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 72), *(Residual(72) for _ in range(DEPTH)), nn.Linear(72, 10)
    )


@tg.no_grad()
def accuracy(net: nn.Module, test: tuple[tg.Tensor, tg.Tensor]) -> float:
    """On what it was not trained with."""
    images, labels = test
    return (net(images).argmax(1) == labels).float().mean().item()


def order(size: int, seed: int = 0) -> Iterator[Any]:
    """Batches of indices, epoch after epoch."""
    random = np.random.default_rng(seed)
    while True:
        shuffled = random.permutation(size)
        for start in range(0, size, BATCH):
            yield shuffled[start : start + BATCH]


class Device:
    """Makes a forward and backward pass take the time that it would on some slower device.

    Gradients come in over the backward pass, each parameter's after its part of the time.

    Args:
        net: whose passes; register before whoever sends gradients.
        seconds: of a sample.
    """

    def __init__(self, net: nn.Module, seconds: float) -> None:
        self.seconds = seconds
        self._until = 0.0
        self._samples = 0
        params = list(net.parameters())
        total = sum(p.numel() for p in params)
        for p in params:
            p.register_post_accumulate_grad_hook(self._wait(p.numel() / total))

    def forward(self, samples: int) -> None:
        """A pass over so many samples begins."""
        self._samples = samples
        self._until = time.monotonic()
        self._sleep(FORWARD)

    def _wait(self, part: float) -> Any:
        return lambda p: self._sleep((1 - FORWARD) * part)

    def _sleep(self, part: float) -> None:
        self._until += part * self.seconds * self._samples
        time.sleep(max(self._until - time.monotonic(), 0.0))
