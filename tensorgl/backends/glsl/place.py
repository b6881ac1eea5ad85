"""Joins without copying: kernels write their results straight into the slices of a flat `cat`.

An optimizer joins all gradients into one flat tensor. Where each piece begins at a texel, the kernel
that computes a piece stores it at its place there, and the `cat` needs no kernel. A piece that ends within
a texel is padded there (`pad` in the graph), which its kernel then does as well.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value

__all__ = ["flat_cat", "place"]


LAUNCH = 4096
"""Texels that can be copied in the time of a launch: on software, which takes 10 to 20 ns for each."""


class _Piece(NamedTuple):
    value: Value
    start: int  # in texels
    pad: Number | None  # what follows its elements in their last texel


def flat_cat(value: Value) -> bool:
    """Whether a value joins 1-d pieces of memory that all begin at texels."""
    if value.op != "cat" or len(value.shape) != 1 or value.dtype.category != dtypes.FLOAT:
        return False
    sizes = value.params[1]
    if len(sizes) < 2 or not all(n % 4 == 0 and n for n in sizes[:-1]):
        return False
    return all(isinstance(x, Operand) for x in value.operands)


def place(kernels: list[Kernel], limits: Limits) -> list[Kernel]:
    """Mark the values that are written into a flat `cat`; the kernels without those that this spares.

    A piece that no kernel can write there (it was realised before, several blocks are drawn at once, or its
    kernel would draw to the texture that it reads) is copied by a kernel of its own, if that is less work
    than one that copies all, or if the `cat` has too many pieces to be one.
    """
    makers = {v: k for k in kernels for v in k.outputs if v is not None}
    kept: list[Kernel] = []
    for kernel in kernels:
        whole = kernel.outputs[0]
        if kernel.template is not None or len(kernel.outputs) > 1 or not flat_cat(whole):
            kept.append(kernel)
            continue
        pieces, copies = _pieces(whole, makers, limits)
        apart = sum(LAUNCH + k.grid for k in copies)
        if apart > LAUNCH + whole.texels and len(whole.operands) < limits.inputs:
            kept.append(kernel)
            continue
        kept += copies
        for piece in pieces:
            piece.value.home = whole, piece.start, piece.pad
    return kept


def _pieces(
    whole: Value, makers: dict[Value, Kernel], limits: Limits
) -> tuple[list[_Piece], list[Kernel]]:
    """What is written where, and the kernels for what must be copied."""
    found: dict[Value, _Piece] = {}
    reads: dict[Value, set[Value]] = {}
    copies: list[Kernel] = []
    for x, start in zip(whole.operands, accumulate(whole.params[1], initial=0), strict=False):
        value, pad = _shown(x)
        kernel = None if value is None else makers.get(value)
        if value is not None and kernel is not None and limits.target == "fragment":
            reads[value] = _reads(kernel, makers)
        if (
            value is None
            or kernel is None
            or value in found
            or not _writes(value, kernel, limits)
            or any(x in reads.get(value, ()) or value in reads.get(x, ()) for x in found)
        ):
            value, pad = Value("copy", [x], (), x.shape, whole.dtype), None
            copies.append(Kernel([], [value], grid=value.texels))
        found[value] = _Piece(value, start // 4, pad)
    return list(found.values()), copies


def _shown(x: Operand) -> tuple[Value | None, Number | None]:
    """The value that a piece of a `cat` shows whole, perhaps padded within its last texel."""
    if not x.whole:
        return None, None
    value = x.value
    if value.op != "pad" or value.leaf is not None or len(value.params[0]) != 1:
        return value, None
    ((before, after),) = value.params[0]
    inner, number = value.operands
    if before or after > 3 or not inner.whole:
        return value, None
    return inner.value, number


def _reads(kernel: Kernel, makers: dict[Value, Kernel]) -> set[Value]:
    """What other kernels store and this one reads."""
    found: set[Value] = set()
    seen = {*kernel.results, *kernel.outputs}
    stack = [x.value for x in kernel.inputs.values()]
    for value in kernel.outputs:
        if value is not None and value not in kernel.results:
            stack += [x.value for x in value.operands if isinstance(x, Operand)]
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in makers:
            found.add(value)
        else:
            stack += [x.value for x in value.operands if isinstance(x, Operand)]
    return found


def _writes(value: Value, kernel: Kernel, limits: Limits) -> bool:
    """Whether a kernel can store a value anywhere in a larger memory."""
    if value.home is not None or value.order is not None or not kernel.grid:
        return False
    return limits.target == "compute" or (kernel.wide == 1 and len(kernel.outputs) == 1)
