"""What the scheduler works on: values, their operands, and the kernels that realise them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tensorgl import dtypes
from tensorgl.backends.glsl.layout import Layout, layout
from tensorgl.dtypes import dtype

__all__ = ["MOVING", "ONCE", "Kernel", "Number", "Operand", "Value", "kind_of", "vec"]

_KINDS = {
    "float32": "f32",
    "float16": "f16",
    "int64": "i32",
    "int32": "i32",
    "int16": "i32",
    "int8": "i32",
    "uint8": "u8",
    "bool": "u8",
}


def kind_of(d: dtype) -> str:
    """How memory holds elements of a dtype: "f32", "f16", "i32" or "u8"."""
    return _KINDS[d.name]


def vec(d: dtype) -> str:
    """The GLSL type of four elements."""
    return "vec4" if d.category == dtypes.FLOAT else "ivec4"


_INDEXING = ("flip", "pad", "cat", "narrow_backward", "update", "take", "gather", "scatter_few")
_POOLING = ("pool_max", "pool_argmax", "pool_sum", "pool_take", "pool_put", "pool_spread")
MOVING = frozenset((*_INDEXING, *_POOLING))
"""Maps whose element i may need another element of an operand of their size."""
ONCE = frozenset(["pad", "cat", "narrow_backward", "update"])
"""Those that compute each element of an operand once, whatever their size."""


class Number:
    """A Python number among the operands: a place in the numbers of a flush.

    `float` says whether the kernel takes it as a float or as an int. A `constant` is known already.
    """

    __slots__ = ("constant", "float", "slot")

    def __init__(self, slot: int, float: bool, constant: Any = None) -> None:
        self.slot = slot
        self.float = float
        self.constant = constant


class Operand:
    """How a kernel reads a value: through a layout of the value's row-major memory.

    The start is `shift` elements plus, if `slot` is not None, the number at that place; `aligned` says
    that it is a multiple of four.
    """

    __slots__ = ("aligned", "layout", "shift", "slot", "value")

    def __init__(
        self,
        value: Value,
        layout: Layout,
        slot: int | None = None,
        aligned: bool = True,
        shift: int = 0,
    ) -> None:
        self.value = value
        self.layout = layout
        self.slot = slot
        self.shift = shift
        self.aligned = aligned

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the kernel sees."""
        return self.layout.shape

    @property
    def whole(self) -> bool:
        """Whether it shows all of the value in its order: element i is the value's element i."""
        return (
            self.slot is None
            and not self.shift
            and self.layout.dense
            and self.layout.size == self.value.size
        )

    def through(self, shape: tuple[int, ...], strides: tuple[int, ...], shift: int = 0) -> Operand:
        """The same memory through other strides, `shift` elements further on."""
        aligned = self.aligned and (self.shift + shift) % 4 == 0
        return Operand(self.value, layout(shape, strides), self.slot, aligned, self.shift + shift)

    def permuted(self, dims: tuple[int, ...]) -> Operand:
        """Its dims in another order."""
        at = self.layout
        return self.through(tuple(at.shape[d] for d in dims), tuple(at.strides[d] for d in dims))


class Value:
    """One tensor that a flush computes, or that it finds realised (`leaf` is its number then).

    Attributes:
        op: the primitive's name, or that of a step into which a lowering divides one.
        operands: Operands and Numbers.
        params: the primitive's parameters.
        order: its physical order if it is realised; None for row-major.
        visible: it must exist after the flush.
        home: (value, texel, Number or None): it is stored in that value's memory from that texel on, and
            the rest of its last texel is filled with the number.
        users: values that read it.
    """

    __slots__ = (
        "dtype",
        "home",
        "leaf",
        "op",
        "operands",
        "order",
        "params",
        "shape",
        "size",
        "users",
        "visible",
        "width",
    )

    def __init__(
        self,
        op: str,
        operands: list[Any],
        params: Any,
        shape: tuple[int, ...],
        dtype: dtype,
        leaf: int | None = None,
    ) -> None:
        self.op = op
        self.operands = operands
        self.params = params
        self.shape = tuple(shape)
        self.size = 1
        for n in self.shape:
            self.size *= n
        self.dtype = dtype
        self.leaf = leaf
        self.order: tuple[int, ...] | None = None
        self.width = 0
        self.home: Any = None
        self.visible = False
        self.users: list[Value] = []

    def __repr__(self) -> str:
        return f"{self.op}{list(self.shape)}"

    @property
    def texels(self) -> int:
        """How many texels its elements take."""
        return (self.size + 3) // 4

    def whole(self) -> Operand:
        """All of it, in its order."""
        return Operand(self, layout(self.shape))


@dataclass
class Kernel:
    """One launch: what it reads, computes and stores.

    Attributes:
        results: what the template hands in with RESULT0, RESULT1 …; empty without a template.
        outputs: what is stored: for each result itself, or what its epilogue makes of it, or None.
        template: name of a file in shaders/ without ".glsl"; None for kernels of expressions only.
        defines: the template's `#define`s.
        inputs: an operand for each `#input` of the template.
        grid: invocations.
        wide: into how many contiguous blocks of `grid` texels the one output is divided; invocation t
            hands in texel t of each. 1: it is not.
        groups: counts of work groups, for a template of the compute target that decides on them. (The
            invocations of a work group of the others are 64, or the define LOCAL.)
        order: the physical order in which the result's texels are handed in; None for row-major.
    """

    results: list[Value]
    outputs: list[Any]
    template: str | None = None
    defines: dict[str, int | str] = field(default_factory=dict[str, "int | str"])
    inputs: dict[str, Operand] = field(default_factory=dict[str, Operand])
    grid: int = 0
    wide: int = 1
    groups: tuple[int, int, int] = (0, 0, 0)
    order: tuple[int, ...] | None = None
