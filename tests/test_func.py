"""Modules called with other parameters than their own."""

from __future__ import annotations

import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.func import functional_call


def test_functional_call_replaces_and_restores() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    own = module[0].weight
    weight = tg.ones(3, 2, requires_grad=True)
    mean = tg.zeros(3)
    given = {"0.weight": weight, "1.running_mean": mean}
    x = tg.rand(4, 2)
    expected = nn.functional.batch_norm(
        x @ weight.t() + module[0].bias, mean.clone(), tg.ones(3), training=True
    )
    out = functional_call(module, given, (x,))
    assert tg.allclose(out, expected, atol=1e-5)
    assert module[0].weight is own
    (out**2 * tg.rand(4, 3)).sum().backward()
    assert weight.grad is not None
    assert own.grad is None
    assert mean.abs().sum() > 0
    assert module[1].running_mean.abs().sum() == 0


def test_functional_call_replaces_a_shared_tensor_everywhere() -> None:
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    out = functional_call(nn.Sequential(first, second), [{"0.weight": 2 * tg.eye(2)}], tg.ones(2))
    assert out.tolist() == [4, 4]


def test_functional_call_restores_after_an_error() -> None:
    module = nn.Linear(2, 2)
    own = module.weight
    with pytest.raises(RuntimeError):
        functional_call(module, {"weight": tg.ones(5, 5)}, tg.ones(2))
    assert module.weight is own
    with pytest.raises(KeyError, match="'wait'"):
        functional_call(module, {"wait": own}, tg.ones(2))
