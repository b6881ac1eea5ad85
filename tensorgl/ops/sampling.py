"""Random state, and tensors drawn from it: what `tensorgl.random` and the ops with randomness share.

A generator is a seed and an offset on the host. A call takes the next blocks of Philox counters (see
`primitives/random.py`), so the numbers depend on the seed and the order of calls, not on the device:
one default generator serves them all.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from math import ceil, prod
from typing import Any

import numpy as np

from tensorgl import dispatch, dtypes
from tensorgl import primitives as p
from tensorgl.avals import device as device_type
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.effects import effect

__all__ = ["Generator", "bernoulli_mask", "default_generator", "integers", "normal", "uniform"]

Tensor = Any
Shape = tuple[int, ...]

_SEED_LIMIT = 1 << 64


def _signed_halves(value: int) -> tuple[int, int]:
    """The low and the high 32 bits, as the signed integers that a GPU's uniforms hold."""
    low, high = value & 0xFFFFFFFF, value >> 32
    return low - (low >> 31 << 32), high - (high >> 31 << 32)


class Generator:
    """A stream of random numbers: a 64-bit seed, and how many blocks of four words were taken.

    Args:
        device: accepted as PyTorch does; the numbers do not depend on it.
    """

    def __init__(self, device: str | device_type = "cpu") -> None:
        self.device = device_type(device)
        self._lock = threading.Lock()
        self._seed, self._offset = 67280421310721, 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, between -2^63 and 2^64 - 1."""
        seed = int(seed)
        if not -(_SEED_LIMIT >> 1) <= seed < _SEED_LIMIT:
            raise ValueError(
                f"manual_seed: expected a seed from {-(_SEED_LIMIT >> 1)} to {_SEED_LIMIT - 1}, "
                f"given {seed}"
            )
        self._seed, self._offset = seed % _SEED_LIMIT, 0
        return self

    def seed(self) -> int:
        """Start again from a seed of the operating system, which is returned."""
        self.manual_seed(int.from_bytes(os.urandom(8)))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed

    def take(self, words: int) -> tuple[int, int, int, int]:
        """The operands (seed and offset in halves) of a call that needs so many words."""
        with self._lock:
            seed, offset = self._seed, self._offset
            self._offset = (offset + -(-words // 4)) % _SEED_LIMIT
        return (*_signed_halves(seed), *_signed_halves(offset))

    def get_state(self) -> Tensor:
        """Seed and offset as a uint8 tensor of 16 bytes, low bytes first."""
        state = np.array(self.state, "<u8").view(np.uint8)
        return dispatch.from_host(state, dtypes.uint8, device_type("cpu"))

    def set_state(self, new_state: Tensor) -> None:
        """Go on from a state that `get_state` gave."""
        if new_state.dtype is not dtypes.uint8 or tuple(new_state.shape) != (16,):
            raise RuntimeError(
                f"set_state: expected a uint8 tensor of 16 bytes, given {new_state.dtype} of shape "
                f"{tuple(new_state.shape)}"
            )
        seed, offset = dispatch.to_host(new_state).copy().view("<u8").tolist()
        self.state = seed, offset

    @property
    def state(self) -> tuple[int, int]:
        """Seed and offset."""
        return self._seed, self._offset

    @state.setter
    def state(self, value: tuple[int, int]) -> None:
        self._seed, self._offset = value


default_generator = Generator()
"""The generator of every call that is not given one; each process starts it from another seed."""
default_generator.seed()


def _draw(
    primitive: p.Primitive,
    words: int,
    numbers: tuple[int, ...],
    params: tuple[Any, ...],
    device: Any,
    generator: Generator | None,
) -> Tensor:
    state = effect(partial((generator or default_generator).take, words))
    return dispatch.source(primitive, (*state, *numbers), params, device_type(device))


def _words(shape: Shape, dtype: dtype_type) -> int:
    return prod(shape) * (2 if dtype is dtypes.float64 else 1)


def _check_float(name: str, dtype: dtype_type) -> None:
    if not dtype.is_floating_point:
        raise NotImplementedError(f"{name}: expected a floating-point dtype, given {dtype}")


def uniform(
    shape: Shape, dtype: dtype_type, device: Any = "cpu", generator: Generator | None = None
) -> Tensor:
    """Uniform numbers in [0, 1)."""
    _check_float("uniform", dtype)
    return _draw(p.uniform, _words(shape, dtype), (), (shape, dtype), device, generator)


def normal(
    shape: Shape, dtype: dtype_type, device: Any = "cpu", generator: Generator | None = None
) -> Tensor:
    """Numbers from the standard normal distribution."""
    _check_float("normal", dtype)
    return _draw(p.normal, _words(shape, dtype), (), (shape, dtype), device, generator)


def bernoulli_mask(
    shape: Shape, keep: float, device: Any = "cpu", generator: Generator | None = None
) -> Tensor:
    """A bool tensor that is true with probability `keep`: `uniform(...) < keep`, in one call."""
    threshold = ceil(keep * (1 << 24))
    return _draw(p.bernoulli, prod(shape), (threshold,), (shape,), device, generator)


def integers(
    low: int,
    high: int,
    shape: Shape,
    dtype: dtype_type = dtypes.int64,
    device: Any = "cpu",
    generator: Generator | None = None,
) -> Tensor:
    """Integers in [low, high), whose span may be up to 2^64."""
    span = high - low
    wide = span > 1 << 32
    kind = dtypes.int64 if wide else dtype
    words = prod(shape) * (1 + wide)
    out = _draw(p.randint, words, (low, span), (shape, kind, wide), device, generator)
    return out if kind is dtype else dispatch.call1(p.cast, out, (dtype,))
