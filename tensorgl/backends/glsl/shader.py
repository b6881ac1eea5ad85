"""Shader text from files: targets, templates with their `#include` and `#input`, and the library.

Of the library (shaders/lib) a text gets only the functions that it names and those that they need, so
that what is compiled, and what `TENSORGL_DEBUG=2` prints, stays short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from itertools import takewhile
from string import Template

__all__ = ["ShaderError", "compile_error", "heads", "library_for", "section", "template"]

_NAME = re.compile(r"[A-Za-z_]\w+")
_DEFINITION = re.compile(r"(?:const\s+)?[a-z]\w*\s+(\w+)\s*[(\[=]")
_SHADERS = files("tensorgl.shaders")


class ShaderError(RuntimeError):
    """A driver rejected a shader that this package made; the message shows where."""


def compile_error(error: object, source: str) -> ShaderError:
    """The driver's complaint with the text it is about."""
    numbered = "\n".join(f"{k:4} {line}" for k, line in enumerate(source.splitlines(), 1))
    return ShaderError(f"a shader was rejected: {error}\n{numbered}")


@cache
def _read(name: str) -> str:
    # GLSL 3.30 knows no lines that go on in the next; 3.00 ES does
    return (_SHADERS / f"{name}.glsl").read_text(encoding="utf-8").replace("\\\n", "")


@cache
def _sections(target: str) -> dict[str, Template]:
    parts = re.split(r"^//: (.*)\n", _read(f"targets/{target}"), flags=re.MULTILINE)
    return {
        n: Template(text.strip() + "\n") for n, text in zip(parts[1::2], parts[2::2], strict=True)
    }


@lru_cache(maxsize=1 << 12)
def section(target: str, name: str, **values: object) -> str:
    """A part of a target's prelude with its placeholders filled."""
    return _sections(target)[name].substitute(values)


@cache
def template(name: str) -> tuple[str, tuple[str, ...]]:
    """A kernel's text, included files in their places, and the names of its inputs."""
    inputs: list[str] = []
    lines: list[str] = []
    for number, line in enumerate(_read(name).splitlines(), 1):
        if line.startswith("#include "):
            lines.append(template(line.split()[1].strip('"').removesuffix(".glsl"))[0])
            lines.append(f"#line {number + 1}")
        elif line.startswith("#input "):
            inputs.append(line.split()[1])
        else:
            lines.append(line)
    return "\n".join(lines) + "\n", tuple(inputs)


@cache
def heads() -> dict[str, str]:
    """The comments at the head of each kernel's file."""
    found: dict[str, str] = {}
    for path in _SHADERS.iterdir():
        if path.name.endswith(".glsl"):
            lines = path.read_text(encoding="utf-8").splitlines()
            head = takewhile(lambda line: line.startswith("//"), lines)
            found[path.name.removesuffix(".glsl")] = "\n".join(head)
    return found


@cache
def _library() -> dict[str, tuple[list[str], set[str]]]:
    """For each name the texts that define it, and the names of the library that they use."""
    texts: dict[str, list[str]] = {}
    for path in sorted((_SHADERS / "lib").iterdir(), key=lambda p: p.name):
        if path.name.endswith(".glsl"):
            _cut(path.read_text(encoding="utf-8"), texts)
    uses = {n: set(_NAME.findall("".join(t))) & texts.keys() - {n} for n, t in texts.items()}
    return {n: (t, uses[n]) for n, t in texts.items()}


def _cut(text: str, texts: dict[str, list[str]]) -> None:
    """Cut a file into definitions: from column 0 to a brace at column 0, or to a semicolon."""
    name, lines = "", []
    for line in text.splitlines():
        if not lines:
            found = _DEFINITION.match(line)
            if not found:
                continue
            name = found[1]
        lines.append(line)
        constant = lines[0].startswith("const ")
        if line == "}" or (
            line.rstrip().endswith(";")
            if constant
            else line.rstrip().endswith("}") and len(lines) == 1
        ):
            texts.setdefault(name, []).append("\n".join(lines) + "\n")
            lines = []


def library_for(generated: str, template: str = "", given: Iterable[object] = ()) -> str:
    """The library's functions that a kernel's texts need, each defined before its use.

    Of generated text that is what it calls; `given` are names that it has otherwise.
    """
    # Cut by hand, as a regular expression takes several times as long: a tenth of planning a step.
    called = [part.rpartition(" ")[2].lstrip("-~![") for part in generated.split("(")]
    known = _library().keys()
    return _definitions(_needs(template) | (known & called) | (known & given))


@cache
def _needs(template: str) -> frozenset[str]:
    """The names of the library in a template."""
    return frozenset(_library().keys() & _NAME.findall(template))


@lru_cache(maxsize=1 << 10)
def _definitions(names: frozenset[str]) -> str:
    library = _library()
    done: dict[str, None] = {}

    def need(name: str) -> None:
        if name not in done:
            for other in sorted(library[name][1]):
                if other not in done:
                    need(other)
            done[name] = None

    for name in sorted(names):
        need(name)
    return "".join("".join(library[n][0]) for n in done)
