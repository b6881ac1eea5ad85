"""How each primitive becomes kernels: a module a family.

Three ways, registered by the primitive's name:

`@map_op(name)` (codegen.py): an element of the result is an expression of few elements of the operands.
    `rule(e, value, index) -> GLSL expression` of four elements (vec4 or ivec4). Inside it:
    `e.operand(value, k, index)` operand k, broadcast as in elementwise ops, numbers included;
    `e.digits(index.reshaped(value.shape) if index.order is None else index)` the coordinates of each dim,
    as ints (index.form "scalar") or ivec4s; `e.load(operand, Index(form, expr, operand.shape))` an operand at
    an index that the rule computed ("lanes": an ivec4 expression of flat row-major elements of the
    operand's shape, "scalar": an int); `e.let(type, expression)` a variable; `e.number(x)`, `e.splat(x)` a
    Number. Maps are inlined into whatever reads them. Loads must stay within the operand: clamp the
    indices, then select.

`@anchor(name, inline=(…))`: a kernel of its own, from a template in shaders/. `lower(value, context)`
    gives the Kernel: template, `#define`s and inputs, chosen by the shapes and layouts of `value.operands`
    and by `context.limits`. Operands whose places are in `inline` may be expressions when nobody else
    wants their value; the others are memory, or as little work on it as a relu. What reads the result
    element by element may be absorbed by the kernel (its epilogue): RESULT and store take care of it.

`@rewrite(name)`: before scheduling, a value is replaced by others. `rule(value, context) -> Value`, with
    `context.step(op, operands, params, shape, dtype)` making new values: a primitive, or a step of the
    lowering's own that has an anchor or a map. So a large sum becomes two, and so on. Returning
    `value` itself keeps it.

A step of several results (`parts`) has values "part" with params k for them; its anchor returns a Kernel
whose results are `context.parts(value)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from tensorgl.backends.glsl.ir import Kernel, Operand, Value
from tensorgl.backends.glsl.tuning import Tuning
from tensorgl.dtypes import dtype

__all__ = [
    "ANCHORS",
    "NUMBERS",
    "READS",
    "REWRITES",
    "TABLES",
    "WANTED",
    "Anchor",
    "Context",
    "anchor",
    "rewrite",
]


class Context:
    """What lowerings may ask: the device's limits, which variant of a kernel is best, and new values."""

    def __init__(self, tuning: Tuning, eager: bool = False) -> None:
        self.limits = tuning.limits
        self.choose = tuning.choose
        self.eager = eager  # nothing is fused
        self._kernels: list[Kernel] = []
        self._parts: dict[Value, list[Value]] = {}
        self._known: dict[Any, Value] = {}
        self._copies: dict[Any, Value] = {}
        self._keys: dict[Value, Any] = {}

    def step(
        self,
        op: str,
        operands: list[Any],
        params: Any,
        shape: tuple[int, ...],
        dtype: dtype,
        parts: list[tuple[tuple[int, ...], dtype]] | None = None,
    ) -> Value:
        """A value; its operands are Operands (`value.whole()`) and Numbers.

        With `parts`, their shapes and dtypes, it is a step of several results. The same step of the
        same operands is the same value.
        """
        key = _key(op, operands, params, shape, dtype)
        value = self._known.get(key)
        if value is None:
            value = self._new(op, operands, params, shape, dtype, parts)
            if key is not None:
                self._known[key] = value
                self._keys[value] = key
        return value

    def instead(self, old: Value, new: Value) -> None:
        """From here on a step that would be `old` is `new`, which has the same elements."""
        key = self._keys.get(old)
        if key is not None:
            self._known[key] = new

    def _new(
        self, op: str, operands: list[Any], params: Any, shape: Any, dtype: Any, parts: Any
    ) -> Value:
        rule = REWRITES.get(op)
        value = Value(op, operands, params, shape, dtype)
        if rule is not None:
            new = rule(value, self)
            if new is not value:
                return new
        if parts is not None:
            for k, (part_shape, part_dtype) in enumerate(parts):
                part = Value("part", [value.whole()], k, part_shape, part_dtype)
                self._parts.setdefault(value, []).append(part)
        return value

    def parts(self, value: Value) -> list[Value]:
        """The results of a step of several."""
        return self._parts[value]

    def realised(self, x: Operand, order: tuple[int, ...] | None = None) -> Operand:
        """An operand's elements as a value of their own, in row-major or another physical order.

        For `lower` only: `x` itself if it is so already, else a copy, made by a kernel of its own.
        """
        if x.whole and x.value.order == order and x.value.shape == x.shape:
            return x
        key = x.value, x.layout, x.slot, x.shift, order
        value = self._copies.get(key)
        if value is not None:
            return value.whole()
        value = self._copies[key] = Value("copy", [x], (), x.shape, x.value.dtype)
        value.order = order
        self._kernels.append(Kernel([], [value], grid=value.texels))
        return value.whole()

    def take_kernels(self) -> list[Kernel]:
        """The kernels that `realised` asked for since the last call."""
        kernels, self._kernels = self._kernels, []
        return kernels


def _key(op: str, operands: list[Any], params: Any, shape: Any, dtype: Any) -> Any:
    """Equal for steps that give the same; None if a number, which may change, is among the operands."""
    read: list[Any] = []
    for x in operands:
        if not isinstance(x, Operand):
            return None
        read.append((x.value, x.layout, x.slot, x.shift))
    return op, params, tuple(shape), dtype, tuple(read)


@dataclass(frozen=True)
class Anchor:
    """A kernel's lowering, and which of its operands may be expressions."""

    lower: Callable[[Value, Context], Kernel]
    inline: tuple[int, ...]


ANCHORS: dict[str, Anchor] = {}
READS: dict[str, Callable[[Value], int]] = {}
"""How many elements of each operand a map reads for one of its own, where that is more than one."""
WANTED: dict[str, Callable[[Value, int], tuple[int, ...] | None]] = {}
"""For anchors that want operands in another physical order than row-major: `(value, k)` to that of k."""
REWRITES: dict[str, Callable[[Value, Context], Value]] = {}

NUMBERS: dict[str, Callable[..., tuple[int, ...]]] = {}
"""For ops some of whose numbers have more than 32 bits: `(params, *numbers)` to those that a kernel gets."""
TABLES: dict[str, Callable[[], np.ndarray[Any, Any]]] = {}
"""For ops that look constants up: int32s that are uploaded once, and then are each call's last operand."""


def anchor(*names: str, inline: tuple[int, ...] = ()) -> Any:
    """Register the lowering `(value, context) -> Kernel` of ops of these names."""

    def register(lower: Any) -> Any:
        for name in names:
            ANCHORS[name] = Anchor(lower, inline)
        return lower

    return register


def rewrite(*names: str) -> Any:
    """Register the rule `(value, context) -> Value` of ops of these names."""

    def register(rule: Any) -> Any:
        for name in names:
            REWRITES[name] = rule
        return rule

    return register


FAMILIES = (
    "elementwise",
    "movement",
    "random",
    "gathering",
    "scattering",
    "sorting",
    "reduction",
    "scan",
    "pooling",
    "matmul",
    "conv",
)
"""The modules of this package; importing one registers its lowerings."""


def load() -> None:
    """Import every family."""
    for name in FAMILIES:
        import_module(f"{__name__}.{name}")
