"""The harness, run as people run it; what it measures is not asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from bench.cases import CASES
from bench.overhead import measured
from bench.timing import interleaved, sampler
from bench.worker import started

ROOT = Path(__file__).parent.parent.parent
GL = tg.device("gl")


def bench(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def saved(*args: str) -> dict[str, Any]:
    """The record that a command writes, which is then removed."""
    name = "test-of-the-harness"
    path = ROOT / "bench" / "results" / f"{name}.json"
    try:
        result = bench(*args, "--save", name)
        assert result.returncode == 0, result.stderr
        return json.loads(path.read_text()) | {"text": result.stdout}
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.needs != "gpu"])
def test_every_case_runs(name: str) -> None:
    run = CASES[name].build(tg)
    first = run()
    second = run()
    if isinstance(first, float):  # a training step gives its loss, on the same batch
        assert second != first


@pytest.mark.usefixtures("gl_target")
@pytest.mark.parametrize("name", ["sum-1024", "matmul-64x784x256", "mlp-sgd", "mlp-sgd-captured"])
def test_cases_on_gl_equal_those_on_the_cpu(name: str) -> None:
    with GL:
        start, finish, about = started(CASES[name].build(tg), "gl")
        found: Any = [start() for _ in range(3)][-1]
        finish()
    run = CASES[name].build(tg)
    expected: Any = [run() for _ in range(4)][-1]
    found, expected = (x if isinstance(x, float) else x.cpu().numpy() for x in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert about()["launches"] > 0


@pytest.mark.usefixtures("gl_target")
def test_overhead_has_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    rows: Any = measured(rounds=2)["rows"]
    assert len(rows) == len(capsys.readouterr().out.splitlines()) - 1
    assert all(row["median_s"] > 0 for row in rows)
    assert all(row["launches"] > 0 for row in rows if "captured" in str(row["case"]))


def test_run_prints_a_line_a_case_and_saves_it() -> None:
    record = saved("run", "small-add", "matmul-512", "--budget", "0.05")
    assert [row["case"] for row in record["rows"]] == ["small-add", "matmul-512"]
    assert all(row["tensorgl"]["median_s"] > 0 for row in record["rows"])
    assert record["rows"][1]["tensorgl"]["gflops"] > 0
    assert "small-add" in record["text"]


@pytest.mark.usefixtures("gl_target")
def test_compare_on_gl_beside_the_cpu_and_without_fusion(gl_target: str) -> None:
    side, unfused = f"gl-{gl_target}", f"gl-{gl_target}-unfused"
    record = saved(
        *("compare", "small-add", "exp-max-1m", "--device", "gl", "--target", gl_target),
        *("--peer", "numpy", "--peer", "unfused", "--budget", "0.05"),
    )
    add, chain = record["rows"]
    assert add[side]["launches"] == chain[side]["launches"] == 1
    assert chain[unfused]["launches"] == 5
    assert set(chain["ratios"]) == {"numpy", unfused}
    assert record["devices"][side]["target"] == gl_target
    assert record["devices"][side]["renderer"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no-such-case"], "unknown case 'no-such-case'"),
        (["run", "--target", "compute"], "--target is for --device gl"),
        (["compare", "--peer", "numpy"], "--peer numpy is for --device gl"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    result = bench(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_interleaved_medians_order_as_the_work_does() -> None:
    work = {"long": sampler(lambda: time.sleep(0.004)), "short": sampler(lambda: None)}
    timings = interleaved(work, budget=0.1)
    assert timings["short"].median < timings["long"].median
    assert timings["short"].fastest <= timings["short"].median
