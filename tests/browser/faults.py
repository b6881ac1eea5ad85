"""Faults of a browser's GPU, and what device "gl" makes of them. Runs inside a tab, as its name says to pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend, codegen, rescue
from tensorgl.backends.glsl.shader import ShaderError
from tensorgl.errors import ContextLostError, OutOfMemoryError, UnsupportedError
from tests.gl import GL

WATCHED = pytest.mark.filterwarnings("ignore:the browser took the GPU:UserWarning")


def backend() -> Any:
    return backend_of(GL)


@pytest.fixture
def fresh() -> Iterator[Any]:
    """A backend of its own for device "gl"."""
    before = install(GL, None)
    mine = backend()
    yield mine
    install(GL, before)
    mine.device.close()


@contextmanager
def patched(name: str, body: str) -> Iterator[None]:
    """Another body for a method of contexts, or of canvases; `original(...)` is what it was."""
    from pyodide.code import run_js

    owner = "OffscreenCanvas" if name == "getContext" else "WebGL2RenderingContext"
    undo = run_js(
        f"""(() => {{
            const owner = {owner}.prototype, before = owner.{name};
            owner.{name} = function (...given) {{
                const original = () => before.apply(this, given);
                {body}
            }};
            return () => {{ owner.{name} = before; }};
        }})()"""
    )
    try:
        yield
    finally:
        undo()


def lose(device: Any) -> None:
    device.js.gl.getExtension("WEBGL_lose_context").loseContext()


def trained(captured: bool, at: Callable[[int], None] = lambda k: None, steps: int = 12) -> Any:
    """Losses of a digits-like classifier, and what it holds at the end."""
    tg.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 16, 10),
    ).to("gl")
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((32, 1, 8, 8)).astype("float32")
    labels = tg.tensor(rng.integers(0, 10, 32), device="gl")

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if captured:
        step = tg.compile(step)
    losses = []
    for k in range(steps):
        loss = step(tg.tensor(data, device="gl"), labels)
        at(k)
        losses.append(loss.item())
    return losses, [v.cpu().numpy() for v in model.state_dict().values()]


@WATCHED
@pytest.mark.parametrize("captured", [False, True])
def test_training_survives_losses(fresh: Any, monkeypatch: Any, captured: bool) -> None:
    expected = trained(captured)
    lost = []

    def at(k: int) -> None:
        if k == 6:
            monkeypatch.setattr(fresh.device, "_next", 0.0)  # copies are made now
        if k in (3, 8, 9):
            lose(fresh.device)
            lost.append(k)

    losses, state = trained(captured, at)
    assert losses == expected[0]
    assert losses[-1] < losses[0]
    for a, b in zip(state, expected[1], strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    assert len(lost) == 3
    assert fresh.device.error() == ""


def test_what_is_too_large_to_copy_is_named(fresh: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(rescue, "HOST_BYTES", 1 << 10)
    monkeypatch.setattr(rescue, "LOG_BYTES", 0)
    x = tg.ones(100, 30, device="gl") * 2
    x.sum().item()
    with pytest.warns(UserWarning, match="too much to keep copies"):
        (x + 1)[0, 0].item()
    lose(fresh.device)
    with (
        pytest.raises(ContextLostError, match=r"float32\[100, 30\]"),
        pytest.warns(UserWarning, match=r"these tensors are lost: float32\[100, 30\]"),
    ):
        x.sum().item()
    assert tg.ones(3, device="gl").sum().item() == 3


@WATCHED
def test_no_new_context(fresh: Any, monkeypatch: Any) -> None:
    from tensorgl.backends.webgl import device

    monkeypatch.setattr(device, "WAITS", (0.0, 0.01))
    x = tg.arange(5, device="gl") + 1
    x.sum().item()
    lose(fresh.device)
    with (
        patched("getContext", "return null;"),
        pytest.raises(ContextLostError, match="gives no other: this browser gives no WebGL2"),
    ):
        x.sum().item()
    assert x.sum().item() == 15


def test_missing_webgl2() -> None:
    from tensorgl.backends.webgl import create

    with (
        patched("getContext", "return null;"),
        pytest.raises(RuntimeError, match=r"gives no WebGL2 context\. Check that hardware accel"),
    ):
        create()


@pytest.mark.parametrize(
    ("keeps", "match"),
    [
        ("EXT_color_buffer_half_float", "16-bit floats are all it has"),
        ("nothing", r"cannot draw to 32-bit floats \(EXT_color_buffer_float is missing\)"),
    ],
)
def test_missing_float_targets(keeps: str, match: str) -> None:
    from tensorgl.backends.webgl import create

    body = f"""
        if (!given[0].startsWith("EXT_color_buffer")) return original();
        return given[0] === {keeps!r} ? {{}} : null;
    """
    with patched("getExtension", body), pytest.raises(RuntimeError, match=match):
        create()


SMALL = """
    const small = {
        [this.MAX_DRAW_BUFFERS]: 4, [this.MAX_COLOR_ATTACHMENTS]: 4, [this.MAX_TEXTURE_SIZE]: 2048,
        [this.MAX_TEXTURE_IMAGE_UNITS]: 8, [this.MAX_UNIFORM_BLOCK_SIZE]: 16384,
    };
    return small[given[0]] ?? original();
