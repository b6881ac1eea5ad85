"""Who may import whom; see docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorgl

ROOT = Path(tensorgl.__file__).parent

# A module may import what stands above it, and what stands on its own line.
LAYERS = [
    {"errors", "version", "files", "layouts", "effects", "autograd"},
    {"dtypes"},
    {"avals"},
    {"primitives"},
    {"backends.base", "backends.cuda", "backends.cudnn", "backends.mps"},
    {"backends.glsl"},
    {"backends.numpy", "backends.meta", "backends.opengl"},
    {"backends"},
    {"dispatch", "inplace", "return_types"},
    {"ops"},
    {"tensor", "operators", "conversion", "printing", "autograd.methods"},
    {"values"},
    {"creation", "random", "linalg", "settings", "tensor_types"},
    {
        "autograd.checks",
        "autograd.function",
        "autograd.functional",
        "utils.checkpoint",
        "utils.dlpack",
    },
    {
        "utils.data",
        "nn",
        "optim",
        "safetensors",
        "torch_files",
        "serialization",
        "accelerator",
        "cuda",
    },
    {"datasets", "utils", "func", "compiling", "profiler"},
    {"distributed"},
    {""},  # the package itself
    {"as_torch", "cli", "__main__", "examples", "bench"},
]
# Third parties, and the only places that may import them.
CONFINED = {
    "moderngl": ("backends.opengl",),
    "js": ("backends.webgl", "distributed.transport_browser"),
    "pyodide": ("backends.webgl", "distributed.transport_browser"),
    "aiohttp": ("distributed",),
    "torch": (),
    "tests": (),
    "matplotlib": ("examples", "utils.images"),
    "tqdm": ("examples",),
}
FORBIDDEN_PAIRS = [("nn", "optim"), ("optim", "nn"), ("nn", "backends"), ("optim", "backends")]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(p for p in parts if p != "__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Full names of what a module imports when it is loaded, `from x import y` as both x and x.y."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def layer(name: str) -> int | None:
    """The index of the layer whose entry is the longest prefix of a module's name."""
    best = None
    length = -1
    for k, entries in enumerate(LAYERS):
        for entry in entries:
            if (name == entry or (entry and name.startswith(entry + "."))) and len(entry) > length:
                best, length = k, len(entry)
    return best


MODULES = dict(modules())


@pytest.mark.parametrize("name", MODULES)
def test_imports_only_from_below(name: str) -> None:
    mine = layer(name)
    assert mine is not None, f"{name} stands in no layer"
    for imported in imports(MODULES[name]):
        if imported == "tensorgl":
            continue  # `from tensorgl import x` also gives tensorgl.x, which is checked
        if not imported.startswith("tensorgl."):
            continue
        target = imported.removeprefix("tensorgl.")
        if target not in MODULES:
            continue  # a name inside a module that is checked itself
        theirs = layer(target)
        assert theirs is not None, f"{target} stands in no layer"
        assert theirs <= mine, f"{name} imports {target}, which stands above it"
        for who, whom in FORBIDDEN_PAIRS:
            inside = name.split(".")[0] == who and target.split(".")[0] == whom
            assert not inside, f"{name} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_third_parties_are_confined(name: str) -> None:
    tree = MODULES[name]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for imported in names:
            allowed = CONFINED.get(imported.split(".")[0])
            if allowed is not None:
                assert any(name.startswith(a) for a in allowed), f"{name} imports {imported}"


def test_engine_knows_nothing_of_tensorgl() -> None:
    for name in ("autograd.graph", "autograd.engine"):
        mine = {i for i in imports(MODULES[name]) if i.startswith("tensorgl")}
        assert all(i.startswith("tensorgl.autograd.graph") for i in mine)
