"""Third-party parts: whatever the source, a file is kept only with the hash it should have.

A small Pyodide of made-up files stands for the real one, which the browser tests use.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensorgl.wasm import vendor
from tensorgl.wasm.__main__ import main

FILES = {
    "pyodide.mjs": b"export {}",
    "numpy-1.whl": b"numbers",
    "six-1.whl": b"six",
    "odd.whl": b"",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def package(file: str, *depends: str) -> dict[str, Any]:
    return {"file_name": file, "sha256": sha256(FILES[file]), "depends": list(depends)}


LOCK = json.dumps(
    {
        "packages": {
            "numpy": package("numpy-1.whl", "six"),
            "six": package("six-1.whl"),
            "odd": package("odd.whl"),
        }
    }
).encode()
PINS = {
    "CORE": {"pyodide-lock.json": sha256(LOCK), "pyodide.mjs": sha256(FILES["pyodide.mjs"])},
    "PACKAGES": ["numpy"],
    "AS_RELEASED": {},
}
NEEDED = {"pyodide-lock.json", "pyodide.mjs", "numpy-1.whl", "six-1.whl"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and pins of the small Pyodide."""
    for name, value in PINS.items():
        monkeypatch.setattr(vendor, name, value)
    monkeypatch.setattr(vendor, "cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """A folder that has the small Pyodide."""
    folder = tmp_path / "offline"
    folder.mkdir()
    for name, content in {**FILES, "pyodide-lock.json": LOCK}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: a proxy that is not there, no npm client, and a pip that may not ask."""
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def served(offline: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The official distribution is a server that has the small Pyodide; the paths it was asked."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(offline))

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_address[1]}/"
        (offline / f"pyodide@{vendor.PYODIDE}").symlink_to(offline)
        monkeypatch.setattr(vendor, "_NPM_URL", base)
        monkeypatch.setattr(vendor, "_WHEELS_URL", base)
        yield asked
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("nobody")
def test_an_offline_folder_is_enough(cache: Path, offline: Path) -> None:
    folder = vendor.pyodide(offline)
    assert folder.is_relative_to(cache)
    assert {path.name for path in folder.iterdir()} == NEEDED  # not what nobody needs
    assert (folder / "numpy-1.whl").read_bytes() == b"numbers"
    assert vendor.pyodide() == folder  # and from now on the cache is


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_another_hash_is_refused(name: str, cache: Path, offline: Path) -> None:
    right = (offline / name).read_bytes()
    wrong = right + b" "
    (offline / name).write_bytes(wrong)
    with pytest.raises(vendor.VendorError) as caught:
        vendor.pyodide(offline)
    for said in (name, sha256(right), sha256(wrong)):
        assert said in str(caught.value)
    assert not list(cache.rglob(name))


@pytest.mark.usefixtures("cache")
def test_a_damaged_cache_is_repaired(offline: Path) -> None:
    folder = vendor.pyodide(offline)
    for damage in (b"", b"numbers, but not these"):
        (folder / "numpy-1.whl").write_bytes(damage)
        assert (vendor.pyodide(offline) / "numpy-1.whl").read_bytes() == b"numbers"


@pytest.mark.usefixtures("cache")
def test_an_offline_folder_that_lacks_a_file(offline: Path) -> None:
    (offline / "six-1.whl").unlink()
    with pytest.raises(vendor.VendorError, match=r"six-1\.whl could not be had(?s:.*)No such file"):
        vendor.pyodide(offline)


@pytest.mark.usefixtures("cache", "nobody")
def test_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vendor"]) == 1
    said = capsys.readouterr().err
    for words in ("could not be had", "npm client: not installed", "--offline DIR"):
        assert words in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("nobody")
def test_no_network_for_the_wheels(cache: Path, offline: Path) -> None:
    folder = cache / f"pyodide-{vendor.PYODIDE}"
    folder.mkdir(parents=True)
    for name in PINS["CORE"]:
        (folder / name).write_bytes((offline / name).read_bytes())
    with pytest.raises(
        vendor.VendorError, match=r"numpy-1\.whl(?s:.*)distribution(?s:.*)the pip client"
    ):
        vendor.pyodide()


@pytest.mark.usefixtures("cache", "nobody")
def test_the_official_distribution(served: list[str]) -> None:
    folder = vendor.pyodide()
    assert {path.name for path in folder.iterdir()} == NEEDED
    assert len(served) == len(NEEDED)
    vendor.pyodide()
    assert len(served) == len(NEEDED)  # once


@pytest.mark.usefixtures("cache", "nobody")
def test_a_changed_file_is_not_asked_for_elsewhere(served: list[str], offline: Path) -> None:
    (offline / "numpy-1.whl").write_bytes(b"numbers of somebody else")
    with pytest.raises(vendor.VendorError, match=r"numpy-1\.whl is not what it should be"):
        vendor.pyodide()
    assert sum(path.endswith("numpy-1.whl") for path in served) == 1


def test_two_processes_at_once(tmp_path: Path, offline: Path) -> None:
    script = (
        "import json, pathlib, sys; from tensorgl.wasm import vendor;"
        "vars(vendor).update(json.loads(sys.argv[1]));"
        "vendor.cache = lambda: pathlib.Path(sys.argv[3]);"
        "print(vendor.pyodide(pathlib.Path(sys.argv[2])))"
    )
    command = [
        sys.executable,
        "-c",
        script,
        json.dumps(PINS),
        str(offline),
        str(tmp_path / "cache"),
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    fetched = [line for _, err in said for line in err.splitlines()]
    assert len(fetched) == len(NEEDED)  # each file once, by whoever came first


def part(folder: Path, content: bytes) -> dict[str, Any]:
    """A packed npm part with one file, and its entry of the lock."""
    (folder / "index.js").write_bytes(content)
    packed = folder / "some-part-1.0.0.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(folder / "index.js", "package/dist/index.js")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    files = {"dist/index.js": {"name": "some/part.js", "sha256": sha256(content)}}
    return {"version": "1.0.0", "integrity": f"sha512-{digest}", "files": files}


@pytest.mark.usefixtures("cache", "nobody")
def test_npm_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = {"@some/part": part(tmp_path, b"export const a = 1;")}
    (tmp_path / "frontend.json").write_text(json.dumps(lock))
    monkeypatch.setattr(vendor, "__file__", str(tmp_path / "vendor.py"))
    with pytest.raises(
        vendor.VendorError, match=r"@some/part@1\.0\.0/dist/index\.js could not be had"
    ):
        vendor.frontend(tmp_path / "vendor", tmp_path / "elsewhere")
    vendor.frontend(tmp_path / "vendor", tmp_path)
    assert (tmp_path / "vendor/some/part.js").read_bytes() == b"export const a = 1;"
    vendor.frontend(tmp_path / "again")  # of the cache
    assert (tmp_path / "again/some/part.js").exists()


@pytest.mark.usefixtures("cache")
def test_a_changed_npm_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = {"@some/part": part(tmp_path, b"export const a = 1;")}
    (tmp_path / "frontend.json").write_text(json.dumps(lock))
    monkeypatch.setattr(vendor, "__file__", str(tmp_path / "vendor.py"))
    part(tmp_path, b"export const a = 2;")
    with pytest.raises(
        vendor.VendorError, match=r"some-part-1\.0\.0\.tgz is not what it should be"
    ):
        vendor.frontend(tmp_path / "vendor", tmp_path)
    assert not (tmp_path / "vendor").exists()


def test_the_lock_records_no_addresses() -> None:
    text = Path(vendor.__file__).with_name("frontend.json").read_text(encoding="utf-8")
    assert "://" not in text
    for name, entry in json.loads(text).items():
        assert set(entry) == {"version", "integrity", "files"}, name
        assert entry["integrity"].startswith("sha512-")
        assert any("LICEN" in file.upper() for file in entry["files"]), f"{name}: no license"


def test_a_missing_extra_says_how_to_install_it() -> None:
    script = (
        "import sys; sys.modules['platformdirs'] = None;"
        "from tensorgl.wasm.__main__ import main; sys.exit(main(['vendor']))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'tensorgl[browser]'" in result.stderr
    assert os.linesep.join(result.stderr.splitlines()[1:]) == ""  # and no more than that
