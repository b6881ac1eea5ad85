"""`compile`: a captured step equals the plain one bit for bit, and never runs a stale plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.errors import CaptureError
from tests.gl import gl_module_target, gl_target

__all__ = ["gl_module_target", "gl_target"]

GL = device("gl")
pytestmark = pytest.mark.usefixtures("gl_target")


def counters() -> dict[str, int]:
    return backend_of(GL).counters()


def batch(k: int, n: int = 8) -> tuple[tg.Tensor, tg.Tensor]:
    rng = np.random.default_rng(k)
    x = tg.tensor(rng.standard_normal((n, 12)).astype(np.float32), device="gl")
    y = tg.tensor(rng.integers(0, 3, n), device="gl")
    return x, y


def training(
    compiled: bool,
    optimizer: Callable[[Any], Any],
    steps: int = 6,
    schedule: bool = False,
    dropout: float = 0.0,
    sizes: tuple[int, ...] = (8,),
    zero_outside: bool = False,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Losses and final parameters of a small net."""
    tg.manual_seed(3)
    model = nn.Sequential(
        nn.Linear(12, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(dropout), nn.Linear(10, 3)
    ).to("gl")
    opt = optimizer(model.parameters())
    scheduler = tg.optim.lr_scheduler.ExponentialLR(opt, 0.7)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        if not zero_outside:
            opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    run = tg.compile(step) if compiled else step
    losses = []
    for k in range(steps):
        if zero_outside:
            opt.zero_grad()
        losses.append(run(*batch(k, sizes[k % len(sizes)])).detach().cpu().numpy())
        if schedule:
            scheduler.step()
    state = [p.detach().cpu().numpy() for p in model.parameters()]
    state += [b.cpu().numpy() for b in model.buffers()]
    state += [p.grad.cpu().numpy() for p in model.parameters()]
    return losses, state


def same(**options: Any) -> None:
    plain, captured = training(False, **options), training(True, **options)
    for a, b in zip(plain[0] + plain[1], captured[0] + captured[1], strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS = {
    "sgd": lambda p: tg.optim.SGD(p, lr=0.1),
    "momentum": lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: tg.optim.Adam(p, lr=0.01),
    "adamw": lambda p: tg.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: tg.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_the_plain_step(name: str) -> None:
    same(optimizer=OPTIMIZERS[name])


def test_what_a_replay_wrote_stays_for_who_keeps_it() -> None:
    """Replays take turns with two sets of memory; copies share memory with what they copy."""
    weights = tg.zeros(5, device="gl", requires_grad=True)
    opt = tg.optim.SGD([weights], lr=1.0)

    def step() -> tg.Tensor:
        opt.zero_grad()
        loss = (weights * 2).sum()
        loss.backward()
        opt.step()
        return loss

    run, kept, losses = tg.compile(step), [], []
    for k in range(12):
        losses.append(run())
        if k % 3 == 1:
            copied = tg.empty(5, device="gl")
            copied.copy_(weights.detach())
            kept.append((k, copied, weights.detach().clone()))
    for k, *copies in kept:
        for copied in copies:
            np.testing.assert_array_equal(copied.cpu().numpy(), np.full(5, -2.0 * (k + 1)))
    assert [x.item() for x in losses] == [-20.0 * k for k in range(12)]


def test_memory_of_replays_is_steady_and_can_be_given_back() -> None:
    net = nn.Linear(64, 64, device="gl")
    opt = tg.optim.Adam(net.parameters())

    def step() -> tg.Tensor:
        opt.zero_grad()
        loss = net(tg.ones(32, 64, device="gl")).square().mean()
        loss.backward()
        opt.step()
        return loss

    run = tg.compile(step)
    for _ in range(6):
        run()
    steady = counters()["bytes_live"]
    for _ in range(6):
        run()
    assert counters()["bytes_live"] == steady
    before = run().item()
    tg.accelerator.empty_cache()
    assert counters()["bytes_live"] < steady
    assert run().item() < before


def test_memory_that_runs_out_during_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the device then asks back is not what this replay works in."""
    sums = tg.zeros(4096, device="gl")

    def step() -> tuple[tg.Tensor, tg.Tensor]:
        ordered = (sums * 3).flip(0).sort().values
        sums.add_(1)
        return ordered * 2, ordered.sum()

    run = tg.compile(step)
    for _ in range(6):
        run()
    device_, failures = backend_of(GL).device, []
    allocate = device_.allocate

    def fail_once(*arguments: Any) -> int:
        if not failures:
            failures.append(arguments)
            raise MemoryError
        return allocate(*arguments)

    tg.accelerator.empty_cache()
    for _ in range(3):
        run()
    kept = [run() for _ in range(2)]  # so that the next one needs memory
    monkeypatch.setattr(device_, "allocate", fail_once)
    kept += [run() for _ in range(4)]
    assert failures
    for k, (ordered, total) in enumerate(kept, 9):
        np.testing.assert_array_equal(ordered.cpu().numpy(), np.full(4096, 6.0 * k))
        assert total.item() == 3.0 * k * 4096


def test_learning_rate_schedules_stay_live() -> None:
    same(optimizer=OPTIMIZERS["adam"], schedule=True)
    constant = training(True, OPTIMIZERS["adam"])
    scheduled = training(True, OPTIMIZERS["adam"], schedule=True)
    assert any((a != b).any() for a, b in zip(constant[1], scheduled[1], strict=True))


def test_dropout_draws_anew_each_time() -> None:
    same(optimizer=OPTIMIZERS["sgd"], dropout=0.5)


def test_gradients_that_are_cleared_outside() -> None:
    same(optimizer=OPTIMIZERS["sgd"], zero_outside=True)


def test_a_changed_shape_gives_a_second_plan() -> None:
    same(optimizer=OPTIMIZERS["adam"], sizes=(8, 8, 5), steps=12)


def test_a_replay_records_nothing_and_plans_nothing() -> None:
    calls = 0

    def step(x: tg.Tensor) -> tg.Tensor:
        nonlocal calls
        calls += 1
        return (x * 2 + 1).sum()

    run = tg.compile(step)
    x = tg.ones(7, device="gl")
    for k in range(6):
        x = tg.full((7,), float(k), device="gl")
        assert run(x).item() == 7 * (2 * k + 1)
        if k == 3:
            plans = counters()["plans"]
    assert calls == 2
    assert counters()["plans"] == plans


def test_results_of_different_calls_are_different_tensors() -> None:
    run = tg.compile(lambda x: {"y": x + 1, "pair": (x * 2, 5)})
    results = [run(tg.full((3,), float(k), device="gl")) for k in range(5)]
    for k, r in enumerate(results):
        assert r["y"].tolist() == [k + 1.0] * 3
        assert r["pair"][0].tolist() == [2.0 * k] * 3
        assert r["pair"][1] == 5


def test_a_recording_keeps_no_argument_and_no_result() -> None:
    run = tg.compile(lambda x: x * 2)
    for _ in range(3):
        run(tg.ones(50_000, device="gl"))
    backend = backend_of(GL)
    backend.flush()
    assert len(run.plans) == 1
    assert backend.counters()["bytes_live"] < 200_000


def test_slices_of_a_data_set_as_arguments() -> None:
    data = tg.arange(48.0, device="gl").reshape(12, 4)
    odd = tg.arange(36.0, device="gl").reshape(12, 3)
    run = tg.compile(lambda x: x * 10)
    for x in (data, odd):
        for k in range(0, 10, 2):
            assert run(x[k : k + 2]).tolist() == (x[k : k + 2] * 10).tolist()


def test_arguments_that_are_no_tensors_are_guarded() -> None:
    run = tg.compile(lambda x, k, flag: x * k if flag else x - k)
    x = tg.ones(3, device="gl")
    for _ in range(4):
        assert run(x, 2, True).tolist() == [2.0] * 3
        assert run(x, 5, True).tolist() == [5.0] * 3
        assert run(x, 2, flag=False).tolist() == [-1.0] * 3


def test_training_and_evaluation_are_different_plans() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4)).to("gl")
    run = tg.compile(lambda x: model(x).detach())
    x = tg.arange(8.0, device="gl").reshape(2, 4)
    for _ in range(3):
        model.train()
        trained = run(x).tolist()
        model.eval()
        assert run(x).tolist() == model(x).tolist() != trained


def test_state_that_is_replaced_is_noticed() -> None:
    w = nn.Parameter(tg.ones(4, device="gl"))
    opt = tg.optim.SGD([w], lr=0.5)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        opt.step()
        return loss

    run = tg.compile(step)
    x = tg.ones(4, device="gl")
    for _ in range(4):
        run(x)
    w.data = tg.full((4,), 10.0, device="gl")
    assert run(x).item() == 40.0
    assert w.tolist() == [9.5] * 4


def test_writes_outside_are_seen() -> None:
    state = tg.zeros(3, device="gl")

    def step(x: tg.Tensor) -> tg.Tensor:
        state.add_(x)
        return state * 2

    run = tg.compile(step)
    x = tg.ones(3, device="gl")
    for _ in range(4):
        run(x)
    state.zero_()
    assert run(x).tolist() == [2.0] * 3
    assert state.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "look",
    [
        lambda t: t.sum().item(),
        lambda t: bool((t > 0).all()),
        lambda t: t.cpu(),
        lambda t: float(t[0]),
        print,
    ],
    ids=["item", "if", "cpu", "float", "print"],
)
def test_reading_a_value_inside_raises(look: Callable[[tg.Tensor], Any]) -> None:
    def step(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        look(y)
        return y

    run = tg.compile(step)
    x = tg.ones(3, device="gl")
    assert run(x).tolist() == [2.0] * 3  # the first call is a plain one
    with pytest.raises(CaptureError, match="read inside a compiled step"):
        run(x)
    assert (x + 1).tolist() == [2.0] * 3  # nothing is broken afterwards


def test_making_a_tensor_of_values_inside_raises() -> None:
    run = tg.compile(lambda x: x + tg.tensor([1.0, 2.0, 3.0], device="gl"))
    x = tg.ones(3, device="gl")
    run(x)
    with pytest.raises(CaptureError, match="inside a compiled step"):
        run(x)


def test_arithmetic_with_a_number_that_changes_raises() -> None:
    from tensorgl.effects import effect

    def step(x: tg.Tensor) -> tg.Tensor:
        (rate,) = effect(lambda: (0.5,))
        return x * (rate * 2)

    run = tg.compile(step)
    x = tg.ones(3, device="gl")
    run(x)
    with pytest.raises(CaptureError, match="changes from step to step"):
        run(x)


def test_a_result_that_still_needs_its_graph_is_called_as_it_is() -> None:
    w = nn.Parameter(tg.ones(3, device="gl"))
    run = tg.compile(lambda x: (w * x).tanh())
    for _ in range(4):
        w.grad = None
        run(tg.ones(3, device="gl")).sum().backward()
        np.testing.assert_allclose(w.grad.cpu().numpy(), 1 - np.tanh(1.0) ** 2, rtol=1e-5)


def test_an_exception_passes_and_leaves_everything_usable() -> None:
    calls = 0

    def step(x: tg.Tensor) -> tg.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ValueError("mine")
        return x + 1

    run = tg.compile(step)
    x = tg.zeros(2, device="gl")
    run(x)
    with pytest.raises(ValueError, match="mine"):
        run(x)
    for _ in range(3):
        assert run(x).tolist() == [1.0, 1.0]


def test_too_many_variants_warn_once_and_go_on() -> None:
    run = tg.compile(lambda x, k: x + k)
    x = tg.zeros(2, device="gl")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for k in range(60):
            for _ in range(3):
                assert run(x, k).tolist() == [k, k]
    assert len(seen) == 1
    assert "recorded" in str(seen[0].message)


def test_plans_can_be_printed() -> None:
    run = tg.compile(lambda x: (x * 2).sum())
    x = tg.ones(3, device="gl")
    for _ in range(3):
        run(x)
    (plan,) = run.plans
    assert "plan of 1 launches" in str(plan) or "plan of 2 launches" in str(plan)
    assert all(isinstance(n, int) for n in plan.launches)


def test_on_the_cpu_the_function_is_called() -> None:
    calls = 0

    def step(x: tg.Tensor) -> tg.Tensor:
        nonlocal calls
        calls += 1
        return x + 1 if x.sum() > 0 else x - 1

    run = tg.compile(step)
    for _ in range(4):
        assert run(tg.ones(2)).tolist() == [2.0, 2.0]
    assert calls == 4


def test_a_step_on_the_cpu_is_called_each_time() -> None:
    tg.ones(1, device="gl").cpu()  # so that a lazy backend is in use
    p = tg.ones(3, requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=0.1)
    calls = []

    def step() -> None:
        optimizer.zero_grad()
        p.square().sum().backward()
        optimizer.step()

    run, note, total = tg.compile(step), tg.compile(lambda: calls.append(1)), tg.compile(p.sum)
    for k in range(5):
        run()
        note()
        assert total().item() == pytest.approx(3 * 0.8 ** (k + 1))
    assert len(calls) == 5
