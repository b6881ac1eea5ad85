"""Random sources: what every backend must answer bit for bit.

Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns
a 64-bit key, the seed, and a 128-bit counter into a block of four 32-bit words. Block j of a call has
the counter (offset + j, 0): the low 64 bits count, the high ones are 0. The words of a call are those of
its blocks in order, and element i takes word i, or words 2i and 2i + 1 where it needs two.

Seed and offset are operands, each as two signed 32-bit halves (low, high), so that one kernel serves
every call. With w an unsigned word, the elements are

    uniform     (w >> 8) * 2^-24; float16 (w >> 21) * 2^-11; float64 of two, ((a >> 5) * 2^26 + (b >> 6)) * 2^-53
    bernoulli   (w >> 8) < threshold
    randint     low + (w * span >> 32); wide, of two: low + (a * 2^32 + b) % span
    normal      by `normal_table`, in integers; float64 adds the next word's bits below them
"""

from __future__ import annotations

import functools
from statistics import NormalDist

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
    """`base` and `drop` of the 2048 segments of the normal distribution's inverse.

    A word's top bit is the sign; the others and a 1 below them make u, an odd number under 2^32, and
    u / 2^33 is the area of the tail. With the leading bit of u at position e, the next 6 bits s and the
    16 bits f after those, the magnitude is, in units of NORMAL_SCALE and with k = 64 e + s,

        base[k] - (drop[k] * f + 2^15 >> 16)

    so each octave toward the tail has 64 chords of the inverse: the largest is 6.34, and the
    distribution function is off by 4e-6 at most.
    """
    quantile = NormalDist().inv_cdf
    edges = [
        round(-quantile(2.0 ** (e - 33) * (1 + s / 64)) / NORMAL_SCALE)
        for e in range(32)
        for s in range(64)
    ]
    edges.append(0)
    return tuple(edges[:-1]), tuple(a - b for a, b in zip(edges, edges[1:], strict=False))


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