"""


@pytest.mark.parametrize("captured", [False, True])
def test_small_limits(fresh: Any, captured: bool) -> None:
    expected = trained(captured, steps=4)
    before = install(GL, None)
    with patched("getParameter", SMALL):
        limits = backend().device.limits
    found = limits.draw_buffers, limits.inputs, limits.rows, limits.number_bytes
    assert found == (4, 8, 2048, 16384)
    try:
        losses, _ = trained(captured, steps=4)
        np.testing.assert_allclose(losses, expected[0], rtol=1e-4)
        a = tg.arange(512 * 300, device="gl").float().reshape(512, 300) % 7
        np.testing.assert_array_equal((a.T @ a).cpu().numpy(), a.cpu().T.numpy() @ a.cpu().numpy())
        parts = [a[k] * 2 for k in range(20)]  # of more tensors than one kernel reads
        np.testing.assert_array_equal(
            tg.cat(parts).cpu().numpy(), 2 * a[:20].cpu().flatten().numpy()
        )
        with pytest.raises(OutOfMemoryError, match="at most 64 MiB on"):
            large = tg.zeros(2048, 2048, 5, device="gl") + 1
            large[0, 0, 0].item()
        del large
        assert tg.ones(3, device="gl").sum().item() == 3
        assert backend().device.error() == ""
    finally:
        mine = install(GL, before)
        assert mine is not None
        mine.device.close()


def test_too_many_numbers(fresh: GlslBackend, monkeypatch: Any) -> None:
    from dataclasses import replace

    fresh.device.limits = replace(fresh.device.limits, number_bytes=64)
    x = tg.ones(4, device="gl")
    y = x
    for k in range(30):
        y = y * (1 + 0.01 * k) + k
    with pytest.raises(UnsupportedError, match=r"a kernel needs .* bytes of numbers"):
        y.sum().item()
    del y
    assert (x + 1).sum().item() == 8


def test_a_rejected_shader(fresh: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(codegen.MAPS, "sinh", lambda *a: "no_such_function(1.0)")
    x = tg.ones(4, device="gl")
    y = x.sinh()
    with pytest.raises(ShaderError) as raised:
        y.cpu()
    text = str(raised.value)
    assert "no_such_function" in text.splitlines()[0]
    assert "\n   1 #version 300 es\n" in text
    with pytest.raises(ShaderError):
        y.cpu()
    del y, raised  # whose traceback holds it, too
    assert (x + 1).cpu().tolist() == [2] * 4


def test_errors_are_told_when_debugging(fresh: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(fresh, "_debug", 1)
    x = tg.ones(4, 4, device="gl")
    (x @ x).sum().item()
    fresh.device.js.gl.enable(0x1234)
    y = x @ (x + 1)
    with pytest.raises(RuntimeError, match=r"(?s)INVALID_ENUM.*plan of .*matmul"):
        y.sum().item()
    assert y.sum().item() == 128


def test_few_steps_are_under_way_at_once(fresh: Any) -> None:
    """Where Python never pauses, it waits for the GPU each few steps; where it does, hardly ever."""
    counts = fresh.device.js.counts
    x = tg.ones(1000, device="gl")
    for _ in range(5):
        x = x + 1
        fresh.flush()
    before = counts.waits
    for _ in range(160):
        x = x + 1
        fresh.flush()
        assert fresh.device.js.fences.length <= 3
    assert 0 < counts.waits - before <= 160 // 32 + 1  # a fence for eight small launches
    large = tg.ones(1 << 22, device="gl")
    before = counts.waits
    for _ in range(16):
        large = large + 1
        fresh.flush()
    assert counts.waits - before >= 3  # and for each large one
    assert x[0].item() == 166
    assert fresh.device.js.fences.length == 0
    fresh.synchronize()


def test_a_reading_waits_for_all_that_writes(fresh: Any) -> None:
    """Memory that was written, read by a kernel, written again: each reading gives the last values.

    Mesa's software rasteriser does not wait for the second writing if it finds the first reading
    under way, unless what is read is also drawn to (`settle` in gl.js).
    """
    rng = np.random.default_rng(0)
    x, y, z, w = (rng.standard_normal(n).astype("float32") for n in ((3, 4), (4, 5), 5, 2))
    expected = np.outer(np.full(3, w.sum()), y @ z)
    for _ in range(100):
        tensors = [tg.tensor(v, device="gl", requires_grad=True) for v in (x, y, z, w)]
        result = tg.einsum("ij,jk,k,l->il", *tensors)
        found = tg.autograd.grad(result, tensors, tg.ones(3, 2, device="gl"))
        np.testing.assert_allclose(found[0].cpu().numpy(), expected, rtol=1e-4)


def test_a_memory_error_is_one(fresh: Any) -> None:
    x = tg.ones(4, device="gl")
    x.sum().item()
    with (
        patched("texStorage2D", "this.full = true;"),
        patched(
            "getError", "if (this.full) { this.full = false; return 0x505; } return original();"
        ),
        pytest.raises(OutOfMemoryError, match="the device has no"),
    ):
        tg.ones(123456, device="gl").add(1).sum().item()
    assert (x * 3).sum().item() == 12
