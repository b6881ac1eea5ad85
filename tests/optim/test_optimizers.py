"""Every optimizer against PyTorch's trajectory, its state round trip, and its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgl as tg

CONFIGS = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "SGD nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    "Adam": ("Adam", {"lr": 0.1}),
    "Adam amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    "Adam maximize": ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "maximize": True}),
    "AdamW": ("AdamW", {"lr": 0.1}),
    "AdamW amsgrad": ("AdamW", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
    "NAdam": ("NAdam", {"lr": 0.1, "weight_decay": 0.1}),
    "NAdam decoupled": ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "RAdam": ("RAdam", {"lr": 0.1, "weight_decay": 0.1}),
    "RAdam decoupled": (
        "RAdam",
        {"lr": 0.1, "betas": (0.9, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "Adamax": ("Adamax", {"lr": 0.1, "weight_decay": 0.1}),
    "Adagrad": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
    ),
    "Adadelta": ("Adadelta", {"lr": 1.0, "rho": 0.8, "weight_decay": 0.1}),
    "RMSprop": ("RMSprop", {"lr": 0.1, "weight_decay": 0.1}),
    "RMSprop centered": ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True}),
}

# Where PyTorch 2.13 stands after twelve float64 steps of `steps` below.
EXPECTED = {
    "SGD": [0.979389693338, 0.969033166029, 0.973068986163, 1.549766262475],
    "SGD momentum": [0.965472962163, 0.907266124843, 1.26197498693, 0.046688609681],
    "SGD nesterov": [-9.377358829013, -12877.990383773742, -20792.46249965407, 59.709025856998],
    "Adam": [0.956291642141, -0.826264144711, 1.194692510391, 1.844251812818],
    "Adam amsgrad": [0.917685493893, -0.826505591208, 1.170041446828, 1.840318066062],
    "Adam maximize": [-0.146733755865, -3.213028026908, -0.728208525516, 4.214456442774],
    "AdamW": [0.955872420704, -0.809448874744, 1.190349240261, 1.816617344334],
    "AdamW amsgrad": [0.944400031732, -0.528467797411, 1.113884701336, 1.357753334696],
    "NAdam": [0.900338214835, -1.08098644896, 1.008610155379, 2.08863755989],
    "NAdam decoupled": [0.93314705242, -0.916437844171, 0.987314697648, 1.836376614181],
    "RAdam": [0.984468098855, 1.790230442951, 1.193503949791, 1.9978843111],
    "RAdam decoupled": [0.957626406796, 1.624431342722, 1.013391764416, 1.616867946875],
    "Adamax": [0.896506626435, -0.937553950911, 1.08389954093, 2.002896006969],
    "Adagrad": [0.954512461154, -1.595046693092, 0.821913431206, 2.597218321394],
    "Adadelta": [0.990970522705, -1.96901680594, 0.529434439194, 2.967530801628],
    "RMSprop": [0.831528586584, 0.87894946868, 0.927328634269, 0.812581900551],
    "RMSprop centered": [0.922996002341, 0.942473781681, 0.94828771783, 0.891699576363],
}


def start() -> tg.Tensor:
    return tg.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=tg.float64, requires_grad=True)


def steps(p: tg.Tensor, optimizer: tg.optim.Optimizer, first: int, last: int) -> None:
    weights = tg.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=tg.float64)
    for t in range(first, last):
        optimizer.zero_grad()
        loss = ((p - 1) ** 2 * weights).sum() + (p * (0.3 * (t % 3 - 1))).sum()
        loss.backward()
        optimizer.step()


def make(name: str, params: list[tg.Tensor]) -> tg.optim.Optimizer:
    kind, options = CONFIGS[name]
    return getattr(tg.optim, kind)(params, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_trajectory_is_pytorchs(name: str) -> None:
    p = start()
    steps(p, make(name, [p]), 0, 12)
    np.testing.assert_allclose(p.detach().numpy().ravel(), EXPECTED[name], rtol=1e-9)


@pytest.mark.parametrize("name", [*CONFIGS, "Muon"])
def test_state_dict_continues_bit_for_bit(name: str, tmp_path: Any) -> None:
    def build(p: tg.Tensor) -> tg.optim.Optimizer:
        return tg.optim.Muon([p], lr=0.1) if name == "Muon" else make(name, [p])

    p, q = start(), start()
    straight, first = build(p), build(q)
    steps(p, straight, 0, 9)
    steps(q, first, 0, 4)
    tg.save({"p": q.detach(), "optimizer": first.state_dict()}, tmp_path / "checkpoint")
    saved = tg.load(tmp_path / "checkpoint")
    r = saved["p"].requires_grad_()
    second = build(r)
    second.load_state_dict(saved["optimizer"])
    steps(r, second, 4, 9)
    assert p.detach().numpy().tobytes() == r.detach().numpy().tobytes()


def rosenbrock(x: tg.Tensor) -> tg.Tensor:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize(("line_search", "lr"), [("strong_wolfe", 1.0), (None, 0.1)])
def test_lbfgs_finds_the_minimum(line_search: str | None, lr: float) -> None:
    x = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
    optimizer = tg.optim.LBFGS([x], lr=lr, line_search_fn=line_search, max_iter=20)

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    before = optimizer.step(closure).item()
    for _ in range(6 if line_search else 80):
        optimizer.step(closure)
    assert before == pytest.approx(24.2)
    np.testing.assert_allclose(x.detach().numpy(), [1, 1], atol=1e-4)


def test_lbfgs_continues_from_its_state() -> None:
    def run(parts: int) -> tg.Tensor:
        x = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
        optimizer = tg.optim.LBFGS([x], lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
        for _ in range(parts):
            state = optimizer.state_dict()
            optimizer = tg.optim.LBFGS([x], lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
            optimizer.load_state_dict(state)
            _descend(x, optimizer)
        return x

    def straight() -> tg.Tensor:
        x = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
        optimizer = tg.optim.LBFGS([x], lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
        for _ in range(3):
            _descend(x, optimizer)
        return x

    assert run(3).tolist() == straight().tolist()


def _descend(x: tg.Tensor, optimizer: tg.optim.Optimizer) -> None:
    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    optimizer.step(closure)


def test_muon_makes_the_update_nearly_orthogonal() -> None:
    tg.manual_seed(0)
    p = tg.zeros(6, 4, requires_grad=True)
    optimizer = tg.optim.Muon([p], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False)
    (p * tg.randn(6, 4)).sum().backward()
    optimizer.step()
    values = np.linalg.svd(p.detach().numpy(), compute_uv=False) / (6 / 4) ** 0.5
    assert (values > 0.6).all()
    assert (values < 1.3).all()


def test_muon_takes_matrices_only() -> None:
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        tg.optim.Muon([tg.zeros(3, requires_grad=True)])


def test_groups_have_their_own_options() -> None:
    a, b = tg.zeros(1, requires_grad=True), tg.zeros(1, requires_grad=True)
    optimizer = tg.optim.SGD([{"params": [a]}, {"params": [b], "lr": 1.0}], lr=0.5)
    (a + b).sum().backward()
    optimizer.step()
    assert (a.item(), b.item()) == (-0.5, -1.0)
    optimizer.add_param_group({"params": [tg.zeros(1, requires_grad=True)]})
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 1.0, 0.5]


def test_closure_runs_with_recording_and_its_loss_comes_back() -> None:
    p = tg.tensor([3.0], requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=0.5)

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        loss = optimizer.step(closure)
    assert (loss.item(), p.item()) == (9.0, 0.0)


def test_parameters_without_gradient_are_left_alone() -> None:
    p, q = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
    optimizer = tg.optim.Adam([p, q])
    p.sum().backward()
    optimizer.step()
    assert p.item() != 1
    assert q.item() == 1
    assert len(optimizer.state) == 1


def test_zero_grad_forgets_or_zeroes() -> None:
    p = tg.ones(1, requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=1)
    p.sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None


def test_step_hooks_run_around_the_update() -> None:
    p = tg.ones(1, requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=1)
    seen: list[float] = []
    before = optimizer.register_step_pre_hook(lambda *_: seen.append(p.item()))
    optimizer.register_step_post_hook(lambda *_: seen.append(p.item()))
    p.sum().backward()
    optimizer.step()
    before.remove()
    optimizer.step()
    assert seen == [1, 0, -1]


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tg.optim.SGD([], lr=1), ValueError, "empty parameter list"),
    (lambda: tg.optim.SGD(tg.ones(1), lr=1), TypeError, "iterable of Tensors or dicts"),
    (lambda: tg.optim.SGD([1], lr=1), TypeError, "can only optimize Tensors"),
    (lambda: tg.optim.SGD([tg.ones(1, requires_grad=True) * 2], lr=1), ValueError, "non-leaf"),
    (lambda: tg.optim.SGD([start()], lr=-1), ValueError, "Invalid learning rate: -1"),
    (lambda: tg.optim.SGD([start()], lr=1, nesterov=True), ValueError, "Nesterov"),
    (lambda: tg.optim.Adam([start()], betas=(1.0, 0.9)), ValueError, "beta parameter at index 0"),
    (lambda: tg.optim.LBFGS([start()]).step(), TypeError, "closure"),
]


@pytest.mark.parametrize(("build", "error", "message"), BAD)
def test_bad_arguments(build: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_duplicate_parameters_are_refused() -> None:
    p = start()
    with pytest.raises(ValueError, match="duplicate parameters"):
        tg.optim.SGD([p, p], lr=1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        tg.optim.SGD([{"params": [p]}, {"params": [p]}], lr=1)


def test_load_state_dict_of_another_shape_is_refused() -> None:
    state = tg.optim.Adam([start(), start()]).state_dict()
    with pytest.raises(ValueError, match="doesn't match the size"):
        tg.optim.Adam([start()]).load_state_dict(state)
