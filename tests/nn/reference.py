"""Modules with fixed weights on fixed inputs, boiled down to a few numbers to compare with PyTorch's.

Nothing here names a library: with `torch` as `lib`, `fingerprint` gives the numbers in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A module, its inputs, and the fingerprint that PyTorch 2.13 gives it."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Any, ...]
    call: dict[str, Any]
    expected: list[float]

    @property
    def id(self) -> str:
        settings = [str(a) for a in self.args] + [f"{k}={v}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(settings)})" + "".join(f" {k}" for k in self.call)


def case(name: str, *args: Any, x: Any, expect: Any = (), call: Any = None, **kwargs: Any) -> Case:
    """`x` are the inputs: shapes of floats, arrays of integers or bools, or tuples of these."""
    return Case(name, args, kwargs, tuple(x), call or {}, list(expect))


def wave(shape: tuple[int, ...], phase: float) -> Any:
    """Numbers in [-1, 1] without a pattern that a wrong order could keep."""
    return np.sin(np.arange(int(np.prod(shape))) ** 1.3 + phase).reshape(shape)


def is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(n, int) for n in x)


def tensor(lib: Any, x: Any, device: str) -> Any:
    """Floats in double precision, but on gl, which has none."""
    kinds = {"f": "float64" if device == "cpu" else "float32", "i": "int64", "b": "bool"}
    return lib.tensor(x, dtype=getattr(lib, kinds[x.dtype.kind]), device=device)


def build(lib: Any, x: Any, phase: float, device: str) -> Any:
    """A tensor, or a tuple of them, of what an input's entry says."""
    if isinstance(x, np.ndarray):  # of floats only the first input wants a gradient, not a target
        return tensor(lib, x, device).requires_grad_(x.dtype.kind == "f" and phase == 0)
    if is_shape(x):
        return tensor(lib, wave(x, phase), device).requires_grad_()
    return tuple(build(lib, y, phase + k + 0.5, device) for k, y in enumerate(x))


def leaves(x: Any) -> list[Any]:
    """All tensors in nested tuples."""
    if isinstance(x, tuple | list):
        return [t for y in x for t in leaves(y)]
    return [x] if hasattr(x, "requires_grad") else []


def digest(tensors: list[Any]) -> float:
    """One number that depends on every element of every tensor."""
    total = 0.0
    for k, t in enumerate(tensors):
        if t is not None:
            a = t.detach().cpu().numpy().astype(np.float64)
            total += float((a * wave(a.shape, 10 + k)).sum())
    return total


def fill(lib: Any, module: Any, device: str) -> None:
    """Give all parameters fixed values."""
    for k, p in enumerate(module.parameters()):
        p.data = tensor(lib, 0.5 * wave(tuple(p.shape), 3 + k), device)


def fingerprint(lib: Any, c: Case, device: str = "cpu") -> list[float]:
    """Digests of the output, of the inputs' and the parameters' gradients, and of the output in eval."""
    module = getattr(lib.nn, c.name)(*c.args, **c.kwargs)
    module = module.double() if device == "cpu" else module.to(device)
    fill(lib, module, device)
    inputs = [build(lib, x, k, device) for k, x in enumerate(c.inputs)]
    call = {
        k: tensor(lib, v, device) if isinstance(v, np.ndarray) else v for k, v in c.call.items()
    }
    outs = leaves(module(*inputs, **call))
    wanted = [t for t in leaves(inputs) if t.requires_grad]
    parameters = list(module.parameters())
    roots = [o for o in outs if o.requires_grad]
    probes = [tensor(lib, wave(tuple(o.shape), 20 + k), device) for k, o in enumerate(roots)]
    grads = lib.autograd.grad(roots, wanted + parameters, probes, allow_unused=True)
    evaluated = leaves(module.eval()(*inputs, **call))
    n = len(wanted)
    parts = (outs, grads[:n], grads[n:], evaluated)
    return [round(digest(list(p)), 7) for p in parts]


def check(lib: Any, c: Case, device: str = "cpu") -> None:
    """Compare with what PyTorch gives."""
    tolerance = 1e-6 if device == "cpu" else 2e-4
    found = fingerprint(lib, c, device)
    np.testing.assert_allclose(found, c.expected, rtol=tolerance, atol=tolerance)
