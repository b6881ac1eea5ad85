"""Single ops, and chains of elementwise ones that fusion makes a single kernel.

Operands are `fill` with seeds 1, 2, 3 …, in the order in which the functions here make them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .case import Workload, arrays, op
from .inputs import fill, tokens

__all__: list[str] = []

Sizes = Mapping[str, Any]
Make = Callable[..., Any]


def _operands(lib: Any) -> Make:
    """A function that makes the next operand of a shape."""
    seed = 0

    def make(*shape: int, grad: bool = False) -> Any:
        nonlocal seed
        seed += 1
        return lib.tensor(fill(shape, seed), requires_grad=grad)

    return make


@op
def small_add(lib: Any, sizes: Sizes) -> Workload:
    """A few floats, recorded: what the layers above the kernel cost."""
    make = _operands(lib)
    a, b = make(sizes["n"]), make(sizes["n"], grad=True)
    return Workload.of(lambda: a + b)


@op
def matmul(lib: Any, sizes: Sizes) -> Workload:
    """(m, k) @ (k, n)."""
    make = _operands(lib)
    a, b = make(sizes["m"], sizes["k"]), make(sizes["k"], sizes["n"])
    return Workload.of(lambda: a @ b)


@op
def copy(lib: Any, sizes: Sizes) -> Workload:
    """One added, which moves as many bytes as a copy: what the device's memory can do."""
    x = _operands(lib)(sizes["n"])
    return Workload.of(lambda: x + 1)


@op
def chain(lib: Any, sizes: Sizes) -> Workload:
    """Six elementwise ops."""
    x = _operands(lib)(sizes["n"])
    return Workload.of(lambda: ((2 * x + 1).relu().exp() - 3) * x)


@op
def broadcast(lib: Any, sizes: Sizes) -> Workload:
    """A matrix times a column plus a row."""
    make = _operands(lib)
    rows, cols = sizes["rows"], sizes["cols"]
    x, scale, bias = make(rows, cols), make(rows, 1), make(cols)
    return Workload.of(lambda: x * scale + bias)


@op
def transpose(lib: Any, sizes: Sizes) -> Workload:
    """A transposed matrix, copied."""
    x = _operands(lib)(sizes["rows"], sizes["cols"])
    return Workload.of(lambda: x.t().contiguous())


@op
def sum(lib: Any, sizes: Sizes) -> Workload:
    """Over the last dim."""
    x = _operands(lib)(sizes["rows"], sizes["cols"])
    return Workload.of(lambda: x.sum(-1))


@op
def softmax(lib: Any, sizes: Sizes) -> Workload:
    """Over the last dim."""
    x = _operands(lib)(sizes["rows"], sizes["cols"])
    return Workload.of(lambda: lib.softmax(x, -1))


@op
def layer_norm(lib: Any, sizes: Sizes) -> Workload:
    """Of the last dim, with weight and bias."""
    make = _operands(lib)
    rows, cols = sizes["rows"], sizes["cols"]
    x, weight, bias = make(rows, cols), make(cols), make(cols)
    return Workload.of(lambda: lib.nn.functional.layer_norm(x, (cols,), weight, bias))


def _convolution(lib: Any, s: Sizes, grad: bool) -> tuple[Make, Any, Any, Callable[[], Any]]:
    """What makes operands, the input, the weight, and the convolution of both."""
    make = _operands(lib)
    x = make(s["n"], s["c"], s["h"], s["w"], grad=grad)
    w = make(s["o"], s["c"] // s["groups"], s["k"], s["k"], grad=grad)
    options = {name: s[name] for name in ("stride", "padding", "groups")}
    return make, x, w, lambda: lib.nn.functional.conv2d(x, w, **options)


@op
def conv(lib: Any, sizes: Sizes) -> Workload:
    """A 2-d convolution without bias, forward."""
    return Workload.of(_convolution(lib, sizes, grad=False)[-1])


@op
def conv_grads(lib: Any, sizes: Sizes) -> Workload:
    """A 2-d convolution forward, and both its gradients for a given one of its result."""
    make, x, w, forward = _convolution(lib, sizes, grad=True)
    g = make(*forward().shape)

    def run() -> Any:
        y = forward()
        return y.detach(), *lib.autograd.grad(y, (x, w), g)

    return Workload.of(run)


@op
def pool(lib: Any, sizes: Sizes) -> Workload:
    """Max pooling without overlap, forward."""
    x = _operands(lib)(*(sizes[name] for name in "nchw"))
    return Workload.of(lambda: lib.nn.functional.max_pool2d(x, sizes["k"]))


@op
def pool_grad(lib: Any, sizes: Sizes) -> Workload:
    """Max pooling forward, and its gradient for a given one of its result."""
    make = _operands(lib)
    x = make(*(sizes[name] for name in "nchw"), grad=True)
    pooled = lib.nn.functional.max_pool2d
    g = make(*pooled(x, sizes["k"]).shape)

    def run() -> Any:
        y = pooled(x, sizes["k"])
        return y.detach(), *lib.autograd.grad(y, x, g)

    return Workload.of(run)


@op
def embedding(lib: Any, sizes: Sizes) -> Workload:
    """The rows of a table that tokens name."""
    table = _operands(lib)(sizes["vocab"], sizes["dim"])
    text = lib.tensor(tokens(sizes["n"], sizes["vocab"]))
    return Workload.of(lambda: lib.nn.functional.embedding(text, table))


@op
def embedding_grad(lib: Any, sizes: Sizes) -> Workload:
    """The rows, and the table's gradient for a given one of theirs."""
    make = _operands(lib)
    table = make(sizes["vocab"], sizes["dim"], grad=True)
    g = make(sizes["n"], sizes["dim"])
    text = lib.tensor(tokens(sizes["n"], sizes["vocab"]))

    def run() -> Any:
        y = lib.nn.functional.embedding(text, table)
        return y.detach(), *lib.autograd.grad(y, table, g)

    return Workload.of(run)


@op
def attention(lib: Any, sizes: Sizes) -> Workload:
    """softmax(q kᵀ / sqrt(d)) v, without a mask."""
    make = _operands(lib)
    q, k, v = (make(*(sizes[name] for name in ("b", "heads", "t", "d"))) for _ in range(3))
    return Workload.of(lambda: lib.nn.functional.scaled_dot_product_attention(q, k, v))


@op
def adam(lib: Any, sizes: Sizes) -> Workload:
    """An update of many tensors by Adam; first all parameters are made, then all gradients."""

    def made() -> tuple[list[Any], Any]:
        make = _operands(lib)
        shapes = [sizes["size"]] * sizes["tensors"]
        params = [make(n, grad=True) for n in shapes]
        for p, n in zip(params, shapes, strict=True):
            p.grad = make(n)
        return params, lib.optim.Adam(params, lr=0.001)

    def check() -> list[Any]:
        """The first and the last parameter after two updates."""
        params, update = made()
        update.step()
        update.step()
        return arrays((params[0], params[-1]))

    params, update = made()

    def run() -> Any:
        update.step()
        return params[-1]

    return Workload(run, check)


@op
def readback(lib: Any, sizes: Sizes) -> Workload:
    """Computing little and reading all of it."""
    x = _operands(lib)(sizes["n"])

    def run() -> np.ndarray[Any, Any]:
        return (x * 2).cpu().numpy()

    return Workload.of(run)
