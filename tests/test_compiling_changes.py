"""`compile` and what scripts do between the calls of a step: it never trains by what was before."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tests.gl import gl_module_target, gl_target

__all__ = ["gl_module_target", "gl_target"]

pytestmark = pytest.mark.usefixtures("gl_target")

STEPS = 9


class Run:
    """A small training run; `change` is done after each step, and what it keeps is in `kept`."""

    def __init__(self, optimizer: str, fused: bool | None) -> None:
        tg.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(3, 4), nn.Dropout(0.0), nn.Tanh(), nn.Linear(4, 2), nn.Identity()
        ).to("gl")
        kind: Any = getattr(tg.optim, optimizer)
        self.optimizer = kind(self.net.parameters(), 0.05, fused=fused)
        self.kept: Any = None
        rng = np.random.default_rng(0)
        self.x = tg.tensor(rng.standard_normal((4, 3)).astype(np.float32), device="gl")
        self.y = tg.tensor([0, 1, 0, 1], device="gl")

    def forward(self) -> tg.Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(self.x), self.y)
        loss.backward()
        return loss

    def step(self) -> tg.Tensor:
        loss = self.forward()
        self.optimizer.step()
        return loss

    def train(self, step: Callable[[], tg.Tensor], change: Callable[[Run, int], None]) -> Any:
        losses: list[float] = []
        for k in range(STEPS):
            losses.append(step().item())
            change(self, k)
        return losses, [p.tolist() for p in self.net.parameters()]


def at(number: int) -> Callable[[Callable[[Run], None]], Callable[[Run, int], None]]:
    """Do something after one step only."""

    def decorate(function: Callable[[Run], None]) -> Callable[[Run, int], None]:
        def change(run: Run, k: int) -> None:
            if k == number:
                function(run)

        change.__name__ = f"{function.__name__}_{number}"
        return change

    return decorate


def freeze(run: Run) -> None:
    run.net[0].requires_grad_(False)
    run.optimizer.zero_grad()


def thaw(run: Run, k: int) -> None:
    if k in (0, 5):
        run.net[0].requires_grad_(k == 5)
        run.optimizer.zero_grad()


def resume(run: Run, k: int) -> None:
    if k == 2:
        run.kept = copy.deepcopy((run.net.state_dict(), run.optimizer.state_dict()))
    if k == 5:
        run.net.load_state_dict(run.kept[0])
        run.optimizer.load_state_dict(run.kept[1])


def resume_at_once(run: Run) -> None:
    run.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))


def to_the_cpu_and_back(run: Run) -> None:
    run.net.cpu()
    run.net.to("gl")


def other_memory(run: Run) -> None:
    for p in run.net.parameters():
        p.data = p.data * 0.5


def forget(run: Run) -> None:
    run.optimizer.state.clear()


def decay(run: Run) -> None:
    run.optimizer.param_groups[0]["weight_decay"] = 0.5


def another_layer(run: Run) -> None:
    run.net[2] = nn.ReLU()


def another_weight(run: Run) -> None:
    run.net[0].bias = nn.Parameter(tg.ones(4, device="gl"))


def drop_more(run: Run) -> None:
    run.net[1].p = 0.9999


def hook(run: Run) -> None:
    run.kept = run.net[2].register_forward_hook(lambda module, args, out: out * 0)


def hook_for_a_while(run: Run, k: int) -> None:
    if k == 3:
        hook(run)
    if k == 5:
        run.kept.remove()


def every_time(run: Run, k: int) -> None:
    other_memory(run)


CHANGES = [
    *(at(3)(f) for f in (freeze, to_the_cpu_and_back, other_memory, forget, decay)),
    *(at(3)(f) for f in (another_layer, another_weight, drop_more, hook)),
    hook_for_a_while,
    *(at(0)(f) for f in (freeze, resume_at_once, other_memory)),
    *(at(1)(f) for f in (to_the_cpu_and_back, other_memory)),
    thaw,
    resume,
    every_time,
]


@pytest.mark.filterwarnings("ignore:compile")
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("optimizer", "fused"), [("Adam", None), ("SGD", None), ("Adam", False)], ids=str
)
def test_a_change_between_steps(optimizer: str, fused: bool | None, change: Any) -> None:
    plain, captured = Run(optimizer, fused), Run(optimizer, fused)
    expected = plain.train(plain.step, change)
    assert captured.train(tg.compile(captured.step), change) == expected


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_groups_that_come_to_differ(kind: str) -> None:
    def apart(run: Run, k: int) -> None:
        run.optimizer.param_groups[1]["lr"] = 0.05 / (1 + k // 3)

    found: list[Any] = []
    for compiled in (False, True):
        run = Run(kind, None)
        parts = [{"params": list(run.net[k].parameters())} for k in (0, 3)]
        run.optimizer = getattr(tg.optim, kind)(parts, 0.05)
        found.append(run.train(tg.compile(run.step) if compiled else run.step, apart))
    assert found[0] == found[1]


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_an_update_by_itself_is_called_as_it_is(optimizer: str) -> None:
    def none(run: Run, k: int) -> None:
        pass

    def in_two(run: Run, update: Callable[[], Any]) -> Callable[[], tg.Tensor]:
        def step() -> tg.Tensor:
            loss = run.forward()
            update()
            return loss

        return step

    plain, captured = Run(optimizer, None), Run(optimizer, None)
    expected = plain.train(plain.step, none)
    with pytest.warns(UserWarning, match="gradients that were made outside"):
        got = captured.train(in_two(captured, tg.compile(captured.optimizer.step)), none)
    assert got == expected


def test_it_is_replayed_again_after_a_change() -> None:
    run, calls = Run("Adam", None), []

    def counted() -> tg.Tensor:
        calls.append(1)
        return run.step()

    step = tg.compile(counted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(40):
            step()
            if k % 8 == 3:
                other_memory(run)
    # The first call and the recording; then one that moves the parameters, and a recording.
    assert len(calls) == 2 + 5 * 2


@pytest.mark.filterwarnings("error")
def test_a_step_by_hand_is_captured() -> None:
    found: list[list[float]] = []
    for compiled in (False, True):
        run, calls = Run("SGD", None), []

        def step(run: Run = run, calls: list[int] = calls) -> tg.Tensor:
            calls.append(1)
            loss = run.forward()
            for p in run.net.parameters():
                p.data -= 0.05 * p.grad
            return loss

        once = tg.compile(step) if compiled else step
        found.append([once().item() for _ in range(8)])
        assert len(calls) == (2 if compiled else 8)
    assert found[0] == found[1]


def test_gradients_that_are_read_by_hand() -> None:
    """As of an update, or of clipping, that is compiled by itself."""
    found: list[list[float]] = []
    for compiled in (False, True):
        run = Run("SGD", None)

        def update(run: Run = run) -> None:
            for p in run.net.parameters():
                p.data -= 0.05 * p.grad

        apart = tg.compile(update) if compiled else update
        found.append([])
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for _ in range(8):
                found[-1].append(run.forward().item())
                apart()
        assert len(seen) == compiled
    assert found[0] == found[1]


@pytest.mark.filterwarnings("error")
def test_two_steps_that_take_turns_with_one_optimizer() -> None:
    """As of two tasks, each with layers of its own: every other time others have a gradient."""
    found: list[list[float]] = []
    for compiled in (False, True):
        tg.manual_seed(0)
        shared, *heads = (nn.Linear(3, 3).to("gl") for _ in range(3))
        params = [p for layer in (shared, *heads) for p in layer.parameters()]
        optimizer = tg.optim.Adam(params, 0.1)
        x, calls = tg.ones(2, 3, device="gl"), []

        def step(head: Any, shared: Any = shared, o: Any = optimizer, calls: Any = calls) -> Any:
            calls.append(1)
            o.zero_grad()
            loss = head(shared(x).tanh()).square().sum()  # noqa: B023
            loss.backward()
            o.step()
            return loss

        steps = [lambda h=h, step=step: step(h) for h in heads]
        if compiled:
            steps = [tg.compile(s) for s in steps]
        found.append([s().item() for _ in range(12) for s in steps])
        assert len(calls) <= (12 if compiled else 24)
    assert found[0] == found[1]


factor = 1.0


class Scaled:
    """A step that is a method."""

    def __init__(self) -> None:
        self.weight = 1.0

    def step(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.weight


def test_numbers_outside_of_the_function() -> None:
    """As the weight of a loss that grows from epoch to epoch."""
    global factor
    weight, x, owner = 1.0, tg.ones(2, device="gl"), Scaled()
    by_closure = tg.compile(lambda x: x * weight)
    by_global = tg.compile(lambda x: next(x * factor for _ in range(1)))
    by_attribute = tg.compile(owner.step)
    for k in range(12):
        weight = factor = owner.weight = 1.0 + k // 4
        for run in (by_closure, by_global, by_attribute):
            assert run(x).tolist() == [weight] * 2
    assert len(by_closure.plans) == len(by_global.plans) == len(by_attribute.plans) == 3


def test_a_counter_of_the_step_is_a_side_effect() -> None:
    calls = 0

    def step(x: tg.Tensor) -> tg.Tensor:
        nonlocal calls
        calls += 1
        return x * 2

    run, x = tg.compile(step), tg.ones(2, device="gl")
    for _ in range(6):
        assert run(x).tolist() == [2.0, 2.0]
    assert calls == 2


def test_numbers_that_are_others_at_every_call() -> None:
    k, x = 0, tg.ones(2, device="gl")
    run = tg.compile(lambda x: x * k)
    with pytest.warns(UserWarning, match="differed more often"):
        for k in range(70):
            assert run(x).tolist() == [k, k]


def test_memory_that_a_step_gives_to_a_tensor() -> None:
    """As of the average of parameters that reinforcement learning keeps."""

    def averages(compiled: bool) -> list[float]:
        run = Run("SGD", None)
        target = tg.zeros(4, 3, device="gl")

        def step() -> tg.Tensor:
            loss = run.step()
            target.data = 0.9 * target.data + 0.1 * run.net[0].weight.data
            return loss

        once = tg.compile(step) if compiled else step
        found: list[float] = []
        for _ in range(8):
            once()
            found.append(target.sum().item())
        return found

    expected = averages(False)
    with pytest.warns(UserWarning, match="compile"):
        assert averages(True) == expected


def test_a_buffer_that_a_step_replaces() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", tg.zeros(3, device="gl"))

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            self.mean = 0.5 * self.mean + 0.5 * x
            return self.mean * 1

    module, mean = Mean(), 0.0
    run = tg.compile(lambda x: module(x))
    for k in range(6):
        mean = 0.5 * mean + 0.5 * k
        assert run(tg.full((3,), float(k), device="gl")).tolist() == [mean] * 3


def test_an_argument_on_the_cpu_may_be_read() -> None:
    run = tg.compile(lambda x, n: x.narrow(0, 0, int(n)) + 1)
    x = tg.zeros(4, device="gl")
    for n in (1, 1, 1, 3, 2):
        assert run(x, tg.tensor(n)).tolist() == [1.0] * n
