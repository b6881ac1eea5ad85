"""Recording on and off, by thread, as contexts and as decorators; anomaly mode."""

from __future__ import annotations

import threading

import pytest

import tensorgl as tg


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), requires_grad=True)


def test_modes() -> None:
    x = leaf(1.0)
    with tg.no_grad():
        assert not (x * 2).requires_grad
        with tg.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
    tg.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    tg.set_grad_enabled(True)
    with tg.inference_mode():
        assert tg.is_inference_mode_enabled()
        assert not (x * 2).requires_grad
    with tg.inference_mode(False):
        assert (x * 2).requires_grad


def test_modes_as_decorators() -> None:
    x = leaf(1.0)
    for decorate in (tg.no_grad(), tg.no_grad, tg.inference_mode(), tg.inference_mode):
        assert not decorate(lambda: x * 2)().requires_grad
    assert not tg.set_grad_enabled(False)(lambda: x * 2)().requires_grad
    assert tg.is_grad_enabled()

    @tg.no_grad()
    def numbers():  # type: ignore[no-untyped-def]
        yield tg.is_grad_enabled()
        yield tg.is_grad_enabled()

    assert [(inside, tg.is_grad_enabled()) for inside in numbers()] == [(False, True)] * 2


def test_one_decorated_function_in_two_threads() -> None:
    """Each call puts back the mode of its own thread."""
    inside, out = threading.Event(), threading.Event()

    @tg.no_grad()
    def wait(first: bool) -> None:
        if first:
            inside.set()
            out.wait()

    def other() -> None:
        tg.set_grad_enabled(False)
        wait(True)
        modes.append(tg.is_grad_enabled())

    modes: list[bool] = []
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    wait(False)
    out.set()
    thread.join()
    assert (modes, tg.is_grad_enabled()) == ([False], True)


def test_anomaly_mode_names_the_node() -> None:
    x = tg.tensor(0.0, requires_grad=True)
    y = (x * 0).sqrt() * 0
    with tg.autograd.detect_anomaly(), pytest.raises(RuntimeError, match=r"SqrtBackward0.*nan"):
        y.backward(retain_graph=True)
    y.backward()
    assert x.grad.isnan()
