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


def build(lib: Any, x: Any, phase: float) -> Any:
    """A tensor, or a tuple of them, of what an input's entry says."""
    if isinstance(x, np.ndarray):  # of floats only the first input wants a gradient, not a target
        return lib.tensor(x, requires_grad=x.dtype.kind == "f" and phase == 0)
    if is_shape(x):
        return lib.tensor(wave(x, phase)).requires_grad_()
    return tuple(build(lib, y, phase + k + 0.5) for k, y in enumerate(x))


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
            a = t.detach().numpy().astype(np.float64)
            total += float((a * wave(a.shape, 10 + k)).sum())
    return total


def fill(lib: Any, module: Any) -> None:
    """Give all parameters fixed values."""
    for k, p in enumerate(module.parameters()):
        p.data = lib.tensor(0.5 * wave(tuple(p.shape), 3 + k))


def fingerprint(lib: Any, c: Case) -> list[float]:
    """Digests of the output, of the inputs' and the parameters' gradients, and of the output in eval."""
    module = getattr(lib.nn, c.name)(*c.args, **c.kwargs).double()
    fill(lib, module)
    inputs = [build(lib, x, k) for k, x in enumerate(c.inputs)]
    call = {k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in c.call.items()}
    outs = leaves(module(*inputs, **call))
    wanted = [t for t in leaves(inputs) if t.requires_grad]
    parameters = list(module.parameters())
    roots = [o for o in outs if o.requires_grad]
    probes = [lib.tensor(wave(tuple(o.shape), 20 + k)) for k, o in enumerate(roots)]
    grads = lib.autograd.grad(roots, wanted + parameters, probes, allow_unused=True)
    evaluated = leaves(module.eval()(*inputs, **call))
    n = len(wanted)
    parts = (outs, grads[:n], grads[n:], evaluated)
    return [round(digest(list(p)), 7) for p in parts]


def check(lib: Any, c: Case) -> None:
    """Compare with what PyTorch gives."""
    np.testing.assert_allclose(fingerprint(lib, c), c.expected, rtol=1e-6, atol=1e-6)
