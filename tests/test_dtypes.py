"""Promotion, limits, and dtypes as objects."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import dtypes

# PyTorch's table for the upper triangle: rows and columns in the order of ORDER.
ORDER = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
TABLE = """
bool uint8 int8 int16 int32 int64 float16 float32 float64
uint8 int16 int16 int32 int64 float16 float32 float64
int8 int16 int32 int64 float16 float32 float64
int16 int32 int64 float16 float32 float64
int32 int64 float16 float32 float64
int64 float16 float32 float64
float16 float32 float64
float32 float64
float64
"""


def test_promote_types() -> None:
    for row, line in enumerate(TABLE.split("\n")[1:-1]):
        for column, expected in enumerate(line.split(), row):
            a, b = dtypes.BY_NAME[ORDER[row]], dtypes.BY_NAME[ORDER[column]]
            assert tg.promote_types(a, b) is tg.promote_types(b, a) is dtypes.BY_NAME[expected]


def test_result_type_by_priority() -> None:
    """Dims before none, tensors before numbers; lower priorities count only by category."""
    many, one = tg.ones(2, dtype=tg.int32), tg.tensor(1)
    assert tg.result_type(many, one) is tg.int32
    assert tg.result_type(many, 1.5) is tg.float32
    assert tg.result_type(one, 1.5) is tg.float32
    assert tg.result_type(tg.ones(2, dtype=tg.float16), 1.5) is tg.float16
    assert tg.result_type(tg.ones(2, dtype=tg.float16), tg.tensor(1.5)) is tg.float16
    assert tg.result_type(tg.ones(2, dtype=tg.uint8), -1) is tg.uint8
    assert tg.result_type(1, 2.0) is tg.float32


def test_can_cast() -> None:
    assert tg.can_cast(tg.uint8, tg.int8)
    assert tg.can_cast(tg.float64, tg.float16)
    assert not tg.can_cast(tg.float32, tg.int64)
    assert not tg.can_cast(tg.int64, tg.bool)


def test_limits_are_those_of_numpy() -> None:
    for name in ("float16", "float32", "float64"):
        ours, theirs = tg.finfo(dtypes.BY_NAME[name]), np.finfo(name)
        for field in ("bits", "eps", "min", "max", "tiny", "smallest_normal"):
            assert getattr(ours, field) == float(getattr(theirs, field)), field
        assert ours.resolution == pytest.approx(float(theirs.resolution), rel=1e-3)
    for name in ("uint8", "int8", "int16", "int32", "int64"):
        ours, theirs = tg.iinfo(dtypes.BY_NAME[name]), np.iinfo(name)
        assert (ours.bits, ours.min, ours.max) == (theirs.bits, theirs.min, theirs.max)
    assert repr(tg.iinfo(tg.uint8)) == "iinfo(min=0, max=255, dtype=uint8)"
    assert tg.finfo().dtype == "float32"
    for wrong in (
        lambda: tg.iinfo(tg.float32),
        lambda: tg.finfo(tg.int32),
        lambda: tg.iinfo(tg.bool),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_a_dtype_is_one_object() -> None:
    for d in dtypes.ALL:
        assert copy.copy(d) is copy.deepcopy(d) is pickle.loads(pickle.dumps(d)) is d
    assert repr(tg.float32) == "tensorgl.float32"
    assert tg.float is tg.float32
    assert tg.half is tg.float16
    assert tg.long is tg.int64
    assert not tg.float32.is_complex


def test_python_types_as_dtypes() -> None:
    assert [dtypes.as_dtype(t) for t in (float, int, bool)] == [tg.float64, tg.int64, tg.bool]
    assert dtypes.as_dtype(None, tg.int8) is tg.int8
    with pytest.raises(TypeError, match="str"):
        dtypes.as_dtype("float32")
