"""Backward through graphs: what arrives where, what is freed, who owns a gradient."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tensorgl as tg
from tests.ops.cases import CASES
from tests.ops.harness import Spec, arrays, flat, tensors

CHAIN = 100_000


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), requires_grad=True)


def test_a_chain_of_any_length() -> None:
    """Recording, backward and deallocation must not recurse."""
    x = leaf(1.0)
    y = x
    for _ in range(CHAIN):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1]
    z = x * 2
    for _ in range(CHAIN):
        z = z * 1.0
    del y, z


def test_a_graph_goes_with_its_last_tensor() -> None:
    gc.disable()
    try:
        x = leaf(1.0)
        y = (x * x).exp().tanh().reshape(1)
        node, kept = weakref.ref(y.grad_fn), weakref.ref(y)
        del y
        assert node() is None
        assert kept() is None
    finally:
        gc.enable()


def test_backward_adds_up() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    x.grad = None
    y = x * x
    (y + y * y).sum().backward()
    assert x.grad.tolist() == [2 + 4, 4 + 32]


def test_what_was_saved_is_freed() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    y = x + 1
    y.backward()
    y.backward()  # which saved nothing


def test_what_was_saved_must_not_change() -> None:
    x = leaf(2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    y = (x * 1).exp()
    with tg.no_grad():
        y.detach().add_(1)
    with pytest.raises(RuntimeError, match="at version 1; expected version 0"):
        y.backward()


def test_grad_leaves_other_graphs_whole() -> None:
    """`grad` up to `m` runs nothing beneath `m`, and frees nothing there."""
    x = leaf(3.0)
    m = x * x
    (g,) = tg.autograd.grad((m * 2).sum(), m)
    assert g.tolist() == [2]
    m.sum().backward()
    assert x.grad.tolist() == [6]


def test_grad_computes_only_what_it_is_asked_for() -> None:
    """The rule of the other factor would raise: what it saved was written to."""
    x, w = leaf(3.0), leaf(5.0)
    scale = tg.ones(1)
    y = x * scale
    z = (w * 1) * y
    (g,) = tg.autograd.grad(z, y, retain_graph=True)
    assert g.tolist() == [5]
    scale.add_(1)
    assert tg.autograd.grad(z, w)[0].tolist() == [3]


def test_unused_inputs() -> None:
    x, u = leaf(1.0), leaf(2.0, 3.0)
    y = (x * 2).sum()
    with pytest.raises(RuntimeError, match="index 1 appears to not have been used"):
        tg.autograd.grad(y, (x, u), retain_graph=True)
    assert tg.autograd.grad(y, (x, u), retain_graph=True, allow_unused=True)[1] is None
    assert tg.autograd.grad(y, u, retain_graph=True, materialize_grads=True)[0].tolist() == [0, 0]
    with pytest.raises(ValueError, match="allow_unused"):
        tg.autograd.grad(y, u, allow_unused=False, materialize_grads=True)


def test_grad_of_itself_and_of_several() -> None:
    x = leaf(2.0)
    y = x * x
    assert tg.autograd.grad(y, (y, x))[0].tolist() == [1]
    a, b = x * 2, x * 3
    assert tg.autograd.grad((a, b), x, (tg.tensor([10.0]), None))[0].tolist() == [23]
    rows = tg.eye(2)
    v = leaf(1.0, 2.0)
    assert tg.autograd.grad(v * v, v, rows, is_grads_batched=True)[0].tolist() == [[2, 0], [0, 4]]


def test_chosen_inputs_only() -> None:
    x, y = leaf(2.0), leaf(3.0)
    m = x * y
    (m * 2).backward(inputs=[x, m])
    assert (x.grad.tolist(), y.grad, m.grad.tolist()) == ([6], None, [2])
    (y * 2).backward(inputs=x)
    assert x.grad.tolist() == [6]


def test_a_root_that_is_a_leaf() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1
    x.backward(inputs=[tg.ones(1, requires_grad=True)])
    assert x.grad.item() == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: (x * 2).backward(), RuntimeError, "only for scalar outputs"),
        (
            lambda x: x.detach().sum().backward(),
            RuntimeError,
            "element 0 of tensors does not require",
        ),
        (
            lambda x: (x * 2).backward(tg.ones(3)),
            RuntimeError,
            r"grad_output\[0\] has a shape of \[3\]",
        ),
        (lambda x: x.sum().backward(inputs=[]), RuntimeError, "cannot be empty"),
        (lambda x: tg.autograd.grad(x.sum(), []), RuntimeError, "cannot be empty"),
        (lambda x: tg.autograd.grad(x.sum(), tg.ones(1)), RuntimeError, "does not require grad"),
        (
            lambda x: tg.autograd.grad(x.sum(), x, [None, None]),
            RuntimeError,
            "1 tensors and 2 grad",
        ),
    ],
)
def test_refusals(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(leaf(1.0, 2.0))  # type: ignore[operator]


def test_a_gradient_of_another_dtype_is_cast() -> None:
    x = leaf(1.0, 2.0)
    (x * 2).backward(tg.ones(2, dtype=tg.float64))
    assert x.grad.dtype is tg.float32


def test_higher_orders() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    g = x**5
    for expected in (80.0, 160.0, 240.0, 240.0, 120.0):
        (g,) = tg.autograd.grad(g, x, create_graph=True)
        assert g.item() == expected


def test_create_graph_accumulates_with_history() -> None:
    x = tg.tensor(3.0, requires_grad=True)
    (x * x * x).backward(create_graph=True)
    x.grad.backward()
    assert x.grad.item() == 27 + 18


# -- who owns a gradient


def test_no_two_gradients_share_memory() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    given = tg.ones(2)
    (a + b).backward(given)
    given.zero_()
    a.grad.zero_()
    assert b.grad.tolist() == [1, 1]
    c = leaf(1.0, 2.0)
    c.reshape(2, 1).expand(2, 3).sum().backward()
    c.grad.add_(1)
    assert c.grad.tolist() == [4, 4]


def test_a_gradient_seen_by_a_hook_is_its_own() -> None:
    a, b = leaf(1.0), leaf(2.0)
    seen: list[tg.Tensor] = []
    y = a + b
    y.register_hook(seen.append)
    y.retain_grad()
    y.backward()
    a.grad.zero_()
    assert (seen[0].tolist(), y.grad.tolist(), b.grad.tolist()) == ([1], [1], [1])


def test_accumulating_writes_to_the_same_tensor() -> None:
    x = leaf(1.0)
    x.sum().backward()
    first = x.grad
    x.sum().backward()
    assert x.grad is first
    assert first.tolist() == [2]


@pytest.mark.parametrize("case", [c for c in CASES if c.grad], ids=lambda c: c.id)
def test_gradients_of_every_op_own_their_memory(case: object) -> None:
    """Neither each other's, nor an input's, nor read-only: optimizers write to gradients in place."""
    values = arrays(case)
    wanted = [
        isinstance(s := spec[0] if isinstance(spec, tuple | list) and spec else spec, Spec)
        and s.kind == "f"
        and s.grad
        for spec in case.inputs
    ]
    inputs = tensors(values, grads=wanted)
    outs = [o for o in flat(case.call(*inputs)) if isinstance(o, tg.Tensor) and o.requires_grad]
    start = [tg.ones_like(o) for o in outs]
    tg.autograd.backward(outs, start)
    leaves = [x for x in flat(inputs) if isinstance(x, tg.Tensor)]
    grads = [x.grad.detach().numpy() for x in leaves if x.grad is not None]
    others = [x.detach().numpy() for x in (*leaves, *start, *outs)]
    for k, g in enumerate(grads):
        assert g.flags.writeable
        for other in others + grads[:k]:
            assert not np.shares_memory(g, other)


# -- threads and nesting


def test_threads_differentiate_at_once() -> None:
    results: dict[int, list[float]] = {}

    def work(k: int) -> None:
        x = tg.tensor([float(k)], requires_grad=True)
        for _ in range(50):
            x.grad = None
            y = x
            for _ in range(20):
                y = y * x
            with tg.no_grad():
                assert not (x * 2).requires_grad
            y.backward()
        results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {1: [21.0], 2: [21.0 * 2**20]}


def test_backward_inside_backward() -> None:
    inner = leaf(1.0)

    def hook(g: tg.Tensor) -> tg.Tensor:
        with tg.enable_grad():
            (inner * g * 2).sum().backward()
        return g * 3

    x = leaf(5.0)
    y = x * 2
    y.register_hook(hook)
    y.backward()
    assert (x.grad.tolist(), inner.grad.tolist()) == ([6], [2])


def test_an_error_leaves_nothing_behind() -> None:
    """Also of what a part of a call with several results had received."""
    x = leaf(1.0, 2.0)
    values, _ = (x * 1).sort()
    a, b = values.unbind(0)

    def fail(g: tg.Tensor) -> None:
        raise KeyError("hook")

    handle = x.register_hook(fail)
    with pytest.raises(KeyError):
        (a * 2 + b).backward(retain_graph=True)
    assert tg.is_grad_enabled()
    handle.remove()
    (a * 2 + b).backward()
    assert x.grad.tolist() == [2, 1]
