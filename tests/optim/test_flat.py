"""Flat updates equal updates parameter by parameter, bit for bit, whatever happens between steps."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl import nn
from tests.optim.test_optimizers import CONFIGS, EXPECTED, start, steps

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *CONFIGS.values(),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("Adam", {"betas": (0.0, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adam", {"betas": (0.4, 0.5), "amsgrad": True}),
    ("RAdam", {"maximize": True}),
    ("NAdam", {"betas": (0.3, 0.9), "maximize": True}),
    ("Adamax", {"maximize": True}),
    ("Adagrad", {"maximize": True}),
    ("Adadelta", {"maximize": True}),
    ("RMSprop", {"alpha": 0.3, "centered": True, "maximize": True, "weight_decay": 0.1}),
]
SHAPES = [(5, 3), (7,), (), (2, 2, 2), (0,), (8,), (1, 1)]


def parameters(shapes: Any = SHAPES, dtype: tg.dtype = tg.float32, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [tg.tensor(rng.normal(size=s), dtype=dtype).requires_grad_() for s in shapes]


def give_gradients(params: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = tg.tensor(rng.normal(size=p.shape), dtype=p.dtype, device=p.device)


def build(kind: str, params: Any, **options: Any) -> Any:
    return getattr(tg.optim, kind)(params, **options)


def train(optimizer: Any, params: list[Any], first: int, last: int) -> None:
    for t in range(first, last):
        give_gradients(params, t)
        optimizer.step()


def content(optimizer: Any) -> Any:
    """All values of parameters and state, as bytes."""

    def plain(x: Any) -> Any:
        return (x.shape, x.dtype, x.detach().numpy().tobytes()) if isinstance(x, tg.Tensor) else x

    params = [p for group in optimizer.param_groups for p in group["params"]]
    state = optimizer.state_dict()["state"]
    return [plain(p) for p in params], {
        k: {n: plain(v) for n, v in s.items()} for k, s in state.items()
    }


def adam(params: Any, **options: Any) -> Any:
    return tg.optim.Adam(params, lr=0.1, fused=True, **options)


# -- the same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.float16])
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_flat_equals_one_by_one(kind: str, options: dict[str, Any], dtype: tg.dtype) -> None:
    params, reference = parameters(dtype=dtype), parameters(dtype=dtype)
    flat = build(kind, params, fused=True, **options)
    plain = build(kind, reference, **options)
    for optimizer, of in ((flat, params), (plain, reference)):
        train(optimizer, of, 0, 8)
    assert content(flat) == content(plain)
    assert [len(s.params) for s in flat.flat_sets] == [len(SHAPES) - 1]  # the empty one is no slice
    assert plain.flat_sets == []


@pytest.mark.parametrize("name", CONFIGS)
def test_trajectory_is_pytorchs(name: str) -> None:
    kind, options = CONFIGS[name]
    p = start()
    steps(p, build(kind, [p], fused=True, **options), 0, 12)
    np.testing.assert_allclose(p.detach().numpy().ravel(), EXPECTED[name], rtol=1e-9)


GROUPS: list[tuple[str, list[dict[str, Any]], int]] = [
    # optimizer, options of the groups, how many flat sets they make
    ("SGD", [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.1}], 1),
    ("SGD", [{"momentum": 0.5, "dampening": 0.2}, {"momentum": 0.9}, {}], 2),
    ("SGD", [{"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}, {"maximize": True}], 3),
    ("Adam", [{"betas": (0.8, 0.9)}, {"lr": 0.3}, {"eps": 1e-2}], 1),
    ("Adam", [{"betas": (0.2, 0.9)}, {"amsgrad": True}, {"weight_decay": 0.1}], 3),
    ("AdamW", [{"weight_decay": 0.1}, {"weight_decay": 0.2, "lr": 1e-2}, {"weight_decay": 0}], 2),
    ("NAdam", [{"momentum_decay": 0.1}, {}, {"lr": 0.1}], 1),
    ("RAdam", [{"betas": (0.9, 0.9)}, {"betas": (0.9, 0.99)}, {}], 1),
    ("Adamax", [{"eps": 1e-3}, {}, {"lr": 0.2}], 1),
    ("Adagrad", [{"initial_accumulator_value": 0.3}, {"lr_decay": 0.1}, {}], 1),
    ("Adadelta", [{"rho": 0.5}, {}, {"weight_decay": 0.1}], 2),
    ("RMSprop", [{"momentum": 0.3}, {"momentum": 0.6, "alpha": 0.8}, {"centered": True}], 2),
]


@pytest.mark.parametrize(("kind", "groups", "sets"), GROUPS)
def test_groups_share_a_launch(kind: str, groups: list[dict[str, Any]], sets: int) -> None:
    def make(fused: bool) -> Any:
        params = iter(parameters())
        optimizer = build(
            kind, [{"params": [next(params), next(params)]} | g for g in groups], fused=fused
        )
        return optimizer, [p for g in optimizer.param_groups for p in g["params"]]

    (flat, params), (plain, reference) = make(True), make(False)
    train(flat, params, 0, 8)
    train(plain, reference, 0, 8)
    assert content(flat) == content(plain)
    assert len(flat.flat_sets) == sets


def test_one_update_for_all_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    rule = tg.optim.Adam.rule
    monkeypatch.setattr(
        tg.optim.Adam,
        "rule",
        lambda self, p, *rest: (calls.append(p.numel()), rule(self, p, *rest)),
    )
    params = parameters([(3, 3), (2,), (5,)])
    optimizer = adam([{"params": params[:1]}, {"params": params[1:], "lr": 1.0}])
    train(optimizer, params, 0, 3)
    assert calls == [12 + 4 + 8] * 3


# -- whatever happens between steps ---------------------------------------------------------------


@settings(max_examples=80)
@given(st.data())
def test_anything_between_steps(data: Any) -> None:
    kind, options = data.draw(st.sampled_from(OPTIONS))
    shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=6))
    dtypes = [data.draw(st.sampled_from([tg.float32, tg.float64])) for _ in shapes]
    cut = data.draw(st.integers(0, len(shapes) - 1))
    twins: list[Any] = []
    for fused in (True, False):
        params = [
            p.detach().to(d).requires_grad_()
            for p, d in zip(parameters(shapes), dtypes, strict=True)
        ]
        parts = [part for part in (params[:cut], params[cut:]) if part]
        twins.append(
            (build(kind, [{"params": part} for part in parts], fused=fused, **options), params)
        )

    def both(action: Callable[[Any, Any], None]) -> None:
        for optimizer, params in twins:
            action(optimizer, params)

    def step(optimizer: Any, params: Any, missing: set[int], seed: int) -> None:
        give_gradients(params, seed)
        for k in missing:
            params[k].grad = None
        optimizer.step()

    def rate(optimizer: Any, params: Any) -> None:
        optimizer.param_groups[-1]["lr"] *= 0.5

    def decay(optimizer: Any, params: Any) -> None:
        optimizer.param_groups[0]["weight_decay"] = 0.3 - optimizer.param_groups[0]["weight_decay"]

    def replace(optimizer: Any, params: Any) -> None:
        params[0].data = params[0].detach() * 2

    def write(optimizer: Any, params: Any) -> None:
        with tg.no_grad():
            params[-1].mul_(0.5)

    def reload(optimizer: Any, params: Any) -> None:
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    def forget(optimizer: Any, params: Any) -> None:
        for name, value in optimizer.state[params[0]].items():
            if isinstance(value, tg.Tensor):
                optimizer.state[params[0]][name] = value * 0.5

    def clear(optimizer: Any, params: Any) -> None:
        optimizer.state.clear()

    def convert(optimizer: Any, params: Any) -> None:
        params[0].data = params[0].detach().to(tg.float64)
        optimizer.state.pop(params[0], None)

    def grow(optimizer: Any, params: Any) -> None:
        new = parameters([(3,), (4, 2)], seed=len(params))
        optimizer.add_param_group({"params": new})
        params += new

    actions = [rate, decay, replace, write, reload, forget, clear, convert, grow]
    missing: set[int] = set()
    for seed in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            missing = set(data.draw(st.lists(st.integers(0, len(shapes) - 1), max_size=3)))
        both(lambda o, p, seed=seed, missing=missing: step(o, p, missing, seed))
        if data.draw(st.booleans()):
            both(data.draw(st.sampled_from(actions)))
    assert content(twins[0][0]) == content(twins[1][0])


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("SGD", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"nesterov": True}, {"momentum": 0.0}]),
        ("Adam", [{"amsgrad": True}, {"betas": (0.2, 0.9)}, {"maximize": True}, {"lr": 1.0}]),
        ("AdamW", [{"weight_decay": 0.0}, {"weight_decay": 0.5}, {"eps": 0.1}]),
        ("RMSprop", [{"centered": True}, {"momentum": 0.5}, {"alpha": 0.2}]),
    ],
)
def test_options_may_change(kind: str, changes: list[dict[str, Any]]) -> None:
    def run(fused: bool) -> Any:
        params = parameters()
        optimizer = build(kind, [{"params": params[:3]}, {"params": params[3:]}], fused=fused)
        for t, change in enumerate([{}, *changes]):
            optimizer.param_groups[-1].update(change)
            train(optimizer, params, 2 * t, 2 * t + 2)
        return content(optimizer)

    assert run(True) == run(False)


def test_fused_may_change() -> None:
    params, reference = parameters(), parameters()
    optimizer, plain = tg.optim.Adam(params), tg.optim.Adam(reference)
    for t, fused in enumerate([False, True, None, True]):
        optimizer.param_groups[0]["fused"] = fused
        train(optimizer, params, t, t + 1)
        assert bool(optimizer.flat_sets) is bool(fused)
    train(plain, reference, 0, 4)
    assert content(optimizer) == content(plain)


def test_a_step_without_some_gradients_leaves_them_alone_and_gathers_no_new_set() -> None:
    params = parameters()
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    (flat,) = optimizer.flat_sets
    before = params[0].detach().clone(), optimizer.state[params[0]]["exp_avg"].clone()
    give_gradients(params, 7)
    params[0].grad = None
    optimizer.step()
    assert tg.equal(params[0], before[0])
    assert tg.equal(optimizer.state[params[0]]["exp_avg"], before[1])
    assert [optimizer.state[p]["step"] for p in params[:2]] == [2, 3]
    train(optimizer, params, 8, 9)
    assert optimizer.flat_sets == [flat]
    assert [len(run.params) for run in flat.runs] == [1, 5]


def test_frozen_parameters_leave_the_set_at_the_second_step_and_keep_no_memory() -> None:
    params = parameters([(64,), (3,)])
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    old = weakref.ref(optimizer.flat_sets[0])
    memory = weakref.ref(optimizer.flat_sets[0].param.detach().numpy())
    params[0].requires_grad_(False).grad = None
    train(optimizer, params[1:], 2, 3)
    assert optimizer.flat_sets[0] is old()
    train(optimizer, params[1:], 3, 4)
    assert optimizer.flat_sets[0].params == params[1:]
    assert old() is None
    assert memory() is None
    assert optimizer.state[params[0]]["step"] == 2


def test_alternating_gradients_do_not_gather_again_and_again() -> None:
    params = parameters([(4,), (4,)])
    optimizer = adam(params[:])
    seen: set[int] = set()
    for t in range(8):
        give_gradients(params, t)
        params[t % 2].grad = None
        optimizer.step()
        seen.add(id(optimizer.flat_sets[0]))
    assert len(seen) == 1
    assert [optimizer.state[p]["step"] for p in params] == [4, 4]


def test_no_gradients_no_step() -> None:
    params = parameters()
    optimizer = adam(params)
    optimizer.step()
    assert optimizer.flat_sets == []
    train(optimizer, params, 0, 1)
    (flat,) = optimizer.flat_sets
    optimizer.zero_grad()
    optimizer.step()
    optimizer.step()
    assert optimizer.flat_sets == [flat]
    assert optimizer.state[params[0]]["step"] == 1


def test_a_group_may_be_empty() -> None:
    (p,) = parameters([(3,)])
    optimizer = tg.optim.SGD([{"params": []}, {"params": [p]}], lr=1.0, fused=True)
    before = p.detach().clone()
    p.grad = tg.ones(3)
    optimizer.step()
    assert tg.equal(p, before - 1)


def test_a_count_that_was_changed_by_hand_is_kept() -> None:
    def run(fused: bool) -> Any:
        params = parameters()
        optimizer = tg.optim.Adam(params, fused=fused)
        train(optimizer, params, 0, 3)
        optimizer.state[params[1]]["step"] = 0
        train(optimizer, params, 3, 5)
        return content(optimizer)

    assert run(True) == run(False)


# -- what parameters are afterwards ---------------------------------------------------------------


def test_parameters_are_aligned_slices_and_otherwise_what_they_were() -> None:
    params = parameters()
    hooked: list[Any] = []
    params[0].register_hook(hooked.append)
    before = [(id(p), p.shape, p.requires_grad) for p in params]
    optimizer = adam(params)
    train(optimizer, params, 0, 1)
    (flat,) = optimizer.flat_sets
    assert [(id(p), p.shape, p.requires_grad) for p in params] == before
    start = flat.param.data_ptr()
    for p in flat.params:
        assert p.is_leaf
        assert p._base is None
        assert p.is_contiguous()
        assert np.shares_memory(p.detach().numpy(), flat.param.numpy())
        assert (p.data_ptr() - start) % 16 == 0
    (params[0] * 2).sum().backward()
    assert len(hooked) == 1


def test_versions_go_up_one_by_one() -> None:
    params = parameters([(3,), (3,)])
    optimizer = adam(params)
    train(optimizer, params, 0, 1)
    stale = [(p * p).sum() for p in params]
    versions = [p._version for p in params]
    train(optimizer, params, 1, 2)
    assert all(p._version > v for p, v in zip(params, versions, strict=True))
    for loss in stale:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    fresh = (params[1] * params[1]).sum()
    give_gradients(params[:1], 2)
    params[1].grad = None
    optimizer.step()  # writes to the first only
    fresh.backward()
    assert params[1].grad is not None


def test_the_first_step_makes_saved_tensors_stale_too() -> None:
    (p,) = params = parameters([(3, 3)])
    loss = (p.t() @ p).sum()
    optimizer = adam(params)
    train(optimizer, params, 0, 1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_replaced_data_has_its_version_raised() -> None:
    (p,) = params = parameters([(3,)])
    optimizer = adam(params)
    train(optimizer, params, 0, 1)
    p.data = p.data
    loss = (p * p).sum()
    train(optimizer, params, 1, 2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_strided_and_tiny_parameters() -> None:
    strided = tg.arange(12.0).view(3, 4).t().detach().requires_grad_()
    assert not strided.is_contiguous()
    scalar, empty = tg.tensor(1.0, requires_grad=True), tg.zeros(0, 3, requires_grad=True)
    optimizer = tg.optim.SGD([strided, scalar, empty], lr=1.0, fused=True)
    (strided.sum() + 2 * scalar + empty.sum()).backward()
    optimizer.step()
    assert strided.tolist() == (np.arange(12.0).reshape(3, 4).T - 1).tolist()
    assert scalar.item() == -1
    assert scalar.shape == ()


def test_what_shares_memory_stays_in_place() -> None:
    whole = tg.zeros(6)
    with tg.no_grad():
        view = whole[:2].requires_grad_()
        own = tg.zeros(2)[:].requires_grad_()
    halves = [nn.Parameter(whole[2:4]), nn.Parameter(whole[4:])]
    other = nn.Parameter(tg.zeros(2))
    base = own._base
    optimizer = tg.optim.SGD([view, own, *halves, other], lr=1.0, fused=True)
    for p in (view, own, *halves, other):
        p.grad = tg.ones(2)
    optimizer.step()
    assert whole.tolist() == [-1] * 6
    assert base.tolist() == [-1] * 2
    assert optimizer.flat_sets[0].params == [other]


def test_a_shared_parameter_is_updated_once() -> None:
    layer = nn.Linear(3, 3)
    tied = nn.Sequential(layer, layer)
    optimizer = tg.optim.SGD(tied.parameters(), lr=0.5, fused=True)
    before = layer.weight.detach().clone()
    tied(tg.ones(1, 3)).sum().backward()
    g = layer.weight.grad.clone()
    optimizer.step()
    assert tg.equal(layer.weight, before - g * 0.5)


def test_dtypes_have_sets_of_their_own() -> None:
    params = parameters([(3,), (2,)]) + parameters([(3,)], tg.float64)
    optimizer = adam(params)
    train(optimizer, params, 0, 2)
    assert [s.param.dtype for s in optimizer.flat_sets] == [tg.float32, tg.float64]
