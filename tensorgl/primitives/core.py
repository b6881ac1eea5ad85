"""What a primitive is: a name, its inputs and static parameters, and one rule for shape and dtype."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.dtypes import dtype

__all__ = ["TABLE", "Primitive", "Result", "broadcast_shapes", "primitive", "promote", "shape_text"]

Shape = tuple[int, ...]


class Result(NamedTuple):
    """What an infer rule answers.

    `shape` and `dtype` are of the result, or lists of them where there are several results.
    `compute` is the dtype that tensor inputs are cast to before the kernel runs: one for all, or a
    tuple with None for the inputs to leave alone.
    """

    shape: Any
    dtype: Any
    compute: dtypes.dtype | tuple[dtypes.dtype | None, ...] | None = None


class Primitive:
    """One entry of the table.

    Attributes:
        name: the op's name, the same everywhere.
        inputs: names of the tensor (or number) operands; ("inputs",) with `variadic`.
        params: names of the static parameters, which are hashable and decide the kernel.
        infer: `(avals, *params) -> Result`; raises PyTorch's error for what does not fit.
        view: the result shares the memory of its input.
        kind: "elementwise", "view", "reduce", "contract", "index", "source", "linalg" or "other";
            what a scheduler needs to know.
        vjp: the gradient rules, which `ops` adds; None where there is no gradient.
    """

    __slots__ = ("infer", "inputs", "kind", "name", "params", "variadic", "view", "vjp")

    def __init__(
        self,
        name: str,
        inputs: tuple[str, ...],
        params: tuple[str, ...],
        infer: Callable[..., Result],
        kind: str,
    ) -> None:
        self.name = name
        self.inputs = inputs
        self.params = params
        self.infer = infer
        self.kind = kind
        self.view = kind == "view"
        self.variadic = inputs == ("inputs",)
        self.vjp: Any = None

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.inputs + self.params)})>"


TABLE: dict[str, Primitive] = {}
"""Every primitive by name: what a backend answers to."""


def primitive(
    name: str,
    inputs: str,
    params: str,
    infer: Callable[..., Result],
    kind: str,
) -> Primitive:
    """Add a primitive to the table; `inputs` and `params` are names separated by spaces."""
    assert name not in TABLE, name
    TABLE[name] = Primitive(name, tuple(inputs.split()), tuple(params.split()), infer, kind)
    return TABLE[name]


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that all broadcast to.

    Raises:
        RuntimeError: two sizes differ and neither is 1.
    """
    result: list[int] = []
    ndim = max(map(len, shapes), default=0)
    for k in range(ndim):
        size = 1
        for shape in shapes:
            d = k - ndim + len(shape)
            if d < 0 or shape[d] == 1:
                continue
            if size not in (1, shape[d]):
                raise RuntimeError(
                    f"The size of tensor a ({size}) must match the size of tensor b ({shape[d]}) "
                    f"at non-singleton dimension {k}"
                )
            size = shape[d]
        result.append(size)
    return tuple(result)


def promote(avals: tuple[Aval, ...]) -> dtype:
    """PyTorch's result dtype for these operands."""
    numbers = [a.dtype for a in avals if a.dtype.weak]
    zero_dim = [a.dtype for a in avals if not a.dtype.weak and a.ndim == 0]
    return dtypes.result_type(
        [a.dtype for a in avals if not a.dtype.weak and a.ndim > 0], zero_dim, numbers
    )


def to_float(d: dtype) -> dtype:
    """`d` if it is a floating-point dtype, else the default one."""
    return d if d.is_floating_point else dtypes.get_default_dtype()


def shape_text(*shapes: Shape) -> str:
    """Shapes as error messages show them."""
    return " and ".join(str(tuple(s)) for s in shapes)


def numel(shape: Shape) -> int:
    """The number of elements of a shape."""
    return prod(shape)
