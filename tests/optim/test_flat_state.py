"""The state of flat optimizers, and training loops with them."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.optim.flat import Elementwise, FlatSet
from tests.optim.test_flat import (
    OPTIONS,
    adam,
    build,
    content,
    give_gradients,
    parameters,
    train,
)


def test_state_looks_like_pytorchs() -> None:
    params = parameters()
    optimizer = adam(params, amsgrad=True)
    train(optimizer, params, 0, 3)
    (flat,) = optimizer.flat_sets
    for p in flat.params:
        state = optimizer.state[p]
        assert list(state) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
        assert state["step"] == 3
        for name, whole in flat.state.items():
            assert state[name].shape == p.shape
            assert np.shares_memory(state[name].numpy(), whole.numpy())
    optimizer.state[params[0]]["exp_avg"].zero_()
    assert (flat.state["exp_avg"][:15] == 0).all()
    sgd = tg.optim.SGD(params, lr=0.1, fused=True)
    train(sgd, params, 3, 4)
    assert all(sgd.state[p] == {} for p in params)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize("fused", [True, False])
def test_state_goes_from_flat_to_not_flat_and_back(
    kind: str, options: dict[str, Any], fused: bool
) -> None:
    params = parameters()
    straight = build(kind, params, **options)
    train(straight, params, 0, 6)
    params = parameters()
    first = build(kind, params, fused=fused, **options)
    train(first, params, 0, 3)
    second = build(kind, params, fused=not fused, **options)
    second.load_state_dict(first.state_dict())
    train(second, params, 3, 6)
    assert content(second) == content(straight)
    assert second.param_groups[0]["fused"] is not fused
    assert bool(second.flat_sets) is not fused


def test_saved_and_copied_state_is_compact(tmp_path: Any) -> None:
    params = parameters([(1000,), (3,)])
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    state = {"state": {1: optimizer.state_dict()["state"][1]}, "p": params[1].detach()}
    assert len(pickle.dumps(state)) < 2000
    buffer = io.BytesIO()
    tg.save(state, buffer)
    assert len(buffer.getvalue()) < 2000
    copied = copy.deepcopy(state)
    for x in (*copied["state"][1].values(), copied["p"], copy.deepcopy(params[1])):
        if isinstance(x, tg.Tensor):
            base = x.detach().numpy().base
            assert base is None or base.nbytes <= 16
    tg.save(optimizer.state_dict(), tmp_path / "state")
    again = adam(params)
    again.load_state_dict(tg.load(tmp_path / "state"))
    assert content(again) == content(optimizer)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_optimizer_has_parameters_of_its_own(copied: Callable[[Any], Any]) -> None:
    params = parameters()
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    other = copied(optimizer)
    before = content(optimizer)
    own = other.param_groups[0]["params"]
    train(other, own, 2, 4)
    assert content(optimizer) == before
    train(optimizer, params, 2, 4)
    assert content(optimizer) == content(other)


def test_a_state_of_pytorch_is_taken_over() -> None:
    params = parameters([(3,)])
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    state = optimizer.state_dict()
    state["state"][0]["step"] = tg.tensor(2.0)
    other = adam(params)
    other.load_state_dict(state)
    assert other.state[params[0]]["step"] == 2
    assert type(other.state[params[0]]["step"]) is float
    sgd = tg.optim.SGD(params, lr=0.1, momentum=0.9, fused=True)
    groups = sgd.state_dict()["param_groups"]
    del groups[0]["fused"]  # PyTorch's older versions have none
    sgd.load_state_dict({"state": {0: {"momentum_buffer": None}}, "param_groups": groups})
    train(sgd, params, 0, 1)
    assert tg.equal(sgd.state[params[0]]["momentum_buffer"], params[0].grad)


@pytest.mark.parametrize("change", ["clear", "entry", "tensor", "data"])
def test_state_that_was_replaced_counts(change: str) -> None:
    def run(fused: bool) -> Any:
        params = parameters()
        optimizer = tg.optim.Adam(params, fused=fused)
        train(optimizer, params, 0, 2)
        state = optimizer.state[params[1]]
        if change == "clear":
            optimizer.state.clear()
        elif change == "entry":
            optimizer.state[params[1]] = {k: v * 2 for k, v in state.items()}
        elif change == "tensor":
            state["exp_avg"] = tg.ones(7)
        else:
            state["exp_avg"].data = tg.ones(7)
        train(optimizer, params, 2, 4)
        return content(optimizer)

    assert run(True) == run(False)


def test_state_of_another_shape_is_refused() -> None:
    params = parameters([(3, 2)])
    optimizer = adam(params)
    train(optimizer, params, 0, 1)
    params[0].data = params[0].data.t()
    give_gradients(params, 1)
    with pytest.raises(
        RuntimeError, match=r"exp_avg has shape \[3, 2\], but its parameter \[2, 3\]"
    ):
        optimizer.step()


# -- training loops -------------------------------------------------------------------------------


def network(fused: bool) -> tuple[nn.Module, Any]:
    tg.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    return model, tg.optim.AdamW(model.parameters(), lr=0.1, fused=fused)


def loss_of(model: nn.Module, t: int) -> Any:
    dtype = next(model.parameters()).dtype
    x = tg.tensor(np.random.default_rng(t).normal(size=(6, 4)), dtype=dtype)
    return (model(x) ** 2).sum()


def with_clipping(model: nn.Module, optimizer: Any, t: int) -> None:
    optimizer.zero_grad()
    loss_of(model, t).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def with_zeros(model: nn.Module, optimizer: Any, t: int) -> None:
    optimizer.zero_grad(set_to_none=False)
    loss_of(model, t).backward()
    loss_of(model, t + 50).backward()
    optimizer.step()


def with_closure(model: nn.Module, optimizer: Any, t: int) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model, t)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0


def with_loading(model: nn.Module, optimizer: Any, t: int) -> None:
    with_clipping(model, optimizer, t)
    state = {k: v * 0.9 for k, v in model.state_dict().items()}
    model.load_state_dict(state, assign=False)


def with_conversion(model: nn.Module, optimizer: Any, t: int) -> None:
    model.double()
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].double()
    with_clipping(model, optimizer, t)


def with_graph(model: nn.Module, optimizer: Any, t: int) -> None:
    optimizer.zero_grad()
    loss_of(model, t).backward(create_graph=True)
    optimizer.step()


@pytest.mark.parametrize(
    "loop", [with_clipping, with_zeros, with_closure, with_loading, with_conversion, with_graph]
)
def test_training_loops(loop: Callable[[nn.Module, Any, int], None]) -> None:
    results = []
    for fused in (True, False):
        model, optimizer = network(fused)
        for t in range(5):
            loop(model, optimizer, t)
        results.append(content(optimizer))
        assert bool(optimizer.flat_sets) is fused
    assert results[0] == results[1]


def test_the_flat_gradient_is_there_from_a_step_to_zero_grad() -> None:
    params = parameters([(3,), (2, 2)])
    optimizer = adam(params)
    train(optimizer, params, 0, 1)
    (flat,) = optimizer.flat_sets
    expected = [*params[0].grad.tolist(), 0.0, *params[1].grad.flatten().tolist()]
    assert flat.gradient is not None
    assert flat.gradient.tolist() == expected
    optimizer.zero_grad()
    assert flat.gradient is None


def test_an_optimizer_is_freed_at_once() -> None:
    params = parameters()
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    flat = weakref.ref(optimizer.flat_sets[0])
    gc.disable()
    try:
        del optimizer
        assert flat() is None
    finally:
        gc.enable()


def test_two_optimizers_take_turns() -> None:
    def run(fused: bool) -> list[Any]:
        params = parameters()
        first = tg.optim.Adam(params, fused=fused)
        second = tg.optim.SGD(params[::-1], lr=0.1, momentum=0.9, fused=fused)
        for t in range(3):
            train(first, params, 2 * t, 2 * t + 1)
            train(second, params, 2 * t + 1, 2 * t + 2)
        return [content(first), content(second)]

    assert run(True) == run(False)


def test_shapes_without_values() -> None:
    params = [tg.zeros(3, 2, device="meta").requires_grad_(), tg.zeros(5, device="meta")]
    optimizer = adam(params)
    for p in params:
        p.grad = tg.zeros(p.shape, device="meta")
    optimizer.step()
    (flat,) = optimizer.flat_sets
    assert flat.param.shape == (16,)
    assert isinstance(flat, FlatSet)


def test_every_elementwise_optimizer_takes_fused() -> None:
    kinds = [
        k for k in vars(tg.optim).values() if isinstance(k, type) and issubclass(k, Elementwise)
    ]
    assert len(kinds) == 9
    for kind in kinds:
        assert kind(parameters()).param_groups[0]["fused"] is None
        assert kind(parameters(), fused=True).param_groups[0]["fused"] is True
