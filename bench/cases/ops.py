"""Single ops, and chains of elementwise ones that fusion makes a single kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .case import Case

__all__ = ["CASES"]

Build = Callable[[Any], Callable[[], object]]


def _matmul(name: str, m: int, k: int, n: int, **options: Any) -> Case:
    """(m, k) @ (k, n) in float32."""

    def build(lib: Any) -> Callable[[], object]:
        lib.manual_seed(0)
        a, b = lib.randn(m, k), lib.randn(k, n)
        return lambda: a @ b

    return Case(name, build, flops=2 * m * k * n, **options)


def small_add(lib: Any) -> Callable[[], object]:
    """16 floats, recorded: what the layers above the kernel cost."""
    a, b = lib.ones(16), lib.ones(16, requires_grad=True)
    return lambda: a + b


def _elementwise(chain: Callable[[Any], Any]) -> Build:
    """Ops on a million floats."""

    def build(lib: Any) -> Callable[[], object]:
        lib.manual_seed(0)
        x = lib.randn(1 << 20)
        return lambda: chain(x)

    return build


def _rows(function: Callable[[Any, Any], Any]) -> Build:
    """Rows of 1024."""

    def build(lib: Any) -> Callable[[], object]:
        lib.manual_seed(0)
        x = lib.randn(1024, 1024)
        return lambda: function(lib, x)

    return build


CONV = {"batch": 64, "channels": 16, "filters": 32, "side": 14, "kernel": 3}
CONV_FLOPS = (
    2 * CONV["batch"] * CONV["side"] ** 2 * CONV["filters"] * CONV["channels"] * CONV["kernel"] ** 2
)


def _conv(of: str) -> Build:
    """A 3x3 convolution, 64x16x14x14 to 32 channels: forward, or one of its gradients alone."""

    def build(lib: Any) -> Callable[[], object]:
        lib.manual_seed(0)
        batch, channels, filters, side, kernel = CONV.values()
        x = lib.randn(batch, channels, side, side, requires_grad=of == "input")
        w = lib.randn(filters, channels, kernel, kernel, requires_grad=of == "weight")
        convolved = lib.nn.functional.conv2d
        if of == "forward":
            return lambda: convolved(x, w, padding=1)
        y, leaf = convolved(x, w, padding=1), x if of == "input" else w
        g = lib.randn(*y.shape)
        return lambda: lib.autograd.grad(y, leaf, g, retain_graph=True)

    return build


CASES = (
    Case("small-add", small_add, absolute=2.5e-6),
    _matmul("matmul-512", 512, 512, 512),
    _matmul("matmul-1024", 1024, 1024, 1024, limit=1.1),
    _matmul("matmul-4096", 4096, 4096, 4096, needs="gpu"),
    _matmul("matmul-64x784x256", 64, 784, 256),
    Case("conv-forward", _conv("forward"), CONV_FLOPS),
    Case("conv-input-gradient", _conv("input"), CONV_FLOPS),
    Case("conv-weight-gradient", _conv("weight"), CONV_FLOPS),
    Case("exp-max-1m", _elementwise(lambda x: (2 * x + 1).clamp(min=0).exp() - 3)),
    Case("chain-1m", _elementwise(lambda x: ((2 * x + 1).relu().exp() - 3) * x)),
    Case("sum-1024", _rows(lambda lib, x: x.sum())),
    Case("softmax-1024", _rows(lambda lib, x: lib.softmax(x, -1))),
    Case("layer-norm-1024", _rows(lambda lib, x: lib.nn.functional.layer_norm(x, (1024,)))),
)
