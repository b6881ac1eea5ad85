"""What the playground needs made for it: the gallery of examples, and modules that find each other."""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

__all__ = ["gallery", "link"]

FIRST = "digits_cnn"
"""What a new visitor sees; the others follow by name."""


def gallery(files: Mapping[str, bytes]) -> str:
    """The scripts in tensorgl/examples with their titles, and the texts they read, as JSON.

    Args:
        files: The package's files by path.

    Returns:
        {"scripts": [{"name", "title", "source"}], "data": {file name: text}}; a title is the first
        line of the script's docstring.
    """
    texts = {
        PurePosixPath(path): content.decode()
        for path, content in files.items()
        if path.startswith("tensorgl/examples/") and path.endswith((".py", ".txt"))
    }
    scripts = [
        {"name": path.stem, "title": _title(text, path.stem), "source": text}
        for path, text in sorted(texts.items(), key=lambda item: (item[0].stem != FIRST, item[0]))
        if path.suffix == ".py" and path.name != "__init__.py"
    ]
    data = {path.name: text for path, text in texts.items() if path.suffix == ".txt"}
    return json.dumps({"scripts": scripts, "data": data})


def _title(source: str, name: str) -> str:
    lines = (ast.get_docstring(ast.parse(source)) or name).splitlines()
    return lines[0].rstrip(".")


def link(folder: Path) -> None:
    """Let npm's modules import each other by path.

    They do so by package name, which a page knows from an import map only; that is an inline script,
    which the page's policy does not allow.

    Args:
        folder: Where the files of frontend.json are; the modules among them are changed.

    Raises:
        ValueError: a module imports a package that is not there.
    """
    text = Path(__file__).with_name("frontend.json").read_text(encoding="utf-8")
    modules: dict[str, str] = {
        package: file["name"]
        for package, part in json.loads(text).items()
        for file in part["files"].values()
        if file["name"].endswith(".js")
    }
    for path in modules.values():
        file = folder / path
        file.write_text(_by_path(file.read_text(encoding="utf-8"), path, modules), encoding="utf-8")


def _by_path(module: str, path: str, modules: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        begin, quote, name = match.groups()
        if name not in modules:
            raise ValueError(f"{path} imports {name}, which frontend.json does not have")
        relative = posixpath.relpath(modules[name], posixpath.dirname(path) or ".")
        return f"{begin}{quote}./{relative}{quote}"

    # Imports stand at the beginning of a line and are followed by nothing.
    return re.sub(
        r"""^((?:import|export)\b[^'"\n]*)(['"])([^'"\n.][^'"\n]*)\2(?=;?$)""",
        replace,
        module,
        flags=re.M,
    )
