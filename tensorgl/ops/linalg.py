"""Products of vectors and matrices."""

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call2, defvjp, op
from tensorgl.ops.movement import squeeze, transpose, unsqueeze

__all__ = ["matmul"]

Tensor = Any


@op
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; 1-d operands as vectors, dims before the last two broadcast.

    Raises:
        RuntimeError: an operand is 0-d, inner sizes or dtypes differ.
    """
    if input.ndim == 0 or other.ndim == 0:
        raise RuntimeError("both arguments to matmul need to be at least 1D")
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    out = call2(p.matmul, a, b)
    if input.ndim == 1:
        out = squeeze(out, -2)
    return squeeze(out, -1) if other.ndim == 1 else out


defvjp(
    p.matmul,
    input=lambda g, other: call2(p.matmul, g, transpose(other, -1, -2)),
    other=lambda g, input: call2(p.matmul, transpose(input, -1, -2), g),
)
