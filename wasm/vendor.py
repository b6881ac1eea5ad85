"""Third-party parts of the browser side: the pinned Pyodide, its wheels, and the page's npm parts.

None of them is in the repository. Each is fetched once into the user's cache folder and checked
against a hash on every use: Pyodide's core files and lock against the hashes below, its wheels
against that lock, npm parts against frontend.json. Where a file comes from makes no difference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "CORE",
    "MAGIC",
    "PYODIDE",
    "PYTHON",
    "VendorError",
    "cache",
    "frontend",
    "locked",
    "npm_parts",
    "pyodide",
    "write",
]

# The pin: these move together, and nothing else knows a version.
PYODIDE = "0.28.3"
PYTHON = "3.13"
MAGIC = (3571).to_bytes(2, "little") + b"\r\n"  # of that Python's bytecode
CORE = {
    "pyodide-lock.json": "f6e6f42f451f42affbbcddb00e8c9a3278dcbf399f57aab9f3f568839a7ff4a6",
    "pyodide.mjs": "635a6da3218fe4e5668da595acfe8b5ce77453d597d602f19a423dd250653441",
    "pyodide.asm.js": "b22e5831eade9ff10e6fe2c811c68688cd91f10154377b4f80debcf5bafa1e56",
    "pyodide.asm.wasm": "5effb6a1a6cc4a1a85bec4622701aa797c031e1de923cbbaf2ad47abdc4ab325",
    "python_stdlib.zip": "71fee17f88a6260ec8c9c7c063533ee59c021fdc88a1ce76247378d3c4a35f4c",
}
PACKAGES = ("numpy", "micropip", "packaging", "matplotlib", "pillow", "tqdm")
# For networks that reach package registries only: a PyPI package that holds the official wheels,
# and the hash of a wheel that it lacks as its authors released it. Pyodide packs that one anew.
ELSEWHERE = ("open-webui", "0.9.6", "open_webui/frontend/pyodide/")
AS_RELEASED = {
    "tqdm-4.67.1-py3-none-any.whl": "26445eca388f82e72884e0d580d5464cd801a3ea01e63e5601bdff9ba6a48de2"
}

# The official distribution: npm's files, and the wheels that npm's package leaves out.
_NPM_URL = "https://cdn.jsdelivr.net/npm/"
_WHEELS_URL = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
_TIMEOUT_S = 20
_EXTRA = "{} is not installed; the browser side needs it: pip install 'tensorgl[browser]'"


class VendorError(RuntimeError):
    """A third-party part could not be had, or is not what it should be."""


class _UnavailableError(Exception):
    """A source has not got a file, or cannot be reached; its text says why."""


# A source gives the bytes of the file with a name, or raises _UnavailableError.
_Source = Callable[[str], bytes]


def cache() -> Path:
    """The folder that holds what was fetched and built: the user's cache folder for tensorgl."""
    try:
        from platformdirs import user_cache_path
    except ImportError as error:
        raise VendorError(_EXTRA.format(error.name)) from None
    return user_cache_path("tensorgl", appauthor=False)


def locked(name: str) -> Any:
    """A context in which this process is the only one that writes a part of the cache."""
    try:
        from filelock import FileLock
    except ImportError as error:
        raise VendorError(_EXTRA.format(error.name)) from None
    cache().mkdir(parents=True, exist_ok=True)
    return FileLock(cache() / f"{name}.lock")


def pyodide(offline: Path | None = None) -> Path:
    """Provide Pyodide's core files and the wheels of PACKAGES with all they depend on.

    Args:
        offline: A folder that has the files, such as an unpacked Pyodide distribution; nothing is
            then asked of the network. Without it the official distribution is asked first, then
            the npm and pip clients.

    Returns:
        A folder of the cache in which every file has the hash of the official lock.

    Raises:
        VendorError: a file has another hash, or no source has it.
    """
    folder = cache() / f"pyodide-{PYODIDE}"
    with locked(folder.name), tempfile.TemporaryDirectory() as temporary:
        if offline is None:
            spec = f"pyodide@{PYODIDE}"
            npm = _from_npm({spec: None}, Path(temporary))
            core = [_official(f"{_NPM_URL}{spec}/"), lambda name: npm(f"{spec}/{name}")]
            wheels = [_official(_WHEELS_URL), _from_pip(Path(temporary))]
        else:
            core = wheels = [_from_folder(offline)]
        _collect(folder, {name: [hash] for name, hash in CORE.items()}, core)
        _collect(folder, _wheels(folder / "pyodide-lock.json"), wheels)
    return folder


