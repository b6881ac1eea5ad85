"""What survives when a device loses its context, on native devices that lose it when told to."""

from __future__ import annotations

import asyncio
import gc
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.backends import install
from tensorgl.backends.glsl import GlslBackend, rescue
from tensorgl.backends.glsl.device import DeviceLost, Limits
from tensorgl.backends.glsl.rescue import VolatileDevice
from tensorgl.errors import ContextLostError
from tests.gl import GL, TARGETS, use

pytestmark = pytest.mark.filterwarnings("ignore:the browser took the GPU:UserWarning")


class FaultyDevice(VolatileDevice):
    """Another device, lost when told to. What its memories held is then replaced by garbage."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.limits = inner.limits
        self.gone = False
        self.silent = False  # lists that are run do nothing, as long as nobody reads
        self.losses = 0
        self.refuse = ""
        self.keeps_failing = False
        self.reads = 0

    def lose(self, silent: bool = False) -> None:
        self.gone, self.silent = True, silent

    def reopen(self) -> Limits:
        self.losses += 1
        if self.refuse:
            raise RuntimeError(self.refuse)
        for memory, (kind, texels, _) in self._kinds.items():
            self.inner.write(memory, 0, b"\xff" * (texels * rescue.BYTES[kind]))
        self.gone = self.keeps_failing
        return self.limits

    def _do(self, name: str, *args: Any) -> Any:
        if self.gone and not (self.silent and name == "run"):
            raise DeviceLost
        return None if self.gone else getattr(self.inner, name)(*args)

    def _allocate(self, kind: str, texels: int, width: int) -> int:
        return self._do("allocate", kind, texels, width)

    def _free(self, memory: int) -> None:
        self.inner.free(memory)

    def _write(self, memory: int, start: int, data: bytes) -> None:
        self._do("write", memory, start, data)

    def _read(self, memory: int, start: int, texels: int) -> bytes:
        self.reads += 1
        return self._do("read", memory, start, texels)

    async def _read_async(self, memory: int, start: int, texels: int) -> bytes:
        await asyncio.sleep(0)
        return self._do("read", memory, start, texels)

    def _compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        return self._do("compile", source, inputs, outputs)

    def _run(self, launches: array[int], slots: array[int], numbers: array[int]) -> None:
        self._do("run", launches, slots, numbers)

    def _timed(self, launches: array[int], slots: array[int], numbers: array[int]) -> list[int]:
        return self._do("timed", launches, slots, numbers)

    def _finish(self) -> None:
        self._do("finish")

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(params=TARGETS)
def device(request: pytest.FixtureRequest) -> Iterator[FaultyDevice]:
    """Device "gl" is one that loses its context when told to."""
    normal = use(request.param)
    faulty = FaultyDevice(normal.device)
    install(GL, GlslBackend(faulty))
    gc.freeze()  # it looks through all objects for what is alive, of which other tests have left many
    yield faulty
    gc.unfreeze()
    install(GL, normal)


def classifier(captured: bool) -> tuple[Any, Callable[..., Any]]:
    tg.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
    ).to("gl")
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, tg.compile(step) if captured else step


def trained(captured: bool, before_step: Callable[[int], None], before_read: Any = None) -> Any:
    """Losses of 12 steps and what the model holds after them."""
    model, step = classifier(captured)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((16, 1, 6, 6)).astype("float32")
    labels = tg.tensor(rng.integers(0, 5, 16), device="gl")
    losses = []
    for k in range(12):
        x = tg.tensor(data + 0.01 * k, device="gl")
        before_step(k)
        loss = step(x, labels)
        if before_read is not None:
            before_read(k)
        losses.append(loss.item())
    return losses, [v.cpu().numpy() for v in model.state_dict().values()]


def same(a: Any, b: Any) -> None:
    assert a[0] == b[0]
    assert a[0][-1] < a[0][0]
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(x, y)
        assert np.isfinite(x).all()


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_training_goes_on_as_if_nothing_happened(
    device: FaultyDevice,
    monkeypatch: pytest.MonkeyPatch,
    captured: bool,
    seconds: float,
) -> None:
    """Whether all is done again from the beginning, or from copies that are as new as can be."""
    monkeypatch.setattr(rescue, "SECONDS", seconds)
    monkeypatch.setattr(rescue, "SHARE", 0)
    device._next = 0.0 if not seconds else 1e18
    expected = trained(captured, lambda k: None)
    assert (device.reads > 12 + 10) is (not seconds)
    assert device.losses == 0
    lose = lambda k: device.lose(silent=k != 3) if k in (0, 3, 7) else None  # noqa: E731
    same(trained(captured, lose), expected)
    assert device.losses == 3


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_results_not_read_yet_come_back(
    device: FaultyDevice, monkeypatch: pytest.MonkeyPatch, captured: bool, seconds: float
) -> None:
    monkeypatch.setattr(rescue, "SECONDS", seconds)
    monkeypatch.setattr(rescue, "SHARE", 0)
    device._next = seconds
    expected = trained(captured, lambda k: None)
    lose = lambda k: device.lose() if k in (1, 5, 6, 11) else None  # noqa: E731
    same(trained(captured, lambda k: None, lose), expected)
    assert device.losses == 4


def test_a_loss_is_told_once(device: FaultyDevice) -> None:
    x = tg.ones(5, device="gl") * 3
    x.sum().item()
    device.lose()
    with pytest.warns(UserWarning, match="took the GPU's context away; all that it held is back"):
        assert x.sum().item() == 15
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (x + 1).sum().item() == 20


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "uint8", "bool"])
def test_uploads_survive_in_every_dtype(device: FaultyDevice, kind: str) -> None:
    values = (np.arange(1000) % 200).astype(kind)
    x = tg.tensor(values, device="gl")
    view = x[10:500:7]
    device.lose()
    np.testing.assert_array_equal(view.cpu().numpy(), values[10:500:7])
    np.testing.assert_array_equal(x.cpu().numpy(), values)


def test_memory_given_back_is_made_again_for_the_time_of_the_repetition(
    device: FaultyDevice,
) -> None:
    x = tg.arange(10000, device="gl").float()
    y = (x * 2).sin()
    y.sum().item()
    z = y + 1
    z[0].item()
    del x, y
    tg.accelerator.empty_cache()
    allocated = len(device._kinds)
    device.lose()
    np.testing.assert_allclose(
        z.cpu().numpy(), np.sin(np.arange(10000, dtype="float32") * 2) + 1, atol=2e-6
    )
    assert len(device._kinds) == allocated


def test_copies_hold_what_is_alive_only(device: FaultyDevice) -> None:
    x = tg.tensor(np.ones(100_000, "float32"), device="gl")
    kept = x.sum()
    for _ in range(3):
        big = x * 2
        big.sum().item()
    del x, big
    kept.item()
    device._next = 0.0
    (kept + 1).item()
    assert sum(map(len, device._saved.values())) < 1000
    assert len(device._log or ()) == 1
    device.lose()
    assert kept.item() == 100_000


def test_the_log_is_bounded(device: FaultyDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "LOG_BYTES", 1 << 16)
    total = tg.zeros(1000, device="gl")
    for k in range(100):
        total = total + tg.tensor(np.full(1000, k, "float32"), device="gl")
        total[0].item()
        assert device._log_bytes < 3 << 16
    device.lose()
    assert total[5].item() == sum(range(100))


def test_too_large_to_copy_is_named_when_it_is_used(
    device: FaultyDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "HOST_BYTES", 1 << 16)
    monkeypatch.setattr(rescue, "LOG_BYTES", 0)
    w = tg.ones(300, 100, device="gl") * 2
    v = w + 1
    v[0, 0].item()
    with pytest.warns(UserWarning, match="too much to keep copies on the host"):
        (v * 2)[0, 0].item()
    device.lose()
    with pytest.raises(ContextLostError, match=r"float32\[300, 100\]"):
        v.sum().item()
    with pytest.raises(ContextLostError, match=r"float32\[300, 100\]"):
        w.cpu()
    with pytest.raises(ContextLostError):
        asyncio.run(w.cpu_async())
    # What does not depend on it works, and what is written anew is not lost any more.
    assert tg.ones(7, device="gl").sum().item() == 7
    v.copy_(tg.full((300, 100), 5.0))
    assert v.mean().item() == 5
    del w
    monkeypatch.setattr(rescue, "HOST_BYTES", 1 << 20)
    small = v[0] + 1
    small.sum().item()
    (small + 1).sum().item()  # copied from here on
    device.lose()
    assert small.sum().item() == 600


def test_no_other_context(device: FaultyDevice) -> None:
    x = tg.ones(3, device="gl")
    x.sum().item()
    device.lose()
    device.refuse = "this browser gives no WebGL2 context"
    with pytest.raises(ContextLostError, match="gives no other: this browser gives no WebGL2"):
        (x + 1).sum().item()
    device.refuse = ""  # it does later
    assert (x + 1).sum().item() == 6


def test_work_that_kills_every_context(device: FaultyDevice) -> None:
    x = tg.ones(3, device="gl")
    x.sum().item()
    device.lose()
    device.keeps_failing = True
    with pytest.raises(ContextLostError, match="lost 3 times while doing the same work"):
        (x + 1).sum().item()
    assert device.losses == 3


def test_a_lesser_context(device: FaultyDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    x = tg.ones(3, device="gl")
    x.sum().item()
    less = replace(device.limits, draw_buffers=2, renderer="SwiftShader")
    monkeypatch.setattr(device, "reopen", lambda: less)
    device.lose()
    with pytest.raises(ContextLostError, match=r"\(SwiftShader\) can do less .*: draw_buffers 2"):
        x.sum().item()


def test_cpu_async(device: FaultyDevice) -> None:
    x = tg.arange(24, device="gl").float().requires_grad_()

    async def some() -> list[Any]:
        y = x.reshape(2, 3, 4)
        return await asyncio.gather(
            y.cpu_async(),
            y.permute(2, 0, 1).cpu_async(),
            (x * 2)[3:7].cpu_async(),
            x[:0].cpu_async(),
        )

    plain, turned, part, none = asyncio.run(some())
    np.testing.assert_array_equal(plain.detach().numpy(), np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(turned.detach().numpy(), plain.permute(2, 0, 1).detach().numpy())
    assert part.tolist() == [6, 8, 10, 12]
    assert none.shape == (0,)
    part.sum().backward()
    assert x.grad.cpu().tolist() == [0.0] * 3 + [2.0] * 4 + [0.0] * 17


def test_a_loss_while_values_are_awaited(device: FaultyDevice) -> None:
    x = tg.arange(8, device="gl").float() + 1

    async def some() -> Any:
        waiting = asyncio.ensure_future(x.cpu_async())
        await asyncio.sleep(0)
        device.lose()
        return await waiting

    assert asyncio.run(some()).tolist() == list(range(1, 9))
    assert device.losses == 1


def test_cpu_async_on_cpu_is_itself() -> None:
    x = tg.ones(3)
    assert asyncio.run(x.cpu_async()) is x
