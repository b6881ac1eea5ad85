"""Which device is the accelerator, its memory, and using it from threads and after forks."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import accelerator
from tensorgl.backends.opengl import probe as probing
from tests.gl import use

HARDWARE = probing.OpenGL("GeForce RTX 4090", "4.6.0", software=False, compute=True, limits={})
SOFTWARE = replace(HARDWARE, renderer="llvmpipe (LLVM 15.0.6, 256 bits)", software=True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what OpenGL there is, an error if a text, and what TENSORGL_DEVICE says."""

    def has(found: Any, asked: str = "") -> None:
        def answer() -> Any:
            if isinstance(found, str):
                raise RuntimeError(found)
            return found

        monkeypatch.setattr(probing, "_probed", answer)
        monkeypatch.setenv("TENSORGL_DEVICE", asked)

    return has


@pytest.mark.parametrize(
    ("found", "asked", "there", "why"),
    [
        (HARDWARE, "", True, "hardware"),
        (HARDWARE, "gl", True, "TENSORGL_DEVICE=gl"),
        (HARDWARE, "cpu", False, "TENSORGL_DEVICE=cpu"),
        (SOFTWARE, "", False, "llvmpipe .* draws with the CPU"),
        (SOFTWARE, "gl", True, "TENSORGL_DEVICE=gl"),
        ("no OpenGL context: apt-get install libegl1", "", False, "apt-get install libegl1"),
        ("no OpenGL context: apt-get install libegl1", "gl", False, "apt-get install libegl1"),
    ],
)
def test_choice(machine: Any, found: Any, asked: str, there: bool, why: str) -> None:
    machine(found, asked)
    assert tg.accelerator.is_available() is there
    assert tg.accelerator.current_accelerator() == (tg.device("gl") if there else None)
    assert tg.accelerator.device_count() == int(there)
    assert not tg.cuda.is_available()
    assert re.search(why, accelerator.choice().reason)


def test_device_index(machine: Any) -> None:
    machine(HARDWARE)
    assert tg.accelerator.current_device_index() == 0
    tg.accelerator.set_device_index(0)
    tg.accelerator.set_device_index("gl")
    with tg.accelerator.device_index(0), tg.accelerator.device_index(None):
        pass
    for wrong in (1, -1, "cpu", True):
        with pytest.raises(RuntimeError, match="expected index 0 or device 'gl'"):
            tg.accelerator.set_device_index(wrong)
    machine(SOFTWARE)
    for call in (tg.accelerator.current_device_index, lambda: tg.accelerator.set_device_index(0)):
        with pytest.raises(
            RuntimeError, match=r"none is available: llvmpipe .* draws with the CPU"
        ):
            call()


def test_portable_scripts_choose_by_themselves(machine: Any) -> None:
    """The line that PyTorch's tutorials begin with."""
    for found, expected in ((HARDWARE, "gl"), (SOFTWARE, "cpu")):
        machine(found)
        device = (
            tg.accelerator.current_accelerator().type if tg.accelerator.is_available() else "cpu"
        )
        assert device == expected


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import moderngl

    def fails(**options: Any) -> Any:
        raise Exception("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(moderngl, "create_standalone_context", fails)
    with pytest.raises(RuntimeError, match=r"no OpenGL context: .*run: apt-get install libegl1$"):
        probing.create_context()


def test_memory(gl_target: str) -> None:
    backend = use(gl_target)
    tg.accelerator.empty_cache()
    tg.accelerator.reset_peak_memory_stats()
    before = tg.accelerator.memory_allocated()
    assert before == tg.accelerator.max_memory_allocated()
    x = tg.ones(1 << 18, device="gl") * 3
    tg.accelerator.synchronize()
    size = tg.accelerator.memory_allocated() - before
    assert 1 << 20 <= size <= 2 << 20
    assert tg.accelerator.memory_stats(0)["allocated_bytes.all.current"] == before + size
    del x
    assert tg.accelerator.memory_allocated() == before
    assert tg.accelerator.max_memory_allocated() >= before + size
    assert tg.accelerator.memory_reserved() >= before + size  # kept for others
    tg.accelerator.empty_cache()
    assert tg.accelerator.memory_reserved() == before
    assert tg.accelerator.max_memory_reserved() >= before + size
    tg.accelerator.reset_peak_memory_stats()
    assert tg.accelerator.max_memory_reserved() == tg.accelerator.max_memory_allocated() == before
    assert backend.counters()["bytes_live"] == before


# -- TENSORGL_DEVICE ------------------------------------------------------------------------------


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )


