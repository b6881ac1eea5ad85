"""The wheel and the editable install hold what the package needs, mapped folders included."""

from __future__ import annotations

import configparser
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECK = (
    "import tensorgl, tensorgl.bench, tensorgl.shaders, tensorgl.wasm, tensorgl.examples;"
    "from tensorgl.datasets import digits; assert len(digits()) == 1797;"
    "print(float((tensorgl.ones(3) * 2).sum()))"
)


def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_is_listed() -> None:
    listed = set(config()["options"]["packages"].split())
    mapped = {
        "tensorgl": "tensorgl",
        "bench": "tensorgl.bench",
        "shaders": "tensorgl.shaders",
        "wasm": "tensorgl.wasm",
    }
    found = set()
    for folder, package in mapped.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *inner)))
    assert listed == found


def install(tmp_path: Path, *arguments: str) -> Path:
    """Python of a new environment that sees this one's dependencies and has the project installed."""
    venv.create(tmp_path / "venv", with_pip=False, system_site_packages=False)
    python = tmp_path / "venv" / "bin" / "python"
    here = subprocess.run(
        [
            sys.executable,
            "-c",
            "import numpy, pathlib; print(pathlib.Path(numpy.__file__).parent.parent)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(here + "\n")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-deps",
            *arguments,
        ],
        check=True,
        timeout=300,
    )
    return python


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_install_works(kind: str, tmp_path: Path) -> None:
    arguments = ["--editable", str(ROOT)]
    if kind == "wheel":
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        (wheel,) = tmp_path.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        assert "tensorgl/datasets/digits-8x8.npz" in names
        assert "tensorgl/examples/poem.txt" in names
        assert not [n for n in names if n.startswith(("tests/", "bench/", "docs/"))]
        arguments = ["--force-reinstall", str(wheel)]
    python = install(tmp_path, *arguments)
    command = [str(python), "-c", CHECK]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert result.stdout == "6.0\n", result.stderr
