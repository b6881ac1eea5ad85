"""The harness, run as people run it; what it measures is not asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tensorgl as tg
from bench.cases import CASES
from bench.timing import interleaved, sampler

ROOT = Path(__file__).parent.parent.parent


def bench(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.mark.parametrize("name", CASES)
def test_every_case_runs(name: str) -> None:
    run = CASES[name].build(tg)
    first = run()
    second = run()
    if isinstance(first, float):  # a training step gives its loss, on the same batch
        assert second != first


def test_run_prints_a_line_a_case_and_saves_it(tmp_path: Path) -> None:
    name = "test-of-the-harness"
    path = ROOT / "bench" / "results" / f"{name}.json"
    try:
        result = bench("run", "small-add", "matmul-512", "--budget", "0.05", "--save", name)
        assert result.returncode == 0, result.stderr
        saved = json.loads(path.read_text())
    finally:
        path.unlink(missing_ok=True)
    assert [row["case"] for row in saved["rows"]] == ["small-add", "matmul-512"]
    assert all(row["tensorgl"]["median_s"] > 0 for row in saved["rows"])
    assert "small-add" in result.stdout


def test_unknown_case() -> None:
    result = bench("run", "no-such-case")
    assert result.returncode == 2
    assert "unknown case 'no-such-case'" in result.stderr


def test_interleaved_medians_order_as_the_work_does() -> None:
    work = {"long": sampler(lambda: time.sleep(0.004)), "short": sampler(lambda: None)}
    timings = interleaved(work, budget=0.1)
    assert timings["short"].median < timings["long"].median
    assert timings["short"].fastest <= timings["short"].median