def frontend(folder: Path | None, offline: Path | None = None) -> None:
    """Put the page's npm parts, those of frontend.json, into a folder.

    Args:
        folder: Gets the files under the names that frontend.json gives them; None: the cache only.
        offline: A folder with the packages as `npm pack` writes them; without it the npm packages'
            files are asked of the network.

    Raises:
        VendorError: a file has another hash, or no source has it.
    """
    files = npm_parts(Path(__file__).with_name("frontend.json"), offline)
    if folder is None:
        return
    for name, file in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def npm_parts(lock: Path, offline: Path | None = None) -> dict[str, Path]:
    """Provide the files of npm packages that a lock lists.

    Args:
        lock: A file such as frontend.json: of each package its version, its integrity as npm writes
            it, and of each file of it that is wanted a name and its sha256.
        offline: As for `frontend`.

    Returns:
        Where in the cache each file is, by the name that the lock gives it.

    Raises:
        VendorError: a file has another hash, or no source has it.
    """
    parts: dict[str, Any] = {
        f"{name}@{part['version']}": part
        for name, part in json.loads(lock.read_text(encoding="utf-8")).items()
    }
    files = {
        f"{spec}/{inside}": file
        for spec, part in parts.items()
        for inside, file in part["files"].items()
    }
    kept = cache() / "npm"
    with locked("npm"), tempfile.TemporaryDirectory() as temporary:
        integrity = {spec: part["integrity"] for spec, part in parts.items()}
        packed = _from_npm(integrity, Path(temporary), offline)
        sources = [packed] if offline else [_official(_NPM_URL), packed]
        _collect(kept, {name: [file["sha256"]] for name, file in files.items()}, sources)
    return {file["name"]: kept / name for name, file in files.items()}


def _wheels(lock: Path) -> dict[str, list[str]]:
    """File name and accepted hashes of every wheel that PACKAGES need, by the lock."""
    packages: dict[str, Any] = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    needed: set[str] = set()

    def need(names: Iterable[str]) -> None:
        for name in names:
            if name not in needed:
                needed.add(name)
                need(packages[name]["depends"])

    need(PACKAGES)
    hashes = {packages[name]["file_name"]: [packages[name]["sha256"]] for name in sorted(needed)}
    for name, hash in AS_RELEASED.items():
        hashes[name].append(hash)
    return hashes


def _collect(folder: Path, files: Mapping[str, list[str]], sources: Iterable[_Source]) -> None:
    """Make a folder hold each file with a hash it may have.

    A file of the folder that has another hash is fetched again. One from a source that has another
    hash is refused: asking the next source would hide that somebody changed it.
    """
    for name, expected in files.items():
        path = folder / name
        if path.is_file() and _digest(path.read_bytes(), expected[0]) in expected:
            continue
        problems: list[str] = []
        for source in sources:
            try:
                content = source(name)
            except _UnavailableError as problem:
                problems.append(str(problem))
                continue
            given = _digest(content, expected[0])
            if given not in expected:
                raise VendorError(_refusal(name, expected, given))
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, content)
            print(f"tensorgl: {name}  {len(content) / 1000:,.0f} kB", file=sys.stderr)
            break
        else:
            reasons = "\n  ".join(dict.fromkeys(problems))
            raise VendorError(
                f"{name} could not be had:\n  {reasons}\n"
                "Connect to the network, or fetch what the site is built of elsewhere and give the "
                "folder: python -m tensorgl.wasm vendor --offline DIR"
            )


