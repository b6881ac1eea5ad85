"""From tensors to numbers, arrays, other dtypes and devices, and copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tensorgl as tg


def test_to_in_all_its_forms() -> None:
    x, whole = tg.ones(2), tg.ones(2, dtype=tg.int64)
    for same in (x.to(), x.to(tg.float32), x.to("cpu"), x.to(x), x.to(None), x.to(dtype=None)):
        assert same is x
    for cast in (
        x.to(tg.int64),
        x.to("cpu", tg.int64),
        x.to(None, tg.int64),
        x.to(device="cpu", dtype=tg.int64, non_blocking=True),
        x.to(whole),
        x.to(int),
        x.type(tg.int64),
        x.type("torch.LongTensor"),
        x.type_as(whole),
        x.long(),
    ):
        assert cast.dtype is tg.int64
        assert cast.tolist() == [1, 1]
    for copied in (
        x.to(tg.float32, copy=True),
        x.to("cpu", tg.float32, False, True),
        x.to(x, False, True),
    ):
        assert copied is not x
        assert copied.tolist() == [1, 1]
    assert x.to("meta").device == tg.device("meta")


def test_casts_by_name() -> None:
    x = tg.tensor([0.0, 1.7, -1.7])
    for name in ("double", "float", "half", "long", "int", "short", "char", "bool"):
        cast = getattr(x, name)()
        assert cast.dtype is {"char": tg.int8}.get(name) or cast.dtype is getattr(tg, name)
    assert x.int().tolist() == [0, 1, -1]
    assert x.bool().tolist() == [False, True, True]
    assert tg.tensor([300]).byte().tolist() == [44]
    assert x.float() is x
    assert x.type() == "tensorgl.FloatTensor"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: x.to(tg.int64, "cpu"), TypeError),
        (lambda x: x.to(tg.int64, foo=1), TypeError),
        (lambda x: x.to(other=x), TypeError),
        (lambda x: x.to("cpu", tg.int64, 1), TypeError),
        (lambda x: x.to("nowhere"), RuntimeError),
        (lambda x: x.to(5), RuntimeError),
        (lambda x: x.type("foo"), ValueError),
        (lambda x: x.type_as(3), TypeError),
        (lambda x: x.cuda(), AssertionError),
        (lambda x: x.item(), RuntimeError),
        (lambda x: int(x), ValueError),
        (lambda x: float(x), ValueError),
        (lambda x: bool(x), RuntimeError),
        (lambda x: [1, 2][x], TypeError),
        (lambda x: [1, 2][x[0]], TypeError),
        (lambda x: x.requires_grad_().numpy(), RuntimeError),
        (lambda x: np.asarray(x.requires_grad_()), RuntimeError),
        (lambda x: np.asarray(x, dtype=np.int64, copy=False), ValueError),
        (lambda x: x.to("meta").numpy(), TypeError),
        (lambda x: x.to("meta").item(), RuntimeError),
    ],
)
def test_refusals(call: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(tg.ones(2))  # type: ignore[operator]


def test_the_gradient_of_a_cast_comes_back_in_its_dtype() -> None:
    x = tg.ones(2, requires_grad=True)
    (x.double() * 2).sum().backward()
    assert x.grad.dtype is tg.float32
    assert x.grad.tolist() == [2, 2]


def test_python_numbers() -> None:
    assert int(tg.tensor([[2.7]])) == 2
    assert float(tg.tensor(2)) == 2.0
    assert complex(tg.tensor(2.5)) == 2.5 + 0j
    assert list(range(5))[tg.tensor(3)] == 3
    assert type(tg.tensor(True).item()) is bool
    assert type(tg.tensor(1, dtype=tg.uint8).item()) is int
    assert tg.ones(2, 0).tolist() == [[], []]


def test_arrays_share_memory() -> None:
    x = tg.zeros(2)
    x.numpy()[0] = 1
    np.asarray(x)[1] = 2
    np.array(x)[0] = 9
    assert x.tolist() == [1, 2]
    assert x.requires_grad_().numpy(force=True).tolist() == [1, 2]
    assert x.data_ptr() == x.detach().numpy().ctypes.data
    assert tg.zeros(0).data_ptr() == 0


def test_functions_of_numpy_give_tensors() -> None:
    x = tg.ones(2)
    assert isinstance(np.exp(x), tg.Tensor)
    assert isinstance(x * np.ones(2), tg.Tensor)
    with pytest.raises(TypeError):
        np.ones(2) * x


def test_copies() -> None:
    x = tg.ones(2, requires_grad=True)
    x.grad = tg.ones(2)
    deep = copy.deepcopy([x, x])
    assert deep[0] is deep[1] is not x
    assert deep[0].requires_grad
    assert deep[0].grad.tolist() == [1, 1]
    with tg.no_grad():
        deep[0].add_(1)
        copy.copy(x).add_(5)
    assert x.tolist() == [6, 6]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


def test_pickles() -> None:
    x = tg.arange(6.0).reshape(2, 3).t().requires_grad_()
    again = pickle.loads(pickle.dumps(x))
    assert again.tolist() == x.tolist()
    assert again.requires_grad
    assert pickle.loads(pickle.dumps(tg.ones(2, dtype=tg.bool))).dtype is tg.bool
    assert pickle.loads(pickle.dumps(x * 2)).is_leaf
