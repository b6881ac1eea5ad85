"""Random sources: what every backend must answer bit for bit.

Philox4x32-10 turns a 64-bit key, the seed, and a 128-bit counter into a block of four 32-bit words.
Block j of a call has the counter offset + j, of which only the low 64 bits are used. The words of a
call are those of its blocks in order; element i takes word i, or words 2i and 2i + 1 where it needs
two. Seed and offset are operands, each as two signed 32-bit halves (low, high), so that one kernel
serves every call. With w an unsigned word, and a, b two of them, an element is

    uniform     (w >> 8) * 2^-24; in float16 (w >> 21) * 2^-11;
                in float64 ((a >> 5) * 2^26 + (b >> 6)) * 2^-53
    bernoulli   (w >> 8) < threshold
    randint     low + (w * span >> 32); wide: low + (a * 2^32 + b) % span
    normal      by `normal_table`, in integers; in float64 the bits of b follow below those of a

Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import functools
from itertools import pairwise

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.dtypes import dtype
from tensorgl.primitives.core import Result, Shape, primitive

__all__ = ["bernoulli", "normal", "normal_table", "randint", "uniform"]

Avals = tuple[Aval, ...]

STATE = "seed_low seed_high offset_low offset_high"
NORMAL_SCALE = 2.0**-21
"""The normal's integers are below 2^24, so that float32 holds them and their product with this."""


@functools.cache
def normal_table() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`base` and `drop` of the 2048 segments of the inverse of the normal distribution.

    The top bit of a word is the sign; the others, and a 1 below them, make u, an odd number under
    2^32, and u / 2^33 is the area of the tail. Let e be the position of the leading bit of u, s the
    next 6 bits and f the 16 bits after those (zeros where u has no more), and k = 64 e + s. Then

        base[k] - (drop[k] * f + 2^15 >> 16)

    is the magnitude in units of NORMAL_SCALE. So each octave toward the tail has 64 chords of the
    inverse; the largest number is 6.34, and the distribution function is off by 5e-6 at most.
    """
    from statistics import NormalDist  # much to import for who draws no normal numbers

    quantile = NormalDist().inv_cdf
    edges = [
        round(-quantile(2.0 ** (e - 33) * (1 + s / 64)) / NORMAL_SCALE)
        for e in range(32)
        for s in range(64)
    ]
    edges.append(0)
    return tuple(edges[:-1]), tuple(a - b for a, b in pairwise(edges))


def _float(avals: Avals, shape: Shape, dtype: dtype) -> Result:
    return Result(shape, dtype)


def _bernoulli(avals: Avals, shape: Shape) -> Result:
    return Result(shape, dtypes.bool)


def _randint(avals: Avals, shape: Shape, dtype: dtype, wide: bool) -> Result:
    """`span` is at most 2^32, or with `wide` at most 2^64."""
    return Result(shape, dtype)


uniform = primitive("uniform", STATE, "shape dtype", _float, "source")
normal = primitive("normal", STATE, "shape dtype", _float, "source")
bernoulli = primitive("bernoulli", f"{STATE} threshold", "shape", _bernoulli, "source")
randint = primitive("randint", f"{STATE} low span", "shape dtype wide", _randint, "source")
