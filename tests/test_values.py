"""Tensors of numbers, nested sequences, arrays and buffers."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

import tensorgl as tg


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "int64"),
        (1.5, "float32"),
        (True, "bool"),
        ([True, 2], "int64"),
        ([True, 2.0], "float32"),
        ([], "float32"),
        ([[], []], "float32"),
        (range(3), "int64"),
        (deque([1, 2]), "int64"),
        (np.float64(1), "float64"),
        (np.int16(1), "int16"),
        ([np.float64(1), 2], "float64"),
        ([np.float32(1), 2.0], "float32"),
        ([np.float32(1), np.float64(2)], "float64"),
        ([np.int32(1), np.int32(2)], "int32"),
        ([np.int32(1), 2.5], "float32"),
        ([np.bool_(True)], "bool"),
        ([np.array([1.0, 2.0]), np.array([3.0, 4.0])], "float64"),
        (np.array([1, 2], np.int8), "int8"),
        ([[1, 2], (3, 4.0)], "float32"),
    ],
)
def test_inferred_dtype(data: object, dtype: str) -> None:
    assert tg.tensor(data).dtype is getattr(tg, dtype)


def test_tensors_inside_sequences() -> None:
    assert tg.tensor([tg.tensor(1), 2]).tolist() == [1, 2]
    assert tg.tensor([[tg.tensor(1), tg.tensor([2])], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert tg.tensor([tg.tensor(1.0, dtype=tg.float64), 2]).dtype is tg.float64
    assert not tg.tensor([tg.tensor(1.0, requires_grad=True)]).requires_grad
    with pytest.raises(ValueError, match="one element"):
        tg.tensor([tg.ones(2), tg.ones(2)])


def test_a_copy_of_a_tensor() -> None:
    x = tg.ones(2, requires_grad=True)
    y = tg.tensor(x)
    assert not y.requires_grad
    y[0] = 5
    assert x.tolist() == [1, 1]
    assert tg.tensor(x.to("meta")).device == tg.device("meta")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, r"expected sequence of length 2 at dim 1 \(got 1\)"),
        ([[1], [2, 3]], ValueError, r"expected sequence of length 1 at dim 1 \(got 2\)"),
        ([[[1, 2]], [[3]]], ValueError, r"length 2 at dim 2 \(got 1\)"),
        ([[1, 2], 3], TypeError, "sequences"),
        ([1, [2, 3]], TypeError, "sequences"),
        ("a", TypeError, "invalid data type 'str'"),
        (b"a", TypeError, "invalid data type 'bytes'"),
        (["a"], ValueError, "'str'"),
        (None, RuntimeError, "Could not infer dtype of NoneType"),
        ([None], RuntimeError, "Could not infer dtype of NoneType"),
        ({}, RuntimeError, "Could not infer dtype of dict"),
        (1 << 63, ValueError, "Overflow"),
        ([1 << 64], ValueError, "Overflow"),
        (np.array(["a"]), TypeError, "can't convert np.ndarray"),
    ],
)
def test_refused_data(data: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tg.tensor(data)


def test_numbers_must_fit_the_dtype() -> None:
    for value, dtype in ((300, tg.uint8), (-256, tg.uint8), (1e10, tg.int32), (128.0, tg.int8)):
        with pytest.raises(RuntimeError, match="without overflow"):
            tg.tensor([value], dtype=dtype)
    with pytest.raises(RuntimeError, match="without overflow"):
        tg.tensor(float("nan"), dtype=tg.int64)
    assert tg.tensor([-1], dtype=tg.uint8).item() == 255
    assert tg.tensor(-(1 << 63)).item() == -(1 << 63)
    assert tg.tensor(1e6, dtype=tg.float16).item() == float("inf")
    assert tg.tensor(np.array([300]), dtype=tg.uint8).item() == 44  # arrays wrap


def test_from_numpy_shares_memory() -> None:
    array = np.zeros(2)
    x = tg.from_numpy(array)
    x[0] = 3
    array[1] = 4
    assert array.tolist() == x.tolist() == [3, 4]


def test_from_numpy_refuses() -> None:
    with pytest.raises(TypeError, match=r"expected np\.ndarray"):
        tg.from_numpy([1])
    with pytest.raises(TypeError, match="uint16"):
        tg.from_numpy(np.zeros(2, np.uint16))
    with pytest.raises(ValueError, match="negative"):
        tg.from_numpy(np.arange(3)[::-1])
    with pytest.raises(ValueError, match="byte order"):
        tg.from_numpy(np.zeros(2, ">f4"))
    with pytest.warns(UserWarning, match="not writable"):
        tg.from_numpy(np.broadcast_to(np.zeros(1), (2,)))


def test_as_tensor_shares_where_it_can() -> None:
    array, x = np.zeros(2), tg.zeros(2)
    tg.as_tensor(array)[0] = 1
    assert array[0] == 1
    assert tg.as_tensor(x) is x
    assert tg.as_tensor(x, dtype=tg.float64) is not x
    assert tg.as_tensor([1.0]).dtype is tg.float32


def test_asarray() -> None:
    array = np.zeros(2)
    tg.asarray(array)[0] = 1
    assert array[0] == 1
    tg.asarray(array, copy=True)[1] = 1
    assert array[1] == 0
    assert tg.asarray(tg.ones(2), requires_grad=True).requires_grad
    assert not tg.asarray(tg.ones(2, requires_grad=True)).requires_grad
    with pytest.raises(ValueError, match="can't alias"):
        tg.asarray([1, 2], copy=False)
    with pytest.raises(ValueError, match="can't alias"):
        tg.asarray(array, dtype=tg.float32, copy=False)


def test_frombuffer() -> None:
    buffer = bytearray(b"abcd")
    x = tg.frombuffer(buffer, dtype=tg.int16, count=1, offset=2)
    assert x.tolist() == [ord("c") + 256 * ord("d")]
    x[0] = 0
    assert buffer == b"ab\0\0"
    for options in ({"offset": 4}, {"count": 3}, {"offset": 1}, {"count": 0}):
        with pytest.raises(ValueError, match="buffer"):
            tg.frombuffer(buffer, dtype=tg.int16, **options)


def test_dlpack_both_ways() -> None:
    x = tg.zeros(2)
    seen = np.from_dlpack(x)
    x[0] = 1
    assert seen.tolist() == [1, 0]
    assert tg.from_dlpack(np.ones(2)).tolist() == [1, 1]
    assert tg.utils.dlpack.from_dlpack(x).tolist() == [1, 0]
    with pytest.raises(BufferError, match="detach"):
        tg.ones(2, requires_grad=True).__dlpack__()


def test_questions() -> None:
    x = tg.ones(2, 3)
    assert tg.is_tensor(x)
    assert not tg.is_tensor([1])
    assert tg.numel(x) == 6
    assert tg.is_floating_point(x)
    assert not tg.is_complex(x)
    assert tg.is_nonzero(tg.tensor([2]))
