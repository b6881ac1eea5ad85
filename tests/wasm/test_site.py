"""The static site: what is in it, that it is current, and that its bytecode is what a tab imports."""

from __future__ import annotations

import _imp
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tensorgl.wasm import site, vendor

ROOT = Path(__file__).parent.parent.parent


def unpacked(folder: Path) -> dict[str, bytes]:
    """The files of a site's bundle."""
    (bundle,) = folder.glob("*.bundle")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(bundle.read_bytes()))) as archive:
        return {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
        }


def test_the_sources_are_those_of_the_checkout() -> None:
    files = site.sources()
    for name in (
        "tensorgl/__init__.py",
        "tensorgl/shaders/matmul.glsl",
        "tensorgl/wasm/gl.js",
        "tensorgl/wasm/gl_memory.js",
        "tensorgl/datasets/digits-8x8.npz",
        "tensorgl/examples/poem.txt",
    ):
        assert name in files
    assert not [name for name in files if "__pycache__" in name or "/results/" in name]


def test_the_wheel_can_be_installed(tmp_path: Path) -> None:
    path = tmp_path / "tensorgl-0.1.0-py3-none-any.whl"
    path.write_bytes(site.wheel(site.sources()))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(tmp_path / "to"), str(path)], check=True)
    check = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tensorgl, importlib.metadata as m;"
        "from tensorgl.wasm import site;"
        "print(tensorgl.__file__, m.version('tensorgl'), len(site.sources()), site.wheel(site.sources()) =="
        "open(sys.argv[2], 'rb').read())"
    )
    command = [sys.executable, "-I", "-c", check, str(tmp_path / "to"), str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    # The installed package makes the very wheel that it was installed from.
    assert said == [
        str(tmp_path / "to/tensorgl/__init__.py"),
        "0.1.0",
        str(len(site.sources())),
        "True",
    ]


def test_the_cached_site(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = site.cached()
    manifest = json.loads((folder / "site.json").read_text())
    for name in (
        manifest["bundle"],
        manifest["wheel"],
        "index.html",
        "worker.js",
        "vendor/uplot.js",
    ):
        assert (folder / name).is_file(), name
    lock = json.loads((folder / "pyodide/pyodide-lock.json").read_text())
    for package in lock["packages"].values():  # as Pyodide checks it in the tab
        content = (folder / "pyodide" / package["file_name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == package["sha256"]
    monkeypatch.setattr(vendor, "pyodide", lambda *_: pytest.fail("built again, though current"))
    assert site.cached() == folder


def test_the_bundle_has_bytecode_that_is_never_checked() -> None:
    files = unpacked(site.cached())
    assert "tensorgl/wasm/playground.css" not in files  # the page has its own
    modules = [name for name in files if name.endswith(".py")]
    assert len(modules) > 200
    raw = int.from_bytes(vendor.MAGIC, "little")
    for name in modules:
        folder, _, module = name.rpartition("/")
        compiled = files[f"{folder}/__pycache__/{module[:-3]}.cpython-313.pyc"]
        assert compiled[:4] == vendor.MAGIC
        assert compiled[4:8] == b"\1\0\0\0"
        assert compiled[8:16] == _imp.source_hash(raw, files[name]), name


def test_changed_sources_make_another_site(monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.cached()
    changed = {**site.sources(), "tensorgl/version.py": b"__version__ = '0.1.0'\nnew = True\n"}
    monkeypatch.setattr(site, "sources", lambda: changed)
    after = site.cached()
    try:
        assert after != before
        assert unpacked(after)["tensorgl/version.py"] == changed["tensorgl/version.py"]
        assert unpacked(before)["tensorgl/version.py"] != changed["tensorgl/version.py"]
    finally:
        shutil.rmtree(after)


def test_no_python_for_bytecode_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path)
    monkeypatch.setattr(vendor, "MAGIC", b"none")
    monkeypatch.setenv("PATH", "")
    bundle = site._bundle({"tensorgl/__init__.py": b""}, tmp_path)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(bundle))) as archive:
        assert archive.getnames() == ["tensorgl/__init__.py"]
    assert "no compiled bytecode" in capsys.readouterr().err


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="other files"):
        site.build(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_build_replaces_an_older_site(tmp_path: Path) -> None:
    for _ in range(2):
        site.build(tmp_path / "site")
        (tmp_path / "site/leftover.js").write_text("")
    table = site.sizes(site.cached())
    assert table.splitlines()[0].split() == ["part", "bytes", "gzip"]
    total = sum(path.stat().st_size for path in site.cached().rglob("*") if path.is_file())
    assert table.splitlines()[-1].split()[2] == f"{total:,}"


def test_the_wheel_has_what_setuptools_would_put_in(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"  # without the leavings of older builds
    ignored = shutil.ignore_patterns(".*", "build", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(copy)], check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(built).namelist()) - {
        "tensorgl-0.1.0.dist-info/top_level.txt"
    } == set(zipfile.ZipFile(io.BytesIO(site.wheel(site.sources()))).namelist())
