"""How many launches common work takes, by the backend's counter; more is slower on every GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tensorgl as tg
from bench.cases import models
from bench.cases.training import training_step
from tensorgl import nn
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.backends.glsl.tuning import Tuning

pytestmark = pytest.mark.usefixtures("estimates")

GL = device("gl")
Step = Callable[[], object]


def launches(step: Step, before: int = 2) -> int:
    """Launches of one call, after some that nobody counts: the first makes an optimizer's state."""
    backend: Any = backend_of(GL)
    for _ in range(before):
        step()
    backend.flush()
    start = backend.counters()["launches"]
    kept = step()  # alive at the flush, which computes what Python sees
    backend.flush()
    del kept
    return backend.counters()["launches"] - start


@pytest.fixture
def estimates(gl_target: str) -> Iterator[None]:
    """Bounds are of what the estimates choose: what was measured on a device may gain by a launch more."""
    backend: Any = backend_of(GL)
    measured = backend.tuning
    backend.tuning = Tuning(measured.limits)
    yield
    backend.tuning = measured


@pytest.fixture(params=["plain", "captured"])
def run(request: pytest.FixtureRequest) -> Callable[[Step], Step]:
    """What a step goes through before it is called."""
    return tg.compile if request.param == "captured" else lambda step: step


def test_lenet_with_adam(gl_target: str, run: Callable[[Step], Step]) -> None:
    with GL:
        count = launches(run(training_step(tg, models.lenet, "Adam")))
    assert count <= {"compute": 32, "fragment": 36}[gl_target]


def test_mlp_with_sgd(gl_target: str, run: Callable[[Step], Step]) -> None:
    """Render targets of a product made in parts, or of a transposed operand, are collected by a launch."""
    with GL:
        count = launches(run(training_step(tg, models.mlp, "SGD", lr=0.01)))
    assert count <= {"compute": 15, "fragment": 18}[gl_target]


UPDATES: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    "Adam": {},
    "AdamW": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", UPDATES)
def test_an_update_is_one_launch(name: str, groups: int) -> None:
    net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 7)).to("gl")
    params = list(net.parameters())
    parts = [{"params": params}]
    if groups == 2:
        parts = [{"params": params[:1]}, {"params": params[1:], "lr": 0.02}]
    optimizer = getattr(tg.optim, name)(parts, **UPDATES[name])
    x = tg.randn(16, 20, device="gl")

    def gradients() -> None:
        optimizer.zero_grad()
        net(x).square().sum().backward()

    def step() -> None:
        gradients()
        optimizer.step()

    assert launches(step) <= launches(gradients) + 1


@pytest.mark.parametrize(("m", "k", "n"), [(256, 128, 64), (32, 100, 10), (200, 300, 50)])
def test_softmax_and_product(gl_target: str, m: int, k: int, n: int) -> None:
    """Rows that are no whole texels cost render targets a launch more."""
    x, y = tg.randn(m, k, device="gl"), tg.randn(k, n, device="gl")
    limit = 5 if gl_target == "fragment" and n % 4 and m * n > 4096 else 4
    assert launches(lambda: tg.softmax(x, -1) @ y) <= limit


def test_dropout_is_one() -> None:
    x = tg.randn(64, 100, device="gl", requires_grad=True)
    assert launches(lambda: nn.functional.dropout(x, 0.3)) == 1


def test_a_chain_of_elementwise_ops_is_one() -> None:
    x = tg.randn(1000, device="gl")
    assert launches(lambda: ((2 * x + 1).relu().exp() - 3) * x) == 1
