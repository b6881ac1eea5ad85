"""Functions with a gradient of the user's own."""

from __future__ import annotations

import gc
import weakref

import pytest

import tensorgl as tg
from tensorgl.autograd import Function
from tensorgl.autograd.function import once_differentiable


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), requires_grad=True)


class Power(Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.n = n
        ctx.save_for_backward(x)
        return x**n

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None


class Exp(Function):
    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, None)

    @staticmethod
    def backward(ctx, g):
        y, nothing = ctx.saved_tensors
        assert nothing is None
        return g * y


class Pair(Function):
    @staticmethod
    def forward(ctx, x, materialize):
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3, x.argmax(), "text"

    @staticmethod
    def backward(ctx, *grads):
        Pair.seen = grads
        return grads[0] * 2, None


def test_first_and_second_gradients() -> None:
    x = tg.tensor([0.5, -1.5], dtype=tg.float64, requires_grad=True)
    for function in (Exp.apply, lambda t: Power.apply(t, 3)):
        assert tg.autograd.gradcheck(function, x)
        assert tg.autograd.gradgradcheck(function, x)


def test_forward_is_not_recorded() -> None:
    x = leaf(2.0)
    y = Power.apply(x, 3)
    assert repr(y) == "tensor([8.], grad_fn=<PowerBackward>)"
    assert y.grad_fn.edges[0].edges[0] is x
    assert not Power.apply(tg.ones(1), 3).requires_grad
    with tg.no_grad():
        assert not Power.apply(x, 3).requires_grad
    assert Power.apply(x, n=2).tolist() == [4]


def test_what_was_saved_is_freed_and_checked() -> None:
    x = leaf(2.0)
    y = Power.apply(x, 3)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    z = x * 1
    y = Power.apply(z, 3)
    z.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.backward()
    y = Exp.apply(x)
    y.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_a_saved_output_makes_no_cycle() -> None:
    gc.disable()
    try:
        y = Exp.apply(leaf(1.0))
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_several_results() -> None:
    x = leaf(1.0, 2.0)
    a, b, index, text = Pair.apply(x, True)
    assert (index.item(), text, index.requires_grad) == (1, "text", False)
    a.sum().backward()
    assert x.grad.tolist() == [2, 2]
    _, gb, gi, gt = Pair.seen
    assert (gb.tolist(), gi.tolist(), gt) == ([0, 0], 0, None)
    a, b, *_ = Pair.apply(x, False)
    a.sum().backward()
    assert Pair.seen[1:] == (None, None, None)
    (a, b, *_) = Pair.apply(x, True)
    (a * b).sum().backward()
    assert Pair.seen[1].tolist() == [2, 4]


def test_outputs_without_gradient() -> None:
    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            out, fixed = x * 2, x * 3
            ctx.mark_non_differentiable(fixed)
            return out, fixed

        @staticmethod
        def backward(ctx, g, fixed):
            assert fixed.tolist() == [0]
            return g

    out, fixed = Half.apply(leaf(1.0))
    assert (out.requires_grad, fixed.requires_grad) == (True, False)
    out.backward()


def test_an_input_as_output() -> None:
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = leaf(1.0)
    y = Reverse.apply(x)
    assert y is not x
    assert x.is_leaf
    (y * 2).backward()
    assert x.grad.tolist() == [-2]


class Double(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_writing_in_place() -> None:
    x = leaf(1.0, 2.0)
    y = x * 1
    assert Double.apply(y) is y
    (y * 3).sum().backward()
    assert x.grad.tolist() == [6, 6]
    x.grad = None
    y = x * 1
    Double.apply(y[:1])
    (y * 3).sum().backward()
    assert x.grad.tolist() == [6, 3]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        Double.apply(x)
    plain = tg.ones(1)
    assert Double.apply(plain) is plain


def test_which_inputs_need_a_gradient() -> None:
    class Needs(Function):
        @staticmethod
        def forward(ctx, *args):
            Needs.seen = ctx.needs_input_grad
            return args[0] * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2, None, g

    x = leaf(1.0)
    Needs.apply(x, 3, tg.ones(1)).backward()
    assert Needs.seen == (True, False, False)
    assert x.grad.tolist() == [2]


def returning(result: object) -> type[Function]:
    class Broken(Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return result

    return Broken


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (tg.ones(1), r"incorrect number of gradients \(expected 2, got 1\)"),
        ((tg.ones(1), None, tg.ones(1)), r"expected 2, got 3"),
        ((tg.ones(1), tg.ones(1)), "different than None at position 2"),
        ((3.0, None), r"expected Tensor or None \(got float\)"),
        ((tg.ones(3), None), "invalid gradient"),
    ],
)
def test_wrong_gradients(result: object, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        returning(result).apply(leaf(1.0, 2.0), 2).sum().backward()


def test_trailing_nones_are_allowed() -> None:
    returning((tg.ones(1), None, None)).apply(leaf(1.0), 2).backward()


def test_a_kept_gradient_is_not_taken() -> None:
    constant = tg.ones(1)
    x = leaf(1.0)
    returning((constant, None)).apply(x, 2).backward()
    x.grad.zero_()
    assert constant.tolist() == [1]


def test_once_differentiable() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = leaf(3.0)
    Square.apply(x).backward()
    assert x.grad.tolist() == [6]
    (g,) = tg.autograd.grad(Square.apply(x) ** 2, x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        g.sum().backward()


def test_what_a_function_must_have() -> None:
    class Nothing(Function):
        pass

    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="forward"):
        Nothing.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="backward"):
        NoBackward.apply(leaf(1.0)).backward()
    with pytest.raises(RuntimeError, match="apply"):
        NoBackward()(leaf(1.0))
    with pytest.raises(TypeError, match="only save tensors"):
        returning(None).apply  # noqa: B018
        FunctionSavingNumbers.apply(leaf(1.0))


class FunctionSavingNumbers(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(3)
        return x


def test_variable_is_a_leaf_on_the_same_memory() -> None:
    x = tg.ones(2)
    v = tg.autograd.Variable(x, requires_grad=True)
    (v * 3).sum().backward()
    assert v.grad.tolist() == [3, 3]
    assert v.data_ptr() == x.data_ptr()
    assert not tg.autograd.Variable(v).requires_grad
