"""The static site that runs tensorgl in a browser: pages, Pyodide, the package and its wheel.

`build` writes it into a folder for any web server; `cached` keeps one for this machine's own use.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tensorgl.version import __version__

from . import page, vendor

__all__ = ["build", "cached", "sizes", "wheel"]

# Folders that the checkout has beside the package, and an installation inside it.
_MAPPED = ("bench", "shaders", "wasm")
_PAGE = (".css", ".html", ".js", ".svg")  # of the folder wasm: what the page is made of
_KEEP = 8  # cached sites; an older one may still be in use by a tab that somebody left open
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every zip entry: the same sources give the same bytes


def build(folder: Path, offline: Path | None = None) -> None:
    """Write the site into a folder, which is made anew if it exists.

    Args:
        folder: The folder.
        offline: A folder with the third-party parts, for a machine without a network.

    Raises:
        VendorError: a third-party part could not be had.
    """
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / "site.json").exists():
        raise FileExistsError(f"{folder} has other files: give an empty or a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _write(folder, sources(), offline, shutil.copyfile)


def cached() -> Path:
    """A site in the user's cache folder that is current with the installed package."""
    files = sources()
    key = _key(files)
    folder = vendor.cache() / "sites" / key
    with vendor.locked("sites"):
        # The folder appears under its name only when all of it is written.
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            _write(folder, files, None, _link)
        os.utime(folder)
        newest = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in newest[:-_KEEP]:
            shutil.rmtree(old)
    return folder


def sources() -> dict[str, bytes]:
    """The package's files by their path in an installation, `tensorgl/…`."""
    root = Path(__file__).parent.parent / "tensorgl"  # a checkout: wasm is beside the package
    if not root.is_dir():
        root = root.parent
    folders = {"tensorgl": root}
    for name in _MAPPED:
        if not (root / name).is_dir():
            folders[f"tensorgl/{name}"] = root.parent / name
    found = {
        f"{inside}/{path.relative_to(folder).as_posix()}": path
        for inside, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", "results"} & set(path.relative_to(folder).parts)
    }
    return {name: found[name].read_bytes() for name in sorted(found)}


