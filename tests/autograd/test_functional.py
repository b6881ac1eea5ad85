"""Jacobians, Hessians and products, against what is known in closed form."""

from __future__ import annotations

import pytest

import tensorgl as tg
from tensorgl.autograd import functional as A

X, Y = tg.tensor([1.0, 2.0, 3.0]), tg.ones(2)


def cubes(x: tg.Tensor) -> tg.Tensor:
    return (x**3).sum()


def both(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return (x**2).sum() * y.sum()


def test_jacobian() -> None:
    assert A.jacobian(lambda x: x**2, X).tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
    assert A.jacobian(lambda x: x.sum(), X).tolist() == [1, 1, 1]
    assert A.jacobian(lambda x: x.reshape(3, 1) * Y, X).shape == (3, 2, 3)
    rows = A.jacobian(lambda x, y: (x.sum() * y, x), (X, Y))
    assert rows[0][0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert rows[0][1].tolist() == [[6, 0], [0, 6]]
    assert rows[1][1].tolist() == [[0, 0]] * 3
    assert A.jacobian(lambda x: x * 2, tg.ones(0)).shape == (0, 0)
    assert A.jacobian(lambda x: (x * 2,), (X,))[0][0].shape == (3, 3)


def test_hessian() -> None:
    assert A.hessian(cubes, X).tolist() == [[6, 0, 0], [0, 12, 0], [0, 0, 18]]
    blocks = A.hessian(both, (X, Y))
    assert blocks[0][1].tolist() == [[2, 2], [4, 4], [6, 6]]
    assert blocks[1][0].tolist() == [[2, 4, 6]] * 2
    assert A.hessian(lambda x: x.sum(), X).tolist() == [[0] * 3] * 3


def test_products() -> None:
    out, product = A.vjp(lambda x: x**2, X, tg.ones(3))
    assert (out.tolist(), product.tolist()) == ([1, 4, 9], [2, 4, 6])
    assert A.vjp(cubes, X)[1].tolist() == [3, 12, 27]
    out, product = A.jvp(lambda x: x.reshape(3, 1) * Y, X, tg.tensor([1.0, 0.0, 2.0]))
    assert product.tolist() == [[1, 1], [0, 0], [2, 2]]
    for f in (A.hvp, A.vhp):
        value, product = f(cubes, X, tg.ones(3))
        assert (value.item(), product.tolist()) == (36, [6, 12, 18])
        assert [p.tolist() for p in f(both, (X, Y), (X, Y))[1]] == [[8, 16, 24], [28, 28]]


def test_history_only_if_asked_for() -> None:
    x = X.clone().requires_grad_()
    assert not A.jacobian(lambda t: t**2, x).requires_grad
    jacobian = A.jacobian(lambda t: t**3, x, create_graph=True)
    jacobian.sum().backward()
    assert x.grad.tolist() == [6, 12, 18]
    for f in (A.vjp, A.jvp):
        assert f(lambda t: t**2, x, tg.ones(3), create_graph=True)[1].requires_grad
        assert not f(lambda t: t**2, x, tg.ones(3))[0].requires_grad
    with tg.no_grad():
        assert A.hessian(cubes, X).diagonal().tolist() == [6, 12, 18]


@pytest.mark.parametrize(
    "call",
    [
        lambda: A.jacobian(lambda x: Y, X, strict=True),
        lambda: A.jacobian(lambda x, y: x * 2, (X, Y), strict=True),
        lambda: A.jacobian(lambda x: x * 2, X, strict=True, create_graph=True),
        lambda: A.hessian(lambda x: x.sum(), X, strict=True),
        lambda: A.hessian(lambda x: x * 2, X),
        lambda: A.hessian(lambda x: (cubes(x), cubes(x)), X),
        lambda: A.vjp(lambda x: x * 2, X),
        lambda: A.vjp(lambda x: x * 2, X, tg.ones(2)),
        lambda: A.vjp(lambda x, y: (x, y), (X, Y), tg.ones(3)),
        lambda: A.vjp(lambda x, y: x * 2, (X, Y), tg.ones(3), strict=True),
        lambda: A.jvp(lambda x: x * 2, X),
        lambda: A.hvp(lambda x: x * 2, X, tg.ones(3)),
    ],
)
def test_refusals(call: object) -> None:
    with pytest.raises(RuntimeError):
        call()  # type: ignore[operator]


def test_wrong_types() -> None:
    for call in (lambda: A.jacobian(lambda x: x, [X]), lambda: A.jacobian(lambda x: 3, X)):
        with pytest.raises(TypeError, match="must be either a Tensor or a tuple"):
            call()
    with pytest.raises(ValueError, match="strategy"):
        A.jacobian(lambda x: x, X, strategy="sideways")