def _refusal(name: str, expected: list[str], given: str) -> str:
    return (
        f"{name} is not what it should be and was not kept: "
        f"expected {' or '.join(expected)}, got {given}"
    )


def _digest(content: bytes, like: str) -> str:
    """The hash of some bytes, written as npm does (sha512-…) or as Pyodide does (hexadecimal)."""
    if like.startswith("sha512-"):
        return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
    return hashlib.sha256(content).hexdigest()


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's file is for its owner only
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _from_folder(folder: Path) -> _Source:
    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise _UnavailableError(f"{folder / name}: {error.strerror}") from error

    return read


def _official(base: str) -> _Source:
    unreachable: list[str] = []  # asked once: every further file would wait for the same time-out

    def download(name: str) -> bytes:
        if unreachable:
            raise _UnavailableError(unreachable[0])
        try:
            with urllib.request.urlopen(base + name, timeout=_TIMEOUT_S) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise _UnavailableError(f"{base}{name}: {error.code} {error.reason}") from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            unreachable.append(f"the official Pyodide distribution ({base}): {reason}")
            raise _UnavailableError(unreachable[0]) from error

    return download


def _from_npm(
    integrity: Mapping[str, str | None], temporary: Path, offline: Path | None = None
) -> _Source:
    """Files of npm packages, named `package@version/file`.

    Args:
        integrity: The packages, and the hash of each as npm writes it; None where every file that
            is asked for has a hash of its own.
        temporary: A folder that the npm client may fill.
        offline: A folder that has what `npm pack` wrote; the npm client is then not asked.
    """
    contents: dict[str, bytes] = {}
    folder = offline or temporary

    def read(name: str) -> bytes:
        spec = "/".join(name.split("/")[: 2 if name.startswith("@") else 1])
        if spec not in contents:
            packed = folder / f"{spec.removeprefix('@').replace('/', '-').replace('@', '-')}.tgz"
            if offline is None and not packed.exists():
                _npm_pack(list(integrity), folder)
            if not packed.exists():
                raise _UnavailableError(f"{packed}: no such file")
            contents[spec] = packed.read_bytes()
            given = _digest(contents[spec], "sha512-")
            if integrity[spec] not in (None, given):
                raise VendorError(_refusal(packed.name, [str(integrity[spec])], given))
            with tarfile.open(packed) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    if file is not None:
                        contents[member.name.replace("package", spec, 1)] = file.read()
        try:
            return contents[name]
        except KeyError:
            raise _UnavailableError(f"npm's package {spec} has no such file") from None

    return read


def _npm_pack(specs: list[str], folder: Path) -> None:
    """Have the npm client put packages into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise _UnavailableError("the npm client: not installed (it comes with Node.js)")
    _client([npm, "pack", "--silent", "--pack-destination", str(folder), *specs], "npm")


def _from_pip(temporary: Path) -> _Source:
    package, version, inside = ELSEWHERE
    fetched: list[Path] = []

    def read(name: str) -> bytes:
        if name in AS_RELEASED:
            return _pip_download("{}=={}".format(*name.split("-")), temporary).read_bytes()
        if not fetched:
            print(f"tensorgl: asking pip for the wheels in {package} {version}", file=sys.stderr)
            fetched.append(_pip_download(f"{package}=={version}", temporary))
        try:
            with zipfile.ZipFile(fetched[0]) as archive:
                return archive.read(inside + name)
        except KeyError:
            raise _UnavailableError(f"PyPI's package {package} {version} has no {name}") from None

    return read


def _pip_download(spec: str, folder: Path) -> Path:
    """Have pip fetch a package's wheel; its file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:"]
    _client([*command, "--dest", str(folder), spec], "pip")
    name = spec.split("==")[0].replace("-", "_")
    return next(folder.glob(f"{name}-*.whl"))


def _client(command: list[str], name: str) -> str:
    """Run a registry's client; what it prints."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise _UnavailableError(f"the {name} client: {lines[-1]}")
    return result.stdout
