"""Random numbers, bit for bit as primitives/random.py defines them: a texel is a block of four words."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Value
from tensorgl.backends.glsl.lowering import NUMBERS, TABLES
from tensorgl.primitives.random import normal_table


def _words(e: Emitter, value: Value, index: Index) -> str:
    """A uvec4 of the words that belong to four elements."""
    state = e.let("ivec4", f"ivec4({', '.join(e.number(x) for x in value.operands[:4])})")
    index = e.row_major(index, value.shape)
    if index.form == "texel":
        return e.let("uvec4", f"philox_block({index.expr}, {state})")
    lanes = [f"{index.expr}.{c}" for c in "xyzw"] if index.form == "lanes" else [index.expr]
    words = [f"philox_block({i} >> 2, {state})[{i} & 3]" for i in lanes]
    return e.let("uvec4", f"uvec4({', '.join(words)})")


@map_op("uniform")
def uniform(e: Emitter, value: Value, index: Index) -> str:
    """The high bits of a word."""
    bits = "16" if value.dtype is dtypes.float16 else ""
    return f"uniform{bits}_from({_words(e, value, index)})"


@map_op("bernoulli")
def bernoulli(e: Emitter, value: Value, index: Index) -> str:
    """Whether a uniform number is below a threshold."""
    return f"bernoulli_from({_words(e, value, index)}, {e.number(value.operands[4])})"


@map_op("randint")
def randint(e: Emitter, value: Value, index: Index) -> str:
    """An integer of a range; `_range` has made its numbers fit."""
    low, span = (e.number(x) for x in value.operands[4:])
    text = f"randint_from({_words(e, value, index)}, {low}, {span})"
    return f"to_float({text})" if value.dtype.category == dtypes.FLOAT else text


def _range(params: Any, *numbers: int) -> tuple[int, ...]:
    """The span as a signed int of 32 bits, in which 2^32 is 0."""
    *state, low, span = numbers
    wide = params[2]
    if wide or low < -(2**31) or low + span > 2**31:
        raise RuntimeError(
            f"randint: the integers from {low} to {low + span - 1} do not fit 32 bits, in which device "
            "'gl' holds them; draw them on 'cpu'"
        )
    return *state, low, (span & 0xFFFFFFFF) - ((span & 0x80000000) << 1)


NUMBERS["randint"] = _range


@map_op("normal")
def normal(e: Emitter, value: Value, index: Index) -> str:
    """A chord of the inverse of the distribution; the table has a texel for each."""
    words = _words(e, value, index)
    table = value.operands[4]
    segment = e.let("ivec4", f"normal_segment({words})")
    chords = [
        e.load(table, Index("texel", e.let("int", f"{segment}.{c}"), table.shape)) for c in "xyzw"
    ]
    base, drop = (e.let("ivec4", f"ivec4({', '.join(f'{x}.{c}' for x in chords)})") for c in "xy")
    return f"normal_from({words}, {base}, {drop})"


def _chords() -> Any:
    """Of each segment its base and its drop, and nothing in the other half of the texel."""
    table = np.zeros((2048, 4), np.int32)
    table[:, 0], table[:, 1] = normal_table()
    return table


TABLES["normal"] = _chords
