"""What the backend refuses, what it tells, and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.backends import glsl as backend_module
from tensorgl.backends.glsl import GlslBackend
from tensorgl.errors import UnsupportedError
from tests.gl import gl_module_target, gl_target

__all__ = ["gl_module_target", "gl_target"]

pytestmark = pytest.mark.usefixtures("gl_target")


def backend() -> GlslBackend:
    found = backend_of(device("gl"))
    assert isinstance(found, GlslBackend)
    return found


def test_float64_is_refused_as_pytorch_does_on_mps() -> None:
    with pytest.raises(TypeError, match="does not support float64"):
        tg.zeros(3, dtype=tg.float64, device="gl")
    with pytest.raises(TypeError, match="use float32"):
        tg.ones(3, dtype=tg.float64).to("gl")
    with pytest.raises(TypeError, match="use float32"):
        tg.ones(3, device="gl").double()


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40])
def test_an_int64_that_does_not_fit_raises_at_upload(value: int) -> None:
    with pytest.raises(RuntimeError, match="without overflow"):
        tg.tensor([0, value], device="gl")
    edge = tg.tensor([2**31 - 1, -(2**31)], device="gl")
    assert edge.dtype is tg.int64
    assert edge.tolist() == [2**31 - 1, -(2**31)]


def test_what_stays_on_the_cpu_names_the_remedy() -> None:
    x = tg.eye(3, device="gl")
    with pytest.raises(UnsupportedError, match=r"\.cpu\(\)"):
        tg.linalg.qr(x)
    q, _ = tg.linalg.qr(x.cpu())
    assert q.shape == (3, 3)


def test_mixed_devices_raise_pytorchs_error() -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        tg.ones(3, device="gl") + tg.ones(3)


def test_debug_output_names_kernels_and_then_prints_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = tg.ones(7, device="gl")
    monkeypatch.setattr(backend(), "_debug", 1)
    (x * 1.25).atan().cosh().cpu()
    shown = capsys.readouterr().err
    assert "compile" in shown
    assert "void main" not in shown
    monkeypatch.setattr(backend(), "_debug", 2)
    (x * 1.25).atan().sinh().cpu()
    shown = capsys.readouterr().err
    assert "void main" in shown
    assert "op_sinh" in shown


def test_counters() -> None:
    before = backend().counters()
    x = tg.ones(100, device="gl")
    (x + 1).cpu()
    y = tg.tensor(np.arange(100.0, dtype=np.float32), device="gl")
    after = backend().counters()
    assert after["launches"] > before["launches"]
    assert after["uploads"] == before["uploads"] + 1
    assert after["downloads"] == before["downloads"] + 1
    assert after["bytes_live"] >= before["bytes_live"] + 400
    assert after["bytes_peak"] >= after["bytes_live"]
    del y


def test_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "PLANS", 5)
    backend()._plans.clear()
    for n in range(1, 12):
        (tg.ones(n, device="gl") * 2).cpu()
    assert len(backend()._plans) <= 5
    plans = backend().counters()["plans"]
    (tg.ones(11, device="gl") * 2).cpu()
    assert backend().counters()["plans"] == plans


@pytest.mark.parametrize("size", [1, 3, 127, 128, 129, 513, (1 << 22) + 3])
def test_sizes_survive_a_round_trip(size: int) -> None:
    values = np.arange(size, dtype=np.float32) % 1000
    x = tg.tensor(values, device="gl")
    np.testing.assert_array_equal((x + 1).cpu().numpy(), values + 1)
    for name in ("float16", "int64", "int32", "uint8", "bool"):
        part = x[:600].to(getattr(tg, name))
        np.testing.assert_array_equal(part.cpu().numpy(), values[:600].astype(name))


def test_more_elements_than_floats_can_count() -> None:
    n = (1 << 24) + 9
    x = tg.arange(n, device="gl")
    assert x[-1].item() == n - 1
    assert x[(1 << 24) + 1].item() == (1 << 24) + 1
    assert (x % 2).sum().item() == n // 2
