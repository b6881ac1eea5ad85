"""Single ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .case import Case

__all__ = ["CASES"]


def matmul(n: int) -> Callable[[Any], Callable[[], object]]:
    """Square float32 matmul."""

    def build(lib: Any) -> Callable[[], object]:
        lib.manual_seed(0)
        a, b = lib.randn(n, n), lib.randn(n, n)
        return lambda: a @ b

    return build


def small_add(lib: Any) -> Callable[[], object]:
    """16 floats, recorded: what the layers above the kernel cost."""
    a, b = lib.ones(16), lib.ones(16, requires_grad=True)
    return lambda: a + b


def chain(lib: Any) -> Callable[[], object]:
    """Elementwise ops on a million floats."""
    lib.manual_seed(0)
    x = lib.randn(1 << 20)
    return lambda: ((2 * x + 1).relu().exp() - 3) * x


def softmax(lib: Any) -> Callable[[], object]:
    """Rows of 1024."""
    lib.manual_seed(0)
    x = lib.randn(1024, 1024)
    return lambda: lib.softmax(x, -1)


CASES = (
    Case("small-add", small_add, absolute=2.5e-6),
    Case("matmul-512", matmul(512)),
    Case("matmul-1024", matmul(1024), limit=1.1),
    Case("chain-1m", chain),
    Case("softmax-1024", softmax),
)
