"""The profiler: every op and every launch, PyTorch's table, and a trace that a browser opens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.profiler import ProfilerActivity, profile, record_function
from tests.gl import gl_module_target, gl_target

__all__ = ["gl_module_target", "gl_target"]


def work(place: str) -> tg.Tensor:
    x = tg.ones(50, 30, device=place)
    return ((x * 2 + 1).exp()).cpu()


@pytest.mark.usefixtures("gl_target")
def test_every_launch_is_an_event() -> None:
    backend = backend_of(device("gl"))
    work("gl")
    before = backend.counters()["launches"]
    with profile() as prof:
        work("gl")
    launches = [e for e in prof.events() if e.device == "gpu"]
    assert len(launches) == backend.counters()["launches"] - before > 0
    (launch,) = launches
    assert set(launch.ops) >= {"mul", "add", "exp"}
    assert launch.input_shapes == (50, 30)
    assert launch.bytes >= 50 * 30 * 4
    assert launch.gpu_time_total > 0


def test_ops_on_the_cpu() -> None:
    with profile(record_shapes=True) as prof, record_function("mine"):
        work("cpu")
    names = [e.name for e in prof.events()]
    assert {"mul", "add", "exp", "mine"} <= set(names)
    mine = next(e for e in prof.events() if e.name == "mine")
    inner = sum(e.cpu_time_total for e in prof.events() if e.name != "mine")
    assert mine.cpu_time_total >= inner
    assert mine.self_cpu_time_total == pytest.approx(mine.cpu_time_total - inner)
    mul = next(e for e in prof.events() if e.name == "mul")
    assert mul.input_shapes[0] == (50, 30)
    work("cpu")
    assert len(prof.events()) == len(names)  # nothing is recorded afterwards


def test_averages_and_their_table() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        for _ in range(3):
            work("cpu")
            prof.step()
    averages = prof.key_averages()
    (mul,) = [e for e in averages if e.name == "mul"]
    assert mul.count == 3
    assert mul.cpu_time == pytest.approx(mul.cpu_time_total / 3)
    text = averages.table(sort_by="cpu_time_total", row_limit=2)
    lines = text.splitlines()
    assert "Self CPU" in lines[1]
    assert len(lines) == 3 + 2 + 3
    assert "Self CPU time total" in text
    with pytest.raises(ValueError, match="cannot be sorted by 'price'"):
        averages.table(sort_by="price")
    assert averages.total_average().count == sum(e.count for e in averages)


def test_the_chrome_trace(tmp_path: Path) -> None:
    with profile() as prof:
        work("cpu")
        prof.step()
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = trace["traceEvents"]
    assert {"M", "X", "i"} <= {e["ph"] for e in events}
    complete = [e for e in events if e["ph"] == "X"]
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in complete)


def test_only_one_at_a_time_and_an_exception_ends_it() -> None:
    ready: list[object] = []
    with profile(on_trace_ready=ready.append), pytest.raises(RuntimeError, match="already running"):
        profile().start()
    assert len(ready) == 1
    with pytest.raises(ValueError, match="mine"), profile(on_trace_ready=ready.append):
        raise ValueError("mine")
    assert len(ready) == 1
    with record_function("outside"):  # does nothing
        pass
