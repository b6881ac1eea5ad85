"""The harness, run as people run it; what it measures is not asserted here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from bench import html, timing
from bench.cases import CASES
from bench.local import Local
from bench.measure import Outcome, measure, relative_error
from bench.overhead import measured
from bench.records import RESULTS, append, records
from bench.table import Table
from bench.timing import Timing, interleaved, sampler
from bench.worker import Stage, UnsupportedError, Worker

ROOT = Path(__file__).parent.parent.parent
GL = tg.device("gl")
NAME = f"test-of-the-harness-{os.getpid()}"


@pytest.fixture(autouse=True)
def _removed() -> Iterator[None]:
    """No test leaves results behind."""
    yield
    for ending in ("json", "jsonl"):
        (RESULTS / f"{NAME}.{ending}").unlink(missing_ok=True)


def bench(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *args]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=300, env=os.environ | environment
    )


def saved(*args: str) -> tuple[list[dict[str, Any]], str]:
    """The records that a command writes, and what it prints."""
    result = bench(*args, "--save", NAME)
    assert result.returncode == 0, result.stderr
    lines = (RESULTS / f"{NAME}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], result.stdout


def test_run_prints_a_line_a_case_and_adds_records() -> None:
    arguments = ("run", "small-add", "softmax-*", "--budget", "0.05")
    found, text = saved(*arguments)
    assert [r["case"] for r in found] == ["small-add", "softmax-1024", "softmax-64x10"]
    assert all(r["side"] == "tensorgl" and r["error"] == 0 for r in found)
    assert all(0 < r["fastest_s"] <= r["median_s"] and r["samples"] >= 7 for r in found)
    assert found[1]["sizes"] == {"rows": 1024, "cols": 1024}
    assert found[0]["machine"]["versions"]["numpy"] == np.__version__
    assert "softmax-64x10" in text
    again, _ = saved(*arguments)
    assert again[: len(found)] == found
    assert len(again) == 2 * len(found)
    assert len({r["round"] for r in again}) == len(again)


@pytest.mark.usefixtures("gl_target")
def test_compare_on_gl_beside_the_cpu_and_without_fusion(gl_target: str) -> None:
    side, unfused = f"gl-{gl_target}", f"gl-{gl_target}-unfused"
    found, text = saved(
        *("compare", "small-add", "chain-1m", "--device", "gl", "--target", gl_target),
        *("--peer", "numpy", "--peer", "unfused", "--budget", "0.05"),
    )
    by_side = {(r["case"], r["side"]): r for r in found}
    assert set(by_side) == {
        (c, s) for c in ("small-add", "chain-1m") for s in (side, "numpy", unfused)
    }
    fused = by_side["chain-1m", side]
    assert fused["launches"] == by_side["small-add", side]["launches"] == 1
    assert by_side["chain-1m", unfused]["launches"] == 6
    assert 0 < fused["gpu_s"] < 10
    assert fused["machine"]["target"] == gl_target
    assert fused["machine"]["renderer"]
    assert "renderer" not in by_side["chain-1m", "numpy"]["machine"]
    assert fused["round"] == by_side["chain-1m", "numpy"]["round"] != found[0]["round"]
    assert "geometric mean" in text
    assert f"vs {unfused}" in text


def test_cases_of_the_start_take_a_process_a_sample() -> None:
    found, _ = saved("run", "start-up", "first-step-mlp", "--budget", "0")
    assert [r["samples"] for r in found] == [3, 3]
    assert all(r["fastest_s"] > 0 for r in found)
    assert found[0]["median_s"] > found[0]["first_s"]  # the process has to start, too


def test_a_side_that_fails_is_said_and_the_exit_code_is_1() -> None:
    result = bench("run", "small-add", "--device", "gl", TENSORGL_GL_TARGET="nonsense")
    assert result.returncode == 1
    assert "gl failed: " in result.stdout
    assert "1 of 1 cases failed or were wrong" in result.stderr


class Off(Local):
    """Computes something else."""

    def check(self) -> list[np.ndarray]:
        return [array * 1.001 for array in super().check()]


class Here(Stage):
    """Sides in this process, one of which is wrong and one of which lacks the operation."""

    def worker(self, side: str, case: str) -> Worker:
        if side == "torch":
            raise UnsupportedError("it has none")
        kind = Off if side == "numpy" else Local
        return kind(tg, "cpu", CASES[case])


def test_a_wrong_result_is_not_timed() -> None:
    sides = ["tensorgl", "numpy", "torch"]
    outcomes = measure(CASES["softmax-64x10"], sides, Here(sides), budget=0.01)
    right, wrong, without = outcomes.values()
    assert right.timing and right.error == 0 and not right.fault
    assert wrong.timing is None and wrong.error == pytest.approx(0.001)
    assert wrong.fault.startswith("wrong: differs from numpy's result by 1.0e-03")
    assert without == Outcome(unsupported="it has none")
    table = Table(["softmax-64x10"], sides)
    line, reason, fault = table.lines(CASES["softmax-64x10"], outcomes)
    assert line.split()[4:7] == ["wrong", "-", "-"]
    assert reason == "  not supported by torch: it has none"
    assert fault.startswith("  numpy wrong: ")
    assert [r["side"] for r in records(CASES["softmax-64x10"], outcomes)] == ["tensorgl"]


def test_the_table_has_ratios_and_their_geometric_mean() -> None:
    table = Table(["small-add", "chain-1m"], ["gl", "numpy"])
    for case, theirs in (("small-add", 2e-3), ("chain-1m", 32e-3)):
        times = {"gl": 4e-3, "numpy": theirs}
        outcomes = {s: Outcome(timing=Timing(t, t, t / 10, 9)) for s, t in times.items()}
        line = table.lines(CASES[case], outcomes)[0]
        assert f"{theirs / 4e-3:.2f}x" in line
        assert "4.00 ms ±10%" in line
    assert table.foot()[0].split() == ["geometric", "mean", "2.00x"]


def test_records_round_trip_to_the_report(tmp_path: Path) -> None:
    case = CASES["matmul-64"]
    about = {"renderer": "a device", "launches": 3, "gpu_s": 0.001, "versions": {"x": "1"}}
    times = {
        "gl": Outcome(about, 1e-7, Timing(2e-3, 1e-3, 1e-4, 8)),
        "numpy": Outcome({}, 0.0, Timing(1e-3, 1e-3, 1e-4, 8)),
    }
    made = records(case, times)
    path = append(NAME, made)
    assert [json.loads(line) for line in path.read_text().splitlines()] == made
    assert made[0]["flops"] == 2 * 64**3
    assert made[0]["bytes"] == 3 * 64**2 * 4
    assert made[0]["machine"]["versions"]["x"] == "1"
    out = tmp_path / "report.html"
    result = bench("report", str(path), "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert "matmul-64" in out.read_text()
    assert html.readme_table([path])


def test_relative_errors() -> None:
    a = np.array([1.0, -4.0])
    assert relative_error([a], [a]) == 0
    assert relative_error([a + 0.1], [a]) == pytest.approx(0.025)
    assert relative_error([a, a * 3], [a, a]) == pytest.approx(2)
    assert relative_error([np.zeros(2)], [np.zeros(2)]) == 0
    for wrong in ([a, a], [a[:1]], [a * np.nan], [a * np.inf]):
        assert relative_error(wrong, [a]) == np.inf


@pytest.mark.usefixtures("gl_target")
def test_overhead_has_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    rows: Any = measured(rounds=2)["rows"]
    assert len(rows) == len(capsys.readouterr().out.splitlines()) - 1
    assert all(row["median_s"] > 0 for row in rows)
    assert all(row["launches"] > 0 for row in rows if "captured" in str(row["case"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no-such-case"], "unknown case 'no-such-case'"),
        (["run", "no-such-*"], "unknown case 'no-such-*'"),
        (["run", "--target", "compute"], "--target is for --device gl"),
        (["run", "--browser", "gpu", "--device", "cpu"], "--device is not for --browser"),
        (["compare", "--peer", "numpy"], "--peer numpy is for --device gl or --browser"),
        (["compare", "--peer", "unfused"], "--peer unfused is for --device gl"),
        (["compare", "--peer", "tfjs"], "--peer tfjs is for --browser"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    result = bench(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_the_tensorgl_command_has_it_and_imports_it_only_then() -> None:
    command = [sys.executable, "-m", "tensorgl", "bench", "run", "no-such-case"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert result.returncode == 2
    assert "tensorgl bench: error: unknown case" in result.stderr
    code = "import sys; from tensorgl import cli; cli.main(['info']); print('tensorgl.bench' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "False", result.stderr


def test_cases_and_workers_need_no_optional_packages() -> None:
    """A tab imports the cases, and a worker should start quickly."""
    code = "import sys, bench.local; print({'tqdm', 'matplotlib', 'aiohttp'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert result.stdout == "set()\n", result.stderr


def test_interleaved_medians_order_as_the_work_does() -> None:
    work = {"long": sampler(lambda: time.sleep(0.004)), "short": sampler(lambda: None)}
    timings = interleaved(work, budget=0.1)
    assert timings["short"].median < timings["long"].median
    assert timings["short"].fastest <= timings["short"].median


def test_samples_are_taken_in_turns_with_as_many_calls_for_all() -> None:
    log: list[tuple[str, int]] = []

    def side(name: str, seconds: float) -> Any:
        def sample(n: int) -> float:
            log.append((name, n))
            return seconds

        return sample

    work = {"a": side("a", 0.001), "b": side("b", 0.01), "c": side("c", 0.5)}
    interleaved(work, budget=0, least=3)
    assert log[3:] == [("a", 100), ("b", 100), ("c", 2)] * 3
    log.clear()
    interleaved(work, budget=0, least=2, calls=1)
    assert log == [("a", 1), ("b", 1), ("c", 1)] * 2


def test_slow_sides_have_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PATIENCE", 0.0)
    assert interleaved({"a": lambda n: 1.0}, budget=0, least=7)["a"].samples == timing.FEWEST


@pytest.mark.parametrize(("seconds", "warming"), [(0.0, True), (2 * timing.WARM, False)])
def test_what_takes_long_is_not_called_to_warm_up(seconds: float, warming: bool) -> None:
    log: list[str] = []

    def call() -> None:
        log.append("call")
        time.sleep(seconds)

    sample = sampler(call, lambda: log.append("finish"))
    log.clear()
    assert sample(2) >= seconds
    assert log[-3:] == ["call", "call", "finish"]
    assert (len(log) > 3) == warming


@pytest.mark.usefixtures("gl_target")
def test_a_call_that_is_timed_is_computed() -> None:
    """What nobody looks at is never computed on a lazy device, so a worker must look."""
    with GL:
        local = Local(tg, "gl", CASES["sum-rows-1024"])
        before = local._backend.counters()["launches"]
        local.call()
        local.call()
        after = local._backend.counters()["launches"]
    assert after - before == 2 * local.about["launches"] > 0
