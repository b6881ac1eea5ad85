"""Checkpointing changes nothing but what is kept."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import tensorgl as tg
from tensorgl.utils.checkpoint import checkpoint, checkpoint_sequential


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_same_values_and_gradients(use_reentrant: bool) -> None:
    """Of arguments, of keywords, and of what the function captures: leaves or not."""
    x, y, w = leaf(0.5, 1.5), leaf(2.0, 3.0), leaf(-1.0, 1.0)
    captured = w.exp()

    def part(a: tg.Tensor, *, scale: tg.Tensor) -> tg.Tensor:
        return (a * scale * captured).sin() * w

    plain = part(x, scale=y)
    expected = tg.autograd.grad(plain.sum(), (x, y, w), retain_graph=True)
    again = checkpoint(part, x, scale=y, use_reentrant=use_reentrant)
    assert again.tolist() == plain.tolist()
    again.sum().backward()
    assert [t.grad.tolist() for t in (x, y, w)] == [g.tolist() for g in expected]


def test_it_keeps_only_its_arguments() -> None:
    calls = []

    def part(a: tg.Tensor) -> tg.Tensor:
        calls.append(tg.is_grad_enabled())
        return a.exp().tanh().sin()

    x = leaf(1.0)
    y = checkpoint(part, x, use_reentrant=False)
    assert list(y.grad_fn.edges[0].edges) == [x]
    y.backward()
    assert calls == [True, True]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_gradients_of_any_order() -> None:
    x = leaf(0.5, 1.5)
    w = leaf(2.0, 3.0)

    def function(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        return checkpoint(lambda t: (t * b).sin() * t, a, use_reentrant=False)

    assert tg.autograd.gradcheck(function, (x, w))
    assert tg.autograd.gradgradcheck(function, (x, w))


def test_nested_and_several_results() -> None:
    x = leaf(0.5)

    def inner(a: tg.Tensor) -> tuple[tg.Tensor, str, tg.Tensor]:
        return a.sin(), "text", checkpoint(lambda t: t.cos(), a, use_reentrant=False)

    a, text, b = checkpoint(inner, x, use_reentrant=False)
    assert text == "text"
    (a * 2 + b).backward()
    assert x.grad.item() == pytest.approx((2 * x.cos() - x.sin()).item())


@pytest.mark.parametrize("preserve", [True, False])
def test_the_same_random_numbers(preserve: bool) -> None:
    x = tg.ones(1000, requires_grad=True)
    y = checkpoint(lambda t: t * tg.rand(1000), x, use_reentrant=False, preserve_rng_state=preserve)
    state = tg.default_generator.state
    y.sum().backward()
    assert (x.grad.tolist() == y.tolist()) is preserve
    assert (tg.default_generator.state == state) is preserve


def test_hooks_run_once() -> None:
    x = leaf(1.0)
    m = x * 2
    calls: list[str] = []
    x.register_hook(lambda g: calls.append("leaf"))
    m.register_hook(lambda g: calls.append("node"))
    checkpoint(lambda t: t * x, m, use_reentrant=False).backward()
    assert sorted(calls) == ["leaf", "node"]


def test_what_the_second_call_needs_must_not_change() -> None:
    x = leaf(1.0)
    m = x * 1
    y = checkpoint(lambda t: t.sin(), m, use_reentrant=False)
    m.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.backward()
    shapes = iter([(1,), (1, 1)])
    y = checkpoint(lambda t: t.sin().reshape(next(shapes)), x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="other shapes"):
        y.backward()


def test_without_gradients_it_only_calls() -> None:
    x = leaf(1.0)
    with tg.no_grad():
        assert not checkpoint(lambda t: t * 2, x, use_reentrant=False).requires_grad
    assert not checkpoint(lambda t: t * 2, tg.ones(1), use_reentrant=False).requires_grad
    assert checkpoint(lambda t: t, x, use_reentrant=False) is x


def test_contexts() -> None:
    entered: list[str] = []

    @contextmanager
    def noting(name: str):  # type: ignore[no-untyped-def]
        entered.append(name)
        yield

    x = leaf(1.0)
    y = checkpoint(
        lambda t: t.sin(),
        x,
        use_reentrant=False,
        context_fn=lambda: (noting("first"), noting("second")),
    )
    assert entered == ["first"]
    y.backward()
    assert entered == ["first", "second"]


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_sequential(segments: int) -> None:
    tg.manual_seed(0)
    model = tg.nn.Sequential(*(tg.nn.Linear(3, 3) for _ in range(5)))
    x = tg.randn(2, 3, requires_grad=True)
    model(x).sum().backward()
    expected = [p.grad.tolist() for p in (x, *model.parameters())]
    model.zero_grad()
    x.grad = None
    checkpoint_sequential(model, segments, x, use_reentrant=False).sum().backward()
    assert [p.grad.tolist() for p in (x, *model.parameters())] == expected
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential(model, 6, x)
