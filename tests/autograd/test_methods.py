"""Leaves, hooks, detaching: the autograd methods of a tensor."""

from __future__ import annotations

import pytest

import tensorgl as tg


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), requires_grad=True)


def test_leaves() -> None:
    x = leaf(1.0)
    y = x * 2
    assert (x.is_leaf, y.is_leaf, (x.detach() * 2).is_leaf) == (True, False, True)
    assert x.grad_fn is None
    assert y.grad_fn.name() == "MulBackward0"
    assert y.grad_fn.next_functions[0][0] is x
    with pytest.raises(RuntimeError, match="leaf variables"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="floating point"):
        tg.ones(2, dtype=tg.int64).requires_grad = True
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_detached_memory_is_shared_and_checked() -> None:
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.detach().zero_()
    assert y.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="inplace"):
        z.sum().backward()
    y = x * 1
    z = y * y
    y.data.zero_()  # which is not checked
    z.sum().backward()
    assert x.grad.tolist() == [0, 0]
    y.detach_()
    assert y.is_leaf
    with pytest.raises(RuntimeError, match="views in-place"):
        y[0].detach_()


def test_grad_is_checked() -> None:
    x = leaf(1.0)
    with pytest.raises(TypeError, match="of type int"):
        x.grad = 5
    for wrong in (tg.ones(2), tg.ones(1, dtype=tg.float64)):
        with pytest.raises(RuntimeError, match="must agree"):
            x.grad = wrong
    x.grad = tg.ones(1)
    del x.grad
    assert x.grad is None


def test_hooks_replace_gradients() -> None:
    x = leaf(1.0)
    first = x.register_hook(lambda g: g * 10)
    with x.register_hook(lambda g: g + 1):
        (x * 2).backward()
    assert x.grad.tolist() == [21]
    first.remove()
    first.remove()
    x.grad = None
    y = x * 2
    y.register_hook(lambda g: g * 5)
    y.backward()
    assert x.grad.tolist() == [10]


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x = leaf(1.0)
    seen: list[list[float]] = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * 3).backward()
    assert seen == [[5]]
    y = x * 1
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * 2 + y * 3).backward()
    assert seen == [[5], [5], [5]]


def test_hooks_on_parts_of_a_call_with_several_results() -> None:
    x = leaf(3.0, 1.0)
    values, _ = x.sort()
    values.register_hook(lambda g: g * 10)
    (values * tg.tensor([1.0, 2.0])).sum().backward()
    assert x.grad.tolist() == [20, 10]


def test_bad_hooks() -> None:
    x = leaf(1.0)
    with x.register_hook(lambda g: 3), pytest.raises(TypeError, match="hook returned 'int'"):
        (x * 2).backward()
    with (
        x.register_hook(lambda g: tg.ones(3)),
        pytest.raises(RuntimeError, match="changed the size"),
    ):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        tg.ones(1).register_hook(print)


def test_hooks_on_nodes() -> None:
    x = leaf(1.0)
    y = x * x * 2
    calls: list[tuple] = []
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.grad_fn.register_hook(lambda inputs, outputs: calls.append((inputs, outputs)))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, None))
    y.backward()
    assert x.grad.tolist() == [80]
    ((inputs, outputs),) = calls
    assert (inputs[0].tolist(), inputs[1], outputs[0].tolist()) == ([4], None, [2])


def test_the_order_of_hooks() -> None:
    """A kept gradient is what tensor hooks made of it; a node's hooks come after, if it runs."""
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    y.grad_fn.register_prehook(lambda g: (g[0] * 11,))
    y.register_hook(lambda g: g * 5)
    assert tg.autograd.grad(y * 3, y, retain_graph=True)[0].tolist() == [15]
    assert y.grad.tolist() == [15]
    (y * 3).backward()
    assert x.grad.tolist() == [330]


def test_after_accumulation() -> None:
    x = leaf(1.0)
    seen: list[list[float]] = []

    def step(p: tg.Tensor) -> None:
        assert p is x
        seen.append(p.grad.tolist())
        p.grad = None

    with x.register_post_accumulate_grad_hook(step):
        (x * 2).backward()
        (x * 3).backward()
        tg.autograd.grad(x * 2, x)
    assert seen == [[2], [3]]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(step)


def test_post_accumulate_hooks_run_while_backward_goes_on() -> None:
    """The gradient of the last layer is complete, and told, before that of the first is computed."""
    first, last = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    told: list[str] = []
    hidden = first * 2
    hidden.register_hook(lambda g: told.append("first to come"))
    shared = last * last  # read twice by one node, and again by a later one
    out = (hidden * shared * last).sum()
    for name, leaf in (("first", first), ("last", last)):
        leaf.register_post_accumulate_grad_hook(
            lambda p, name=name: told.append(f"{name} {p.grad.tolist()}")
        )
    out.backward()
    assert told == ["last [6.0, 6.0]", "first to come", "first [2.0, 2.0]"]


def test_retain_grad() -> None:
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    y.retain_grad()
    (y * 3).backward(retain_graph=True)
    (y * 3).backward()
    assert y.grad.tolist() == [6]
    assert (y.retains_grad, x.retains_grad) == (True, False)
    with pytest.raises(RuntimeError, match="requires_grad=False"):
        tg.ones(1).retain_grad()
