"""Flat updates on a lazy backend, where they are the default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.optim import lr_scheduler
from tests.optim.test_flat import GROUPS, OPTIONS, SHAPES, build, parameters, train

pytestmark = pytest.mark.usefixtures("gl_target")


def on_gl(params: list[Any]) -> list[Any]:
    return [p.detach().to("gl").requires_grad_() for p in params]


def assert_close(params: list[Any], reference: list[Any]) -> None:
    for p, q in zip(params, reference, strict=True):
        assert p.device.type == "gl"
        np.testing.assert_allclose(p.detach().cpu().numpy(), q.detach().numpy(), 2e-5, 2e-6)


@pytest.mark.parametrize(("kind", "options"), OPTIONS[1::2])
def test_default_is_flat_and_equals_cpu(kind: str, options: dict[str, Any]) -> None:
    reference = parameters()
    params = on_gl(reference)
    flat, plain = build(kind, params, **options), build(kind, reference, **options)
    train(flat, params, 0, 4)
    train(plain, reference, 0, 4)
    assert_close(params, reference)
    assert [len(s.params) for s in flat.flat_sets] == [len(SHAPES) - 1]


@pytest.mark.parametrize(("kind", "groups", "sets"), GROUPS[1::3])
def test_groups(kind: str, groups: list[dict[str, Any]], sets: int) -> None:
    reference = parameters()[: 2 * len(groups)]
    params = on_gl(reference)
    for own in (params, reference):
        parts = [own[2 * k : 2 * k + 2] for k in range(len(groups))]
        pairs = zip(parts, groups, strict=True)
        train(build(kind, [{"params": part} | g for part, g in pairs]), own, 0, 4)
    assert_close(params, reference)


def test_strided_gradients_and_parameters() -> None:
    values = tg.arange(12.0).view(3, 4)
    strided = values.to("gl").t().detach().requires_grad_()
    p = values.to("gl").requires_grad_()
    optimizer = tg.optim.SGD([strided, p], lr=1.0)
    for _ in range(2):
        strided.grad = values.t().to("gl")
        p.grad = values.t().clone().to("gl").t()
        optimizer.step()
    assert len(optimizer.flat_sets[0].params) == 2
    assert strided.tolist() == (-values.t()).tolist()
    assert p.tolist() == (-values).tolist()


def params_at(steps: int) -> list[Any]:
    params = parameters([(3, 2), (5,)])
    train(tg.optim.Adam(params, lr=0.1), params, 0, steps)
    return params


def test_parameters_move_between_steps() -> None:
    params = parameters([(3, 2), (5,)])
    optimizer = tg.optim.Adam(params, lr=0.1)
    train(optimizer, params, 0, 2)
    assert optimizer.flat_sets == []
    for p in params:
        p.data = p.data.to("gl")
    train(optimizer, params, 2, 4)
    assert len(optimizer.flat_sets) == 1
    assert_close(params, params_at(4))
    for p in params:
        p.data = p.data.cpu()
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].cpu()
    train(optimizer, params, 4, 6)
    assert optimizer.flat_sets == []
    for p, q in zip(params, params_at(6), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), 2e-5, 2e-6)


@pytest.mark.parametrize("fused", [None, False])
def test_a_compiled_step_keeps_counting(fused: bool | None) -> None:
    def run(compiled: bool) -> list[Any]:
        params = on_gl(parameters([(3, 2), (5,)]))
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.3}]
        optimizer = tg.optim.AdamW(groups, lr=0.1, amsgrad=True, fused=fused)
        schedule = lr_scheduler.ExponentialLR(optimizer, 0.8)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            products = [p * x * p for p in params]
            tg.autograd.backward(products, [tg.ones_like(y) for y in products])
            optimizer.step()
            schedule.step()
            return products[0].detach()

        run_step = tg.compile(step) if compiled else step
        results = [run_step(tg.tensor(1.0 + 0.1 * t, device="gl")).tolist() for t in range(7)]
        counts = [optimizer.state[p]["step"] for p in params]
        rates = [group["lr"] for group in optimizer.param_groups]
        return [results, counts, rates, *[p.detach().cpu().tolist() for p in params]]

    assert run(True) == run(False)
