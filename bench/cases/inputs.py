"""Numbers that are the same in every language: inputs, weights, classes and tokens.

`fill` is a hash of the element's place, so that a peer in JavaScript makes the same numbers with
`Math.imul` and `>>> 0`, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["classes", "fill", "set_weights", "tokens"]

WEIGHTS = 100
"""Seed of a network's first weight; the next has the next seed."""
EMBEDDING = 0.02
"""What an embedding's weights are multiplied with."""


def fill(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """Numbers from -1 to 1; element i (row-major) depends on i and the seed alone."""
    h = np.arange(math.prod(shape), dtype=np.uint32)
    h *= np.uint32(2654435761)
    h += np.uint32((seed * 974711 + 12345) % 2**32)
    h ^= h >> np.uint32(15)
    h *= np.uint32(2246822519)
    h ^= h >> np.uint32(13)
    return (h / 2**32 * 2 - 1).astype(np.float32).reshape(shape)


def classes(n: int, count: int) -> npt.NDArray[np.int64]:
    """The targets of n samples, of `count` classes."""
    return (np.arange(n, dtype=np.int64) * 7 + 3) % count


def tokens(n: int, vocabulary: int) -> npt.NDArray[np.int64]:
    """A text of n tokens."""
    return (np.arange(n, dtype=np.int64) * 31 + 7) % vocabulary


def set_weights(lib: Any, net: Any) -> None:
    """Give a network the weights that it has in every language.

    Weights of more than one dim, in the order of `parameters()`, are `fill` with seeds 100, 101 …,
    times sqrt(1 / fan-in), or times 0.02 in an embedding; biases are 0, weights of norms 1.
    """
    embeddings = {id(m.weight) for m in net.modules() if isinstance(m, lib.nn.Embedding)}
    seed = WEIGHTS
    with lib.no_grad():
        for name, p in net.named_parameters():
            if p.dim() < 2:
                p.fill_(0.0 if "bias" in name else 1.0)
                continue
            fan_in = math.prod(p.shape[1:])
            scale = EMBEDDING if id(p) in embeddings else math.sqrt(1 / fan_in)
            values = fill(tuple(p.shape), seed).astype(np.float64) * scale
            p.copy_(lib.tensor(values.astype(np.float32)))
            seed += 1
