"""What people import: complete, sorted, documented."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

import tensorgl as tg
from tensorgl import dispatch
from tests.ops.cases import CASES

PUBLIC = [
    "tensorgl",
    "tensorgl.accelerator",
    "tensorgl.autograd",
    "tensorgl.autograd.functional",
    "tensorgl.backends.cuda",
    "tensorgl.backends.cudnn",
    "tensorgl.backends.mps",
    "tensorgl.cuda",
    "tensorgl.datasets",
    "tensorgl.func",
    "tensorgl.linalg",
    "tensorgl.nn",
    "tensorgl.nn.functional",
    "tensorgl.nn.init",
    "tensorgl.nn.utils",
    "tensorgl.nn.utils.rnn",
    "tensorgl.optim",
    "tensorgl.optim.lr_scheduler",
    "tensorgl.profiler",
    "tensorgl.utils.checkpoint",
    "tensorgl.utils.data",
]


def order(name: str) -> tuple[int, str]:
    """The order that the linter keeps: CONSTANTS, Classes, functions; numbers by value."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, re.sub(r"\d+", lambda digits: digits[0].zfill(4), name)


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(module.__all__)
    assert len(set(exported)) == len(exported)
    assert exported == sorted(exported, key=order)
    for n in exported:
        assert hasattr(module, n), f"{name}.{n}"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_thing_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for n in module.__all__:
        thing = getattr(module, n)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing), f"{name}.{n} has no docstring"


def test_tensor_methods_have_docstrings() -> None:
    for n, thing in vars(tg.Tensor).items():
        if callable(thing) and not n.startswith("_"):
            assert inspect.getdoc(thing), f"Tensor.{n} has no docstring"


@pytest.mark.parametrize("name", sorted(dispatch.registry))
def test_every_op_is_exported(name: str) -> None:
    path, _, last = name.rpartition(".")
    op = dispatch.registry[name]
    places = [path] if path else ["", "nn.functional", "linalg"]
    for place in places:
        module = importlib.import_module(f"tensorgl.{place}".rstrip("."))
        if getattr(module, last, None) is op and last in module.__all__:
            return
    assert getattr(tg.Tensor, last, None) is op, f"{name} is exported nowhere"


def test_every_op_has_a_case() -> None:
    missing = set(dispatch.registry) - {c.op for c in CASES}
    assert not missing, f"no line in the case table for {sorted(missing)}"
