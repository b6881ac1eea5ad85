"""Lets scripts written for PyTorch run unchanged: `import torch` gives tensorgl.

`install()` puts a finder in front of Python's own, which answers for "torch" and everything beneath
it with the tensorgl module of the same path; `torch.nn.modules`, where PyTorch has one more folder,
is `tensorgl.nn`, and what it has under other names is found there. A module that tensorgl lacks is
not found.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["install"]


_RENAMED = {
    "tensorgl.nn.batchnorm": "tensorgl.nn.normalization",
    "tensorgl.nn.container": "tensorgl.nn.containers",
    "tensorgl.nn.instancenorm": "tensorgl.nn.normalization",
    "tensorgl.nn.sparse": "tensorgl.nn.embedding",
}


class _Loader(importlib.abc.Loader):
    """Loads the tensorgl module that a torch name stands for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        # The import system puts its own spec on the module it is given; an alias must keep the first.
        module = importlib.import_module(self._name)
        self._spec, self._loader = module.__spec__, module.__loader__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__, module.__loader__ = self._spec, self._loader


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for torch and its submodules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "torch":
            return None
        name = "tensorgl" + fullname.removeprefix("torch").replace(".nn.modules", ".nn")
        name = _RENAMED.get(name, name)
        if importlib.util.find_spec(name) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(name), is_package=True)


def install() -> None:
    """Make `import torch` give tensorgl from now on.

    Raises:
        RuntimeError: the real PyTorch has already been imported in this process.
    """
    present = sys.modules.get("torch")
    if present is not None and present.__name__ != "tensorgl":
        raise RuntimeError(
            "as_torch: PyTorch itself is already imported in this process; call install() before it"
        )
    # A module that is loaded under a second name becomes an attribute of its package again, in place
    # of what may have the name there: `tensorgl.tensor` is a function. So nothing is loaded twice.
    for name in [n for n in sys.modules if n.partition(".")[0] == "tensorgl"]:
        sys.modules["torch" + name.removeprefix("tensorgl")] = sys.modules[name]
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
