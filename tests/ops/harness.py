"""What a line of the case table means, and the checks that every line goes through.

A case names an op, its inputs as specs, its keyword arguments, and an oracle: the same function on
numpy float64 arrays. Everything else is derived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tensorgl as tg
from tensorgl import dispatch

KINDS = {"f": "float32", "i": "int64", "b": "bool"}


@dataclass(frozen=True)
class Spec:
    """A tensor input: uniform values in [low, high), of kind "f" float, "i" int64 or "b" bool."""

    shape: tuple[int, ...]
    kind: str = "f"
    low: float = -2.0
    high: float = 2.0
    grad: bool = True  # whether to check the gradient in this input
    distinct: bool = False  # no two values closer than 0.1, for ops with ties and kinks


def F(
    *shape: int, low: float = -2.0, high: float = 2.0, grad: bool = True, distinct: bool = False
) -> Spec:
    """A float input."""
    return Spec(shape, "f", low, high, grad, distinct)


def I(*shape: int, low: int = 0, high: int = 5) -> Spec:  # noqa: E743
    """An int64 input."""
    return Spec(shape, "i", low, high, False)


def B(*shape: int) -> Spec:
    """A bool input."""
    return Spec(shape, "b", 0, 1, False)


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    op: str
    inputs: tuple[Any, ...]  # Spec, a tuple or list of them, or a plain value
    oracle: Callable[..., Any]
    kwargs: dict[str, Any] = field(default_factory=dict)
    grad: bool = True  # differentiable: check the first and second gradient
    second: bool = True  # check the second gradient too
    empty: bool = True  # also with size 0 in the first dim, of every input that has the size of the first input there
    special: bool = False  # also with NaN, infinities and signed zeros
    tolerance: float = 2e-5
    gl_tolerance: float | None = None  # of values on gl; None: as on cpu
    gradient_tolerance: float = 1e-4  # of gradients on gl against those on cpu, both float32
    function: Callable[..., Any] | None = (
        None  # how to call it, if not `tensorgl.<op>(*inputs, **kwargs)`
    )
    note: str = ""  # tells several cases of one op apart

    @property
    def id(self) -> str:
        return self.op + (f"-{self.note}" if self.note else "")

    def call(self, *values: Any) -> Any:
        """Run the op on built inputs."""
        function = self.function or find(self.op)
        return function(*values, **self.kwargs)


def case(
    op: str,
    *inputs: Any,
    oracle: Callable[..., Any],
    kw: dict[str, Any] | None = None,
    **options: Any,
) -> Case:
    """A line of the table: op name, inputs, then the oracle and what differs from the defaults."""
    return Case(op, inputs, oracle, kw or {}, **options)


def find(name: str) -> Callable[..., Any]:
    """The public op of this name: tensorgl.x, tensorgl.nn.functional.x, tensorgl.linalg.x."""
    return dispatch.registry[name]


def arrays(case: Case, seed: int = 0, shrink: bool = False) -> list[Any]:
    """Numpy float64, int64 and bool arrays for the inputs of a case."""
    rng = np.random.default_rng(seed)
    specs = [s for s in flat(list(case.inputs)) if isinstance(s, Spec)]
    first = specs[0] if specs else Spec(())

    def make(spec: Any) -> Any:
        if isinstance(spec, tuple | list) and spec and isinstance(spec[0], Spec):
            return type(spec)(make(s) for s in spec)
        if not isinstance(spec, Spec):
            return spec
        shape = spec.shape
        if shrink and len(shape) == len(first.shape) > 0 and shape[0] == first.shape[0]:
            shape = (0, *shape[1:])
        if spec.kind == "b":
            return np.asarray(rng.random(shape) < 0.5)
        if spec.kind == "i":
            return np.asarray(rng.integers(int(spec.low), int(spec.high), shape))
        if spec.distinct:
            n = int(np.prod(shape))
            values = spec.low + (spec.high - spec.low) * (np.arange(n) + 0.5) / max(n, 1)
            return rng.permutation(values).reshape(shape)
        # Values that float32 holds exactly, so that only the op's own error counts.
        return np.asarray(rng.uniform(spec.low, spec.high, shape).astype(np.float32), np.float64)

    return [make(s) for s in case.inputs]


def tensors(
    values: list[Any],
    dtype: str = "float32",
    device: str = "cpu",
    layout: str = "C",
    grads: Any = None,
) -> list[Any]:
    """Tensors of the arrays; layout "T" gives strided, non-contiguous memory."""

    def make(value: Any, want_grad: bool = False) -> Any:
        if isinstance(value, tuple | list) and value and isinstance(value[0], np.ndarray):
            return type(value)(make(v, want_grad) for v in value)
        if not isinstance(value, np.ndarray):
            return value
        given = {np.dtype(float): dtype, np.dtype(int): "int64"}  # a browser's int is an int32
        array = value.astype(given.get(value.dtype, value.dtype))
        if layout == "T":  # every element two apart, dims in reverse order
            wide = np.zeros(tuple(2 * n for n in array.shape[::-1]), array.dtype)
            every_other = (..., *(slice(None, None, 2) for _ in array.shape))
            wide[every_other] = array.T
            t = tg.from_numpy(wide).to(device)[every_other]
            t = t.permute(*reversed(range(t.ndim)))
        else:
            t = tg.from_numpy(np.array(array, order="C")).to(device)
        return t.requires_grad_() if want_grad and array.dtype.kind == "f" else t

    grads = grads or [False] * len(values)
    return [make(v, g) for v, g in zip(values, grads, strict=True)]


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.5, 1e30])


def special(case: Case) -> tuple[list[Any], list[Any]]:
    """NaN, infinities and signed zeros in every combination, and the oracle's results for float32."""
    grid = np.meshgrid(*[SPECIAL] * len([s for s in case.inputs if isinstance(s, Spec)]))
    rest = iter(grid)
    values = [next(rest) if isinstance(s, Spec) else s for s in case.inputs]
    with np.errstate(all="ignore"):
        expected = flat(case.oracle(*values))
        single = flat(
            case.oracle(*[v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in values])
        )
    return values, [
        np.where(np.isinf(s), s, e) if e.dtype.kind == "f" else e  # float32 overflows earlier
        for e, s in zip(expected, single, strict=True)
    ]


def flat(result: Any) -> list[Any]:
    """The results as a flat list."""
    if isinstance(result, tuple | list):
        return [leaf for r in result for leaf in flat(r)]
    return [result]


def assert_close(actual: Any, expected: Any, tolerance: float, what: str) -> None:
    """Same shape, same kind of dtype, and values within `tolerance` of the largest magnitude."""
    got = actual.detach().numpy() if isinstance(actual, tg.Tensor) else np.asarray(actual)
    want = np.asarray(expected)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if isinstance(actual, tg.Tensor):
        kind = {"f": "f", "i": "iu", "u": "iu", "b": "b"}[want.dtype.kind]
        assert got.dtype.kind in kind, f"{what}: dtype {got.dtype}, expected like {want.dtype}"
    finite = np.abs(want[np.isfinite(want)]) if want.dtype.kind == "f" else np.array([])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(
        got.astype(np.float64) if got.dtype.kind == "f" else got,
        want,
        rtol=tolerance,
        atol=tolerance * scale,
        err_msg=what,
    )
