"""Muon on device "gl": as on the CPU, and captured with a learning rate that changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgl as tg

pytestmark = pytest.mark.usefixtures("gl_target")


def train(device: str, compiled: bool, **options: Any) -> tuple[list[np.ndarray], Any]:
    """Two matrices after six steps under a schedule, and a function that makes another step."""
    tg.manual_seed(0)
    params = [
        tg.randn(6, 4).to(device).requires_grad_(),
        tg.randn(4, 8).to(device).requires_grad_(),
    ]
    optimizer = tg.optim.Muon(params, lr=0.1, **options)
    schedule = tg.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = (x @ params[0] @ params[1]).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    run = tg.compile(step) if compiled else step
    x = tg.arange(12.0, device=device).view(2, 6)
    for k in range(6):
        run(x * (k + 1) / 10)
    return [p.detach().cpu().numpy() for p in params], (run, optimizer, x)


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}])
def test_captured_equals_plain_and_the_cpu(options: dict[str, Any]) -> None:
    plain, _ = train("gl", False, **options)
    captured, _ = train("gl", True, **options)
    reference, _ = train("cpu", False, **options)
    for a, b, c in zip(plain, captured, reference, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-5)


def test_another_formula_is_recorded_anew() -> None:
    found: list[list[np.ndarray]] = []
    for compiled in (False, True):
        params, (run, optimizer, x) = train("gl", compiled)
        optimizer.param_groups[0]["ns_steps"] = 3
        run(x)
        params = [p.detach().cpu().numpy() for p in optimizer.param_groups[0]["params"]]
        found.append(params)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
