"""Philox and what is made of it: see `primitives/random.py` for the definition, bit by bit.

Words are made in chunks that stay in cache. The products are 64-bit with two 32-bit halves in memory,
low first; the views `[..., ::2]` and `[..., 1::2]` of the halves are why the machine must be little-endian.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorgl.avals import Aval
from tensorgl.backends.numpy.kernels import NUMPY_DTYPE, Kernel, factory
from tensorgl.primitives.random import NORMAL_SCALE, normal_table

_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_CHUNK = 1 << 13  # blocks; a round works on 320 KiB
_LOW = 0xFFFFFFFF


def _schedule(seed_low: int, seed_high: int) -> list[Any]:
    """The key of each round as a column, in the order in which the round's rows are."""
    seed = (seed_low, seed_high)
    keys = [
        [[(k + r * w) & _LOW] for k, w in zip(seed, _WEYL, strict=True)] for r in range(_ROUNDS)
    ]
    return [np.array(k if r % 2 else k[::-1], np.uint32) for r, k in enumerate(keys)]


def _blocks(schedule: list[Any], first: int, count: int) -> Any:
    """The words of blocks `first` to `first + count` as an array (4 * count,)."""
    # A round maps (c0, c1, c2, c3) to (hi(B) ^ c1 ^ k0, lo(B), hi(A) ^ c3 ^ k1, lo(A)) with
    # A = c0 * M0 and B = c2 * M1. Rows: `factors` is (c0, c2) and `others`' low half is (c1, c3);
    # odd rounds have the rows in reverse, so that nothing needs to be swapped.
    counter = np.arange(first, first + count, dtype=np.uint64)
    factors = np.zeros((2, count), np.uint32)
    others = np.zeros((2, count), np.uint64)
    factors[0] = counter
    others[0] = counter >> np.uint64(32)
    products = np.empty((2, count), np.uint64)
    multipliers = _MULTIPLIERS, _MULTIPLIERS[::-1]
    for r in range(_ROUNDS):
        np.multiply(factors, multipliers[r % 2], out=products)
        halves = products.view(np.uint32)
        np.bitwise_xor(halves[:, 1::2], others.view(np.uint32)[::-1, ::2], out=factors)
        np.bitwise_xor(factors, schedule[r], out=factors)
        others, products = products, others
    words = np.empty((count, 4), np.uint32)
    rest = others.view(np.uint32)
    words[:, 0], words[:, 1], words[:, 2], words[:, 3] = (
        factors[0],
        rest[0, ::2],
        factors[1],
        rest[1, ::2],
    )
    return words.reshape(-1)


def _chunks(state: tuple[int, ...], count: int) -> Iterator[tuple[int, Any]]:
    """Where each chunk of `count` words starts, and its words."""
    seed_low, seed_high, offset_low, offset_high = state
    schedule = _schedule(seed_low, seed_high)
    offset = (offset_high & _LOW) << 32 | (offset_low & _LOW)
    blocks = -(-count // 4)
    for start in range(0, blocks, _CHUNK):
        words = _blocks(schedule, offset + start, min(_CHUNK, blocks - start))
        yield 4 * start, words[: count - 4 * start]


def _fill(out: Aval, each: int, write: Callable[..., None]) -> Kernel:
    """A kernel that calls `write(words, target, *values)` for chunks of `each` words an element."""
    d = NUMPY_DTYPE[out.dtype]

    def run(seed_low: int, seed_high: int, low: int, high: int, *values: Any) -> Any:
        result = np.empty(out.size, d)
        for start, words in _chunks((seed_low, seed_high, low, high), each * out.size):
            start //= each
            write(words, result[start : start + words.size // each], *values)
        return result.reshape(out.shape)

    return run


def _halves(words: Any) -> tuple[Any, Any]:
    return words[::2], words[1::2]


def _uniform32(words: Any, target: Any) -> None:
    words >>= 8
    np.multiply(words.view(np.int32), np.float32(2.0**-24), out=target, dtype=np.float32)


def _uniform16(words: Any, target: Any) -> None:
    np.multiply(words >> 21, np.float32(2.0**-11), out=target, casting="unsafe")


def _uniform64(words: Any, target: Any) -> None:
    high, low = _halves(words)
    np.multiply(high >> 5, 2.0**26, out=target)
    target += low >> 6
    target *= 2.0**-53


@factory
def uniform(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    write = {2: _uniform16, 4: _uniform32, 8: _uniform64}[out.dtype.itemsize]
    return _fill(out, 2 if out.dtype.itemsize == 8 else 1, write)


@functools.cache
def _table() -> tuple[Any, Any]:
    base, drop = normal_table()
    return np.array(base, np.int32), np.array(drop, np.int32)


def _magnitude(words: Any) -> Any:
    """The integers of `normal_table`, without their sign."""
    base, drop = _table()
    # float64 holds u exactly, and its exponent and mantissa are e, s and f.
    bits = ((words << 1) | 1).astype(np.float64).view(np.int64)
    bits >>= 30
    key = (bits >> 16) - (1023 << 6)
    fraction = (bits & 0xFFFF).astype(np.int32)
    fraction *= drop[key]
    fraction += 1 << 15
    fraction >>= 16
    return np.subtract(base[key], fraction, out=fraction)


def _negate(magnitude: Any, words: Any) -> None:
    """Give the words' signs to magnitudes, by the two's complement."""
    sign = words.view(np.int32) >> 31
    magnitude ^= sign
    magnitude -= sign


def _normal(words: Any, target: Any) -> None:
    magnitude = _magnitude(words)
    _negate(magnitude, words)
    np.multiply(magnitude, np.float32(NORMAL_SCALE), out=target, dtype=np.float32, casting="unsafe")


def _normal64(words: Any, target: Any) -> None:
    words, lower = _halves(words)
    words = np.ascontiguousarray(words)
    np.multiply(lower >> 8, 2.0**-24, out=target)
    target += _magnitude(words)
    target *= NORMAL_SCALE
    np.copysign(target, 1 - 2.0 * (words >> 31), out=target)


@factory
def normal(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    return _fill(out, 2, _normal64) if out.dtype.itemsize == 8 else _fill(out, 1, _normal)


@factory
def bernoulli(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    def write(words: Any, target: Any, threshold: int) -> None:
        words >>= 8
        np.less(words, np.uint32(threshold), out=target)

    return _fill(out, 1, write)


@factory
def randint(avals: tuple[Aval, ...], params: tuple[Any, ...], out: Aval) -> Kernel:
    wide = params[2]

    def narrow_values(words: Any, target: Any, low: int, span: int) -> None:
        scaled = words * np.uint64(span)
        scaled >>= np.uint64(32)
        np.add(scaled.view(np.int64), low, out=target, casting="unsafe")

    def wide_values(words: Any, target: Any, low: int, span: int) -> None:
        high, rest = _halves(words.astype(np.uint64))
        value = high << np.uint64(32) | rest
        if span < 1 << 64:
            value %= np.uint64(span)
        # Sums wrap around, so that the whole range of int64 is reached.
        np.add(value, np.uint64(low & (1 << 64) - 1), out=target.view(np.uint64))

    return _fill(out, 2 if wide else 1, wide_values if wide else narrow_values)
