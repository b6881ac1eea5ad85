"""The gradient checks find wrong gradients, of first and second order, and pass right ones."""

from __future__ import annotations

import pytest

import tensorgl as tg
from tensorgl.autograd import Function, GradcheckError, gradcheck, gradgradcheck


def values(*shape: int) -> tg.Tensor:
    return tg.randn(*shape, dtype=tg.float64, generator=tg.Generator(), requires_grad=True)


class Wrong(Function):
    """x^3 with a gradient that is wrong in one element of a batch."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        out = g * 3 * x * x
        return out * tg.tensor([1.0] * (x.numel() - 1) + [1.1], dtype=x.dtype)


class WrongSecond(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x.detach()


@pytest.mark.parametrize("fast", [False, True])
def test_right_and_wrong(fast: bool) -> None:
    x, y = values(3, 2), values(2)
    assert gradcheck(lambda a, b: (a * b, a.sum(0), 5), (x, y), fast_mode=fast)
    assert gradgradcheck(lambda a, b: (a * b, (a**3).sum(0)), (x, y), fast_mode=fast)
    assert gradcheck(lambda a: a * 2, values(0), fast_mode=fast)
    with pytest.raises(GradcheckError, match="output 0 with respect to input 0"):
        gradcheck(Wrong.apply, values(4), fast_mode=fast)
    assert not gradcheck(Wrong.apply, values(4), fast_mode=fast, raise_exception=False)
    assert gradcheck(WrongSecond.apply, values(4), fast_mode=fast)
    with pytest.raises(GradcheckError):
        gradgradcheck(WrongSecond.apply, values(4), fast_mode=fast)


def test_a_lost_gradient_is_found() -> None:
    with pytest.raises(GradcheckError, match="expected to be zero"):
        gradcheck(lambda x: x.detach(), values(2))
    assert gradcheck(lambda x: (x * 2, x.detach() * 0), values(2))


def test_an_unsteady_gradient_is_found() -> None:
    x = values(2)
    calls = iter(range(100))

    class Unsteady(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * (1 + 1e-9 * next(calls))

    with pytest.raises(GradcheckError, match="not reentrant"):
        gradcheck(Unsteady.apply, x)
    assert gradcheck(Unsteady.apply, x, nondet_tol=1e-3)


def test_inputs() -> None:
    with pytest.raises(ValueError, match="at least one input"):
        gradcheck(lambda x: x, tg.ones(2, dtype=tg.float64))
    x = tg.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="double precision"):
        gradcheck(lambda t: t * 2, x, eps=1e-2, atol=1e-2)
    assert x.tolist() == [1, 1]  # as it was