def test_new_tensors_are_made_where_the_variable_says() -> None:
    script = (
        "import tensorgl as tg\n"
        "print(tg.ones(2).device, tg.tensor([1.0]).device, tg.nn.Linear(2, 2).weight.device)\n"
        "tg.set_default_device('cpu'); print(tg.ones(2).device)\n"
        "tg.set_default_device(None); print(tg.ones(2).device, tg.ones(2).sum().item())\n"
    )
    use("compute")  # or there is nothing to test
    assert python(script, TENSORGL_DEVICE="gl").stdout == "gl gl gl\ncpu\ngl 2.0\n"
    assert python(script, TENSORGL_DEVICE="cpu").stdout == "cpu cpu cpu\ncpu\ncpu 2.0\n"
    wrong = python(script, TENSORGL_DEVICE="cuda")
    assert wrong.returncode == 1
    assert "TENSORGL_DEVICE: expected cpu or gl, given 'cuda'" in wrong.stderr


# -- threads --------------------------------------------------------------------------------------


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], Any]) -> None:
    """Run functions in threads, and raise what any of them raises."""
    errors: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("gl_target", "hurried")
class TestThreads:
    def test_another_thread_uses_what_this_one_made(self) -> None:
        x = tg.arange(10.0).to("gl")
        pending = x * 2
        found = []
        together(lambda: found.append((pending + 1).cpu().numpy()))
        np.testing.assert_array_equal(found[0], np.arange(10) * 2 + 1)
        np.testing.assert_array_equal((pending * x).cpu().numpy(), np.arange(10) ** 2 * 2)

    def test_threads_at_the_same_time(self) -> None:
        """Each works on a tensor of its own and on a shared one, reads, writes and drops."""
        shared = tg.full((100,), 2.0, device="gl") * 1

        def work(k: int) -> None:
            mine = tg.full((64,), float(k), device="gl")
            total = tg.zeros(64, device="gl")
            for step in range(20):
                for _ in range(5):
                    total = total + mine * shared[0]
                total += shared[:64] - 2
                if step % (k + 2) == 0:
                    expected = 10.0 * k * (step + 1)
                    np.testing.assert_array_equal(total.cpu().numpy(), np.full(64, expected))
            assert (shared * k).sum().item() == 200.0 * k

        together(*(lambda k=k: work(k) for k in range(4)))

    def test_training_in_a_thread_beside_inference(self) -> None:
        model = tg.nn.Linear(4, 3).to("gl")
        x = tg.ones(2, 4, device="gl")

        def train() -> None:
            other = tg.nn.Linear(4, 1).to("gl")
            optimizer = tg.optim.SGD(other.parameters(), lr=0.01)
            for _ in range(10):
                optimizer.zero_grad()
                (other(x) ** 2).mean().backward()
                optimizer.step()
            assert np.isfinite(other.weight.detach().cpu().numpy()).all()

        def infer() -> None:
            with tg.no_grad():
                expected = model(x).cpu().numpy()
                for _ in range(10):
                    np.testing.assert_allclose(model(x).cpu().numpy(), expected, rtol=1e-6)

        together(train, infer, infer)

    def test_a_compiled_step_beside_a_thread_that_reads(self) -> None:
        @tg.compile
        def step(x: tg.Tensor) -> tg.Tensor:
            return (x * 2 + 1).sum()

        def compiled() -> None:
            for k in range(10):
                assert step(tg.full((8,), float(k), device="gl")).item() == 16 * k + 8

        def reads() -> None:
            for k in range(20):
                assert (tg.ones(5, device="gl") * k).sum().item() == 5 * k

        together(compiled, reads)

    def test_tensors_may_be_dropped_anywhere(self, gl_target: str) -> None:
        backend = use(gl_target)
        gc.collect()
        before = tg.accelerator.memory_allocated()
        kept = [tg.ones(1000, device="gl") + k for k in range(50)]
        backend.flush()

        def drop() -> None:
            while kept:
                kept.pop()
            gc.collect()

        def make() -> None:
            for k in range(50):
                assert (tg.ones(1000, device="gl") * k).max().item() == k

        together(drop, make)
        assert tg.accelerator.memory_allocated() == before

    def test_workers_of_a_loader_may_make_them(self) -> None:
        class Squares(tg.utils.data.Dataset):
            def __len__(self) -> int:
                return 32

            def __getitem__(self, k: int) -> tg.Tensor:
                return tg.tensor([float(k)], device="gl") ** 2

        loader = tg.utils.data.DataLoader(Squares(), batch_size=4, num_workers=3)
        found = np.concatenate([batch.cpu().numpy() for batch in loader])
        np.testing.assert_allclose(found[:, 0], np.arange(32) ** 2, rtol=1e-6)