def wheel(files: Mapping[str, bytes]) -> bytes:
    """The package's wheel, from its files and the metadata of the installed distribution."""
    installed = importlib.metadata.distribution("tensorgl")
    info = f"tensorgl-{__version__}.dist-info"
    said = {
        "METADATA": installed.read_text("METADATA") or installed.read_text("PKG-INFO"),
        "entry_points.txt": installed.read_text("entry_points.txt"),
        # An installation has it among its metadata, a checkout beside them.
        "licenses/LICENSE": installed.read_text("licenses/LICENSE")
        or installed.read_text("../LICENSE"),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tensorgl\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    named = {f"{info}/{name}": text.encode() for name, text in said.items() if text}
    everything = {**files, **named}
    record = "".join(
        f"{name},sha256={_urlsafe(hashlib.sha256(content).digest())},{len(content)}\n"
        for name, content in everything.items()
    )
    return _zip({**everything, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()})


def sizes(folder: Path) -> str:
    """A table of a site's parts: bytes, and bytes as a web server sends them, compressed."""
    parts: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            inside = path.relative_to(folder)
            part = f"{inside.parts[0]}/" if len(inside.parts) > 1 else inside.name
            row = parts.setdefault(part, [0, 0])
            content = path.read_bytes()
            row[0] += len(content)
            row[1] += len(gzip.compress(content, 6))
    parts["in all"] = [sum(column) for column in zip(*parts.values(), strict=True)]
    lines = [f"{'part':<36}{'bytes':>12}{'gzip':>12}"]
    lines += [f"{part:<36}{whole:>12,}{packed:>12,}" for part, (whole, packed) in parts.items()]
    return "\n".join(lines)


def _write(
    folder: Path,
    files: Mapping[str, bytes],
    offline: Path | None,
    place: Callable[[Path, Path], object],
) -> None:
    """Write the site beside its folder, then swap the folders."""
    pyodide = vendor.pyodide(offline)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for name, content in files.items():
            if name.startswith("tensorgl/wasm/") and name.endswith(_PAGE):
                (temporary / name.removeprefix("tensorgl/wasm/")).write_bytes(content)
        (temporary / "examples.json").write_text(page.gallery(files), encoding="utf-8")
        vendor.frontend(temporary / "vendor", offline)
        page.link(temporary / "vendor")
        _copy_pyodide(pyodide, temporary / "pyodide", place)
        # Not .tar.gz: servers send such a file as an encoded .tar, which browsers then decode.
        bundle = f"tensorgl-{_key(files)}.bundle"
        (temporary / bundle).write_bytes(_bundle(files, pyodide))
        name = f"tensorgl-{__version__}-py3-none-any.whl"
        (temporary / name).write_bytes(wheel(files))
        manifest = {
            "bundle": bundle,
            "wheel": name,
            "version": __version__,
            "python": vendor.PYTHON,
            "pyodide": vendor.PYODIDE,
        }
        (temporary / "site.json").write_text(json.dumps(manifest, indent=2) + "\n")
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _copy_pyodide(source: Path, target: Path, place: Callable[[Path, Path], object]) -> None:
    """Copy Pyodide with a lock that lists the wheels at hand only, so that no other is asked for."""
    target.mkdir()
    lock = json.loads((source / "pyodide-lock.json").read_text(encoding="utf-8"))
    kept = {}
    for name, package in lock["packages"].items():
        wheel = source / package["file_name"]
        if wheel.is_file():
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            kept[name] = {**package, "sha256": digest}
            place(wheel, target / wheel.name)
    for name in vendor.CORE:
        place(source / name, target / name)
    (target / "pyodide-lock.json").unlink()
    text = json.dumps({**lock, "packages": kept})
    (target / "pyodide-lock.json").write_text(text, encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """One file under two names where the file system can: cached sites share what is large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _bundle(files: Mapping[str, bytes], pyodide: Path) -> bytes:
    """What worker.js unpacks: the package without the page's own files, with compiled bytecode.

    A tar file, compressed as one: half the size of a zip of so many small files, and the browser
    inflates it while Pyodide starts.
    """
    package = {
        name: content
        for name, content in files.items()
        if not name.startswith("tensorgl/wasm/")
        or name.endswith((".py", "/gl.js", "/gl_memory.js"))
    }
    compiled = _bytecode({n: c for n, c in package.items() if n.endswith(".py")}, pyodide)
    tag = f"cpython-{vendor.PYTHON.replace('.', '')}"
    for name, content in compiled.items():
        path = Path(name)
        package[(path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").as_posix()] = content
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in package.items():
            info = tarfile.TarInfo(name)
            if len(name) > 100:
                raise ValueError(f"{name}: a path in the bundle may have at most 100 characters")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _bytecode(modules: Mapping[str, bytes], pyodide: Path) -> dict[str, bytes]:
    """Bytecode of the tab's Python for each module; {} where nothing here can make it."""
    kept = vendor.cache() / "bytecode"
    kept.mkdir(parents=True, exist_ok=True)
    paths = {name: kept / _key({name: source}) for name, source in modules.items()}
    missing = {name: modules[name] for name, path in paths.items() if not path.exists()}
    if missing:
        with tempfile.TemporaryDirectory() as temporary:
            given, out = Path(temporary, "sources.zip"), Path(temporary, "out.zip")
            given.write_bytes(_zip(missing))
            command = _compiler(pyodide)
            if command is None:
                print(
                    "tensorgl: the site has no compiled bytecode, so it starts a little slower: "
                    f"install Node.js or Python {vendor.PYTHON} and build it again",
                    file=sys.stderr,
                )
                return {}
            where = f"/lib/python{vendor.PYTHON}/site-packages"
            result = subprocess.run(
                [*command, str(given), str(out), where], stderr=subprocess.PIPE, text=True
            )
            if result.returncode:
                raise RuntimeError(
                    f"compiling the bundle's bytecode with {command[0]}: {result.stderr[-2000:]}"
                )
            with zipfile.ZipFile(out) as archive:
                for name in missing:
                    vendor.write(paths[name], archive.read(name))
    return {name: path.read_bytes() for name, path in paths.items()}


def _compiler(pyodide: Path) -> list[str] | None:
    """The command that runs bytecode.py in the tab's version of Python; None if there is none."""
    program = Path(__file__).with_name("bytecode.py")
    if importlib.util.MAGIC_NUMBER == vendor.MAGIC:
        return [sys.executable, str(program)]
    node = shutil.which("node")
    if node:
        return [node, str(program.with_suffix(".mjs")), str(pyodide), str(program)]
    return None


def _key(files: Mapping[str, bytes]) -> str:
    """A name for these very files."""
    digest = hashlib.sha256(vendor.MAGIC)
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _urlsafe(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
