"""The lazy graph: what is realised, what writes mean, and that a known flush is not planned again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.backends.glsl import GlslBackend
from tests.gl import gl_module_target, gl_target, use

__all__ = ["gl_module_target", "gl_target"]

GL = device("gl")


def count(name: str) -> int:
    return backend_of(GL).counters()[name]


def launches(function: Any) -> int:
    """How many launches a function takes, those it leaves pending included."""
    backend_of(GL).flush()
    before = count("launches")
    kept = function()
    backend_of(GL).flush()
    del kept
    return count("launches") - before


def x(*shape: int, seed: int = 0) -> tg.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return tg.tensor(values, device="gl")


@pytest.mark.usefixtures("gl_target")
class TestRealised:
    def test_nothing_runs_until_somebody_looks(self) -> None:
        a = x(5, 7)
        before = count("launches")
        b = (a + 1) * 2
        assert count("launches") == before
        assert b.sum().item() == pytest.approx(((a.cpu() + 1) * 2).sum().item(), rel=1e-5)
        assert count("launches") > before

    def test_a_chain_is_one_launch(self) -> None:
        a = x(33, 5)
        assert launches(lambda: ((a * 2 + 1).clamp(min=0).exp() - 3).tanh()) == 1

    def test_what_nobody_sees_is_not_computed(self) -> None:
        a = x(8)

        def work() -> None:
            (a + 1).exp()

        assert launches(work) == 0

    def test_every_value_that_python_sees_is_kept(self) -> None:
        a = x(6)
        b = a + 1
        c = b * 2
        np.testing.assert_allclose(c.cpu().numpy(), (a.cpu().numpy() + 1) * 2, rtol=1e-6)
        np.testing.assert_allclose(b.cpu().numpy(), a.cpu().numpy() + 1, rtol=1e-6)

    def test_views_of_pending_values(self) -> None:
        a = x(4, 6)
        b = (a * 3).t()[1:4, ::2]
        np.testing.assert_allclose(b.cpu().numpy(), (a.cpu().numpy() * 3).T[1:4, ::2], rtol=1e-6)

    def test_a_flush_that_was_seen_before_is_not_planned_again(self) -> None:
        w = x(10)
        plans = []
        for k in range(5):
            y = (w * float(k)).sin()
            y.sum().item()
            plans.append(count("plans"))
        assert plans[1] == plans[-1]

    def test_numbers_are_not_part_of_a_kernel(self) -> None:
        a = x(12)
        (a * 2.5).cpu().numpy()
        compiles = count("compiles")
        np.testing.assert_allclose((a * -7.25).cpu().numpy(), a.cpu().numpy() * -7.25, rtol=1e-6)
        assert count("compiles") == compiles

    def test_a_long_chain_is_divided(self) -> None:
        a = x(16)
        b = a
        for _ in range(700):
            b = b * 0.999 + 0.001
        expected = a.cpu().numpy().astype(np.float64)
        for _ in range(700):
            expected = expected * 0.999 + 0.001
        np.testing.assert_allclose(b.cpu().numpy(), expected, rtol=1e-4, atol=1e-5)

    def test_a_loop_that_looks_at_nothing_stays_bounded(self) -> None:
        a = x(4)
        for _ in range(6000):
            a = a * 1.0
        assert len(backend_of(GL).graph.pending) <= 4096  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a.cpu().numpy().shape, (4,))

    def test_a_flush_may_have_thousands_of_launches(self) -> None:
        w = tg.eye(3, device="gl")
        y = x(3, 3)
        expected = y.cpu().numpy()
        for _ in range(1500):
            y = y @ w
        np.testing.assert_array_equal(y.cpu().numpy(), expected)

    def test_many_inputs_are_divided(self) -> None:
        parts = [x(9, seed=k) for k in range(40)]
        total = parts[0]
        for p in parts[1:]:
            total = total + p
        np.testing.assert_allclose(
            total.cpu().numpy(), sum(p.cpu().numpy() for p in parts), rtol=1e-4, atol=1e-5
        )


@pytest.mark.usefixtures("gl_target")
class TestWrites:
    def test_what_was_asked_before_a_write_sees_the_old_value(self) -> None:
        a = x(5)
        old = a.cpu().numpy().copy()
        b = a * 2
        a.add_(1)
        c = a * 2
        np.testing.assert_allclose(b.cpu().numpy(), old * 2, rtol=1e-6)
        np.testing.assert_allclose(c.cpu().numpy(), (old + 1) * 2, rtol=1e-6)

    def test_views_see_writes_to_their_base_and_the_base_those_to_views(self) -> None:
        a = x(4, 4)
        old = a.cpu().numpy().copy()
        row = a[1]
        a.mul_(2)
        np.testing.assert_allclose(row.cpu().numpy(), old[1] * 2, rtol=1e-6)
        row.zero_()
        a[:, 2] = 7
        expected = old * 2
        expected[1] = 0
        expected[:, 2] = 7
        np.testing.assert_allclose(a.cpu().numpy(), expected, rtol=1e-6)

    def test_copies_do_not_share(self) -> None:
        a, b = x(6), x(6, seed=1)
        old = b.cpu().numpy().copy()
        a.copy_(b)
        b.add_(1)
        np.testing.assert_array_equal(a.cpu().numpy(), old)
        np.testing.assert_allclose(b.cpu().numpy(), old + 1, rtol=1e-6)

    def test_swapping_two_values(self) -> None:
        a, b = x(6), x(6, seed=1)
        old_a, old_b = a.cpu().numpy().copy(), b.cpu().numpy().copy()
        t = a.clone()
        a.copy_(b)
        b.copy_(t)
        np.testing.assert_array_equal(a.cpu().numpy(), old_b)
        np.testing.assert_array_equal(b.cpu().numpy(), old_a)

    def test_through_a_reshaped_view(self) -> None:
        a = x(3, 4)
        a.view(12).copy_(tg.arange(12.0, device="gl"))
        np.testing.assert_array_equal(a.cpu().numpy(), np.arange(12.0).reshape(3, 4))


STEPS = [
    "add",
    "mul",
    "neg",
    "t",
    "row",
    "write",
    "writeview",
    "look",
    "sub",
    "relu",
    "reshape",
    "expand",
]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=14), st.integers(0, 3), st.data())
def test_any_program_gives_what_it_gives_on_the_cpu_fused_or_not(
    program: list[str], seed: int, data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(["compute", "fragment"]))
    use(target)

    def run(place: str) -> list[np.ndarray]:
        a = tg.tensor(
            np.random.default_rng(seed).integers(-4, 5, (4, 6)).astype(np.float32), device=place
        )
        alive = [a]
        for k, step in enumerate(program):
            v = alive[-1]
            if step == "add":
                v = v + alive[0].reshape(-1)[: v.shape[-1]]
            elif step == "mul":
                v = v * (k + 1)
            elif step == "sub":
                v = v - v.mean() if k % 3 == 0 else v - 1
            elif step == "neg":
                v = -v
            elif step == "relu":
                v = v.relu()
            elif step == "t":
                v = v.t() if v.ndim == 2 else v
            elif step == "row":
                v = v[v.shape[0] // 2 :] if v.shape[0] > 1 else v
            elif step == "reshape":
                v = v.reshape(-1, 2) if v.numel() % 2 == 0 else v.reshape(-1)
            elif step == "expand":
                v = v.unsqueeze(0).expand(2, *v.shape).sum(0)
            elif step == "write":
                v = v.clone()
                v.add_(2)
            elif step == "writeview":
                v = v.clone()
                v[0] = v[-1] * 3
            elif step == "look":
                v.cpu().numpy()
            alive.append(v)
        return [t.cpu().numpy() for t in alive]

    backend = backend_of(GL)
    assert isinstance(backend, GlslBackend)
    expected = run("cpu")
    for eager in (False, True):
        backend.eager = eager
        try:
            results = run("gl")
        finally:
            backend.eager = False
        for actual, e in zip(results, expected, strict=True):
            np.testing.assert_allclose(actual, e, rtol=1e-5, atol=1e-4)
