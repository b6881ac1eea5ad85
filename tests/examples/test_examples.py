"""Each example, run as a script: short runs of all on every device, and the whole demo with its accuracy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import tensorgl.examples

FOLDER = Path(tensorgl.examples.__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"
SHORT = {
    "digits_cnn": (["--epochs", "1"], ["learning-curve.png", "confusion-matrix.png"]),
    "mlp_regression": (["--steps", "30"], ["regression.png"]),
    "vae_digits": (["--epochs", "1"], ["vae-digits.png"]),
    "pole_balancing": (["--rounds", "2"], ["pole-balancing.png"]),
    "maml": (["--rounds", "2"], ["maml.png"]),
    "char_gpt": (["--steps", "2", "--length", "20"], []),
}


def run(name: str, *args: str, cwd: Path, **settings: str) -> str:
    """What the example prints; on the CPU unless the settings, environment variables, say otherwise."""
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *args]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env=os.environ | {"TENSORGL_DEVICE": "cpu"} | settings,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


NUMBER = re.compile(r"-?\d+\.\d+")


@cache
def printed_on_the_cpu(name: str, cwd: Path) -> str:
    return run(name, *SHORT[name][0], cwd=cwd)


def test_every_example_is_here() -> None:
    assert {p.stem for p in FOLDER.glob("[!_]*.py")} == set(SHORT)


@pytest.mark.parametrize("name", SHORT)
def test_examples_are_short(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 100


@pytest.mark.parametrize("name", SHORT)
def test_a_short_run(name: str, tmp_path: Path) -> None:
    arguments, pictures = SHORT[name]
    output = run(name, *arguments, cwd=tmp_path)
    for picture in pictures:
        path = tmp_path / "demo-output" / picture
        assert path.read_bytes().startswith(PNG)
        assert picture in output
    if not pictures:
        assert len(output) > 20


@pytest.mark.parametrize("name", SHORT)
def test_a_short_run_on_gl_prints_what_the_cpu_prints(
    name: str, gl_target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    settings = {"TENSORGL_DEVICE": "gl", "TENSORGL_GL_TARGET": gl_target}
    found = run(name, *SHORT[name][0], cwd=folder, **settings)
    expected = printed_on_the_cpu(name, folder)
    assert NUMBER.sub("", found) == NUMBER.sub("", expected)
    numbers, reference = ([float(x) for x in NUMBER.findall(t)] for t in (found, expected))
    if name == "digits_cnn":  # the last is how long it took
        numbers, reference = numbers[:-1], reference[:-1]
    assert numbers == pytest.approx(reference, rel=0.02, abs=0.02)


def test_the_demo_reads_98_percent(tmp_path: Path) -> None:
    output = run("digits_cnn", cwd=tmp_path)
    accuracies = [float(a) for a in re.findall(r"test accuracy (\d+\.\d+) %", output)]
    assert accuracies[-1] >= 98.0
    assert "trained on 1438 digits" in output or "trained on 1437 digits" in output


def test_char_gpt_learns_the_text_it_is_given(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("abcdefghij " * 60)
    output = run("char_gpt", str(text), "--steps", "150", "--length", "33", cwd=tmp_path)
    assert "abcdefghij abcdefghij" in output