# -- forks ----------------------------------------------------------------------------------------

FORK = """
import gc, os, sys
import tensorgl as tg

x = tg.ones(4, device="gl")
y = (x + 1).relu()
y.cpu()
pending = x * 3
step = tg.compile(lambda x: x * 2)
for _ in range(3):
    step(x)
child = os.fork()
if child == 0:
    uses = {
        "op": lambda: x + 1,
        "known op": lambda: (x + 1).relu(),
        "new": lambda: tg.zeros(2, device="gl"),
        "upload": lambda: tg.tensor([1.0]).to("gl"),
        "pending": lambda: pending.cpu(),
        "realised": lambda: y.cpu(),
        "print": lambda: repr(y),
        "item": lambda: x[0].item(),
        "write": lambda: x.add_(1),
        "view": lambda: x[1:].cpu(),
        "compiled": lambda: step(x).cpu(),
    }
    wrong = []
    for name, use in uses.items():
        try:
            use()
            wrong.append(name)
        except RuntimeError as error:
            if "forked" not in str(error):
                wrong.append(f"{name}: {error}")
    if tg.accelerator.is_available():
        wrong.append("accelerator")
    tg.accelerator.synchronize()
    w = tg.ones(3, requires_grad=True, device="cpu")
    (w * 2).sum().backward()
    if w.grad.tolist() != [2.0, 2.0, 2.0]:
        wrong.append("cpu")
    del x, y, pending, uses, use, step
    gc.collect()
    if wrong:
        print("child:", wrong)
    EXIT
_, status = os.waitpid(child, 0)
print(status, pending.cpu().tolist(), (y + 1).cpu().tolist(), step(x).cpu().tolist())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
class TestForks:
    @pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
    @pytest.mark.parametrize("target", ["compute", "fragment"])
    def test_a_child_is_refused_and_the_parent_goes_on(self, leave: str, target: str) -> None:
        use(target)
        script = FORK.replace("EXIT", leave)
        result = python(script, TENSORGL_GL_TARGET=target, TENSORGL_DEVICE="gl")
        assert result.stdout == "0 [3.0, 3.0, 3.0, 3.0] [3.0, 3.0, 3.0, 3.0] [2.0, 2.0, 2.0, 2.0]\n"
        assert "Error" not in result.stderr

    def test_a_child_may_use_what_its_parent_did_not(self) -> None:
        use("compute")
        script = (
            "import os, tensorgl as tg\n"
            "child = os.fork()\n"
            "found = (tg.ones(2, device='gl') * 3).cpu().tolist()\n"
            "if child == 0: os._exit(found != [3.0, 3.0])\n"
            "print(found, os.waitpid(child, 0)[1])\n"
        )
        assert python(script).stdout == "[3.0, 3.0] 0\n"

    def test_workers_of_multiprocessing_compute_on_cpu(self) -> None:
        use("compute")
        script = (
            "import multiprocessing as mp, tensorgl as tg\n"
            "def work(k): return (tg.ones(3) * k).sum().item()\n"
            "x = tg.ones(2, device='gl') + 1\n"
            "x.cpu()\n"
            "with mp.get_context('fork').Pool(2) as pool: print(pool.map(work, range(4)))\n"
            "print(x.cpu().tolist())\n"
        )
        assert python(script).stdout == "[0.0, 3.0, 6.0, 9.0]\n[2.0, 2.0]\n"
