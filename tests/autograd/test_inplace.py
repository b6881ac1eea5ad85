"""Writing in place to results: what gradients save stays out of reach, and histories stay right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn import functional as F

Op = Callable[[tg.Tensor], tg.Tensor]


def sample() -> tg.Tensor:
    tg.manual_seed(0)
    return tg.randn(4, 6, requires_grad=True)


def gradient(op: Op, write: Op) -> tg.Tensor:
    """Of what an op gives, after a write to it or to a copy of it."""
    x = sample()
    write(op(x)).square().sum().backward()
    assert x.grad is not None
    return x.grad


def written(y: tg.Tensor) -> tg.Tensor:
    y += 1
    y *= 3
    if y.ndim:
        y[0] = 0
    return y


def images(module: nn.Module) -> Op:
    return lambda x: module(x.reshape(2, 2, 2, 3))


def cross_entropy(**options: object) -> Op:
    target = tg.tensor([1, 0, 5, 2])
    return lambda x: F.cross_entropy(x, target, **options)


RESULTS: dict[str, Op] = {
    "cross_entropy": cross_entropy(),
    "cross_entropy, sum": cross_entropy(reduction="sum"),
    "cross_entropy, none": cross_entropy(reduction="none"),
    "cross_entropy, weight": cross_entropy(weight=tg.arange(1.0, 7.0)),
    "nll_loss": lambda x: F.nll_loss(x, tg.tensor([1, 0, 5, 2]), reduction="none"),
    "InstanceNorm2d": images(nn.InstanceNorm2d(2)),
    "BatchNorm2d": images(nn.BatchNorm2d(2, affine=False)),
    "LayerNorm": nn.LayerNorm(6, elementwise_affine=False),
    "group_norm": lambda x: F.group_norm(x, 3),
    "rms_norm": lambda x: F.rms_norm(x, (6,)),
    "normalize": F.normalize,
    "var": lambda x: x.var(0),
    "var_mean": lambda x: (lambda var, mean: var + written(mean))(*tg.var_mean(x, 0)),
    "standard score": lambda x: (x - x.mean()) / x.std(),
    "div": lambda x: x[0] / x[1],
    "a number by a tensor": lambda x: 1 / x,
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_may_be_written_to(name: str) -> None:
    op = RESULTS[name]
    expected = gradient(op, lambda y: written(y.clone()))
    assert gradient(op, written).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x.exp(),
        lambda x: x.std(0),
        lambda x: x.logsumexp((0, 1)),
        lambda x: x.median(),
        lambda x: x.nanmedian(),
    ],
)
def test_what_a_gradient_saves_may_not(op: Op) -> None:
    """PyTorch's gradients save these results too, so it is backward that raises."""
    y = written(op(sample()))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x.logsumexp(1),
        lambda x: x.max(0)[0],
        lambda x: x.median(0)[0],
        lambda x: x.mode(0)[0],
        lambda x: x.kthvalue(2, 0)[0],
        lambda x: x.quantile(0.3, 0),
        lambda x: x.roll(1, 0),
        lambda x: x.repeat(2, 1),
        lambda x: x.repeat_interleave(2),
        lambda x: x.rot90(),
        lambda x: x.cov(),
        lambda x: x.diag_embed(),
    ],
)
def test_a_result_is_no_view(op: Op) -> None:
    """Although the op's last step may have been one, perhaps one that was not recorded."""
    weight = sample().sum()
    with tg.no_grad():
        first, second = op(sample()), op(sample())
    expected = second.clone()
    first.mul_(weight)
    assert first.tolist() == (expected * weight).tolist()
    second[0] = weight
    second.sum().backward(retain_graph=True)
    y = op(sample())
    y.detach_()
    assert y.is_leaf


def test_a_view_that_was_not_recorded_stays_one() -> None:
    base = sample() * 1
    with tg.no_grad():
        view = base[0]
    for write in (lambda: view.mul_(2), lambda: view[0].mul_(2)):
        with pytest.raises(RuntimeError, match="no_grad mode"):
            write()


@pytest.mark.parametrize(
    "change", [lambda y: y.unsqueeze_(0), lambda y: y.squeeze_(), lambda y: y.t_()]
)
def test_a_shape_changed_without_recording_keeps_the_history(change: Op) -> None:
    x = sample()
    base = x * 1
    view = base[:2]
    with tg.no_grad():
        change(view)
        change(base)
    view.mul_(2)
    (base.sum() + x.sum() * 0).backward()
    assert x.grad[:, 0].tolist() == [2, 2, 1, 1]


def test_retained_gradients_are_of_the_last_write() -> None:
    y = sample() * 2
    y.retain_grad()
    view = y[0]
    view.retain_grad()
    y.mul_(3).add_(1)
    (y.sum() + view.sum()).backward()
    assert y.grad[:, 0].tolist() == [2, 1, 1, 1]
    assert view.grad.tolist() == [1] * 6


@pytest.mark.parametrize(
    "write", [lambda y: y.zero_(), lambda y: y.fill_(2), lambda y: y.copy_(tg.ones(6))]
)
def test_what_was_overwritten_gets_zeros(write: Op) -> None:
    x = sample()
    (grad,) = tg.autograd.grad(write(x * 1).sum(), x)
    assert grad.tolist() == tg.zeros(4, 6).tolist()
