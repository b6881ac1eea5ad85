"""The list of cases, with the floating-point operations and the bytes that each needs at least."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case, Size
from .models import BATCHES

__all__ = ["CASES"]

FLOAT = 4  # bytes


def _kernel(name: str, op: str, sizes: dict[str, Size], floats: int, **options: Any) -> Case:
    """A single op that reads and writes so many numbers."""
    return Case(name, op, sizes, bytes=FLOAT * floats, **options)


def _matmul(m: int, k: int, n: int, **options: Any) -> Case:
    name = f"matmul-{m}" if m == k == n else f"matmul-{m}x{k}x{n}"
    sizes: dict[str, Size] = {"m": m, "k": k, "n": n}
    return _kernel(name, "matmul", sizes, m * k + k * n + m * n, flops=2 * m * k * n, **options)


def _elementwise() -> Iterator[Case]:
    n, side = 1 << 20, 1024
    square: dict[str, Size] = {"rows": side, "cols": side}
    yield _kernel("small-add", "small_add", {"n": 16}, 3 * 16, absolute=2.5e-6)
    for millions, options in ((4, {}), (64, {"needs": "gpu"})):  # the second for caches of 50 MB
        size = millions << 20
        yield _kernel(f"copy-{millions}m", "copy", {"n": size}, 2 * size, flops=size, **options)
    yield _kernel("chain-1m", "chain", {"n": n}, 2 * n, flops=6 * n)
    yield _kernel("broadcast-1024", "broadcast", square, 2 * n + 2 * side, flops=2 * n)
    yield _kernel("transpose-1024", "transpose", square, 2 * n)
    yield _kernel("readback-1m", "readback", {"n": n}, 2 * n, flops=n)


def _rows() -> Iterator[Case]:
    for rows, cols in ((1024, 1024), (64, 10)):
        sizes: dict[str, Size] = {"rows": rows, "cols": cols}
        n = rows * cols
        name = str(rows) if rows == cols else f"{rows}x{cols}"
        yield _kernel(f"softmax-{name}", "softmax", sizes, 2 * n, flops=5 * n)
        if rows == cols:
            yield _kernel(f"sum-rows-{name}", "sum", sizes, n + rows, flops=n)
            floats = 2 * n + 2 * cols
            yield _kernel(f"layer-norm-{name}", "layer_norm", sizes, floats, flops=8 * n)


def _conv(
    name: str, n: int, c: int, side: int, o: int, k: int, stride: int = 1, groups: int = 1
) -> Iterator[Case]:
    """Forward, and forward with both gradients; as much padding as keeps a side at stride 1."""
    padding = k // 2
    out = (side + 2 * padding - k) // stride + 1
    sizes: dict[str, Size] = {"n": n, "c": c, "h": side, "w": side, "o": o, "k": k}
    sizes |= {"stride": stride, "padding": padding, "groups": groups}
    x, w, y = n * c * side**2, o * (c // groups) * k**2, n * o * out**2
    flops = 2 * y * (c // groups) * k**2
    yield _kernel(name, "conv", sizes, x + w + y, flops=flops)
    yield _kernel(f"{name}-grads", "conv_grads", sizes, 2 * (x + w + y), flops=3 * flops)


def _pool(n: int, c: int, side: int, k: int) -> Iterator[Case]:
    sizes: dict[str, Size] = {"n": n, "c": c, "h": side, "w": side, "k": k}
    x, y = n * c * side**2, n * c * (side // k) ** 2
    yield _kernel(f"pool-{side}", "pool", sizes, x + y)
    yield _kernel(f"pool-{side}-grad", "pool_grad", sizes, 2 * (x + y))


def _embedding(vocab: int, dim: int, n: int) -> Iterator[Case]:
    sizes: dict[str, Size] = {"vocab": vocab, "dim": dim, "n": n}
    rows = 2 * n * dim + n
    name = f"embedding-{vocab}x{dim}"
    yield _kernel(name, "embedding", sizes, rows)
    yield _kernel(f"{name}-grad", "embedding_grad", sizes, rows + n * dim + vocab * dim)


def _attention(b: int, heads: int, t: int, d: int) -> Case:
    sizes: dict[str, Size] = {"b": b, "heads": heads, "t": t, "d": d}
    floats, flops = 4 * b * heads * t * d, 4 * b * heads * t**2 * d
    return _kernel(f"attention-{t}", "attention", sizes, floats, flops=flops)


def _adam(tensors: int, size: int) -> Case:
    """Reads parameter, gradient and both moments; writes all but the gradient."""
    sizes: dict[str, Size] = {"tensors": tensors, "size": size}
    return _kernel(f"adam-{tensors}x{size}", "adam", sizes, 7 * tensors * size)


def _train(model: str, optimizer: str, **bars: Any) -> Iterator[Case]:
    """A step as it is, and captured, which is the same on the CPU and to peers."""
    name = f"{model.replace('_', '-')}-{optimizer}"
    sizes: dict[str, Size] = {"model": model, "optimizer": optimizer, "batch": BATCHES[model]}
    yield Case(name, "train", sizes, "training", **bars)
    captured = {**sizes, "captured": 1}
    yield Case(f"{name}-captured", "train", captured, "training", needs="gl")


def _infer(model: str) -> Case:
    sizes: dict[str, Size] = {"model": model, "batch": BATCHES[model]}
    return Case(f"{model.replace('_', '-')}-inference", "infer", sizes, "inference")


def _first_step(model: str) -> Case:
    sizes: dict[str, Size] = {"model": model, "optimizer": "sgd", "batch": BATCHES[model]}
    return Case(f"first-step-{model}", "first_step", sizes, "start")


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *(_matmul(n, n, n) for n in (64, 128, 256, 512)),
        _matmul(1024, 1024, 1024, limit=1.1),
        _matmul(2048, 2048, 2048),
        _matmul(4096, 4096, 4096, needs="gpu"),
        *(_matmul(64, 784, 256), _matmul(2048, 8, 2048)),
        *(_matmul(8, 2048, 2048), _matmul(12544, 72, 16)),
        *_elementwise(),
        *_rows(),
        *_conv("conv-3x3-14", 64, 16, 14, 32, 3),
        *_conv("conv-3x3-28", 32, 8, 28, 16, 3),
        *_conv("conv-1x1-14", 64, 32, 14, 64, 1),
        *_conv("conv-depthwise-28", 32, 32, 28, 32, 3, groups=32),
        *_conv("conv-strided-28", 64, 16, 28, 32, 3, stride=2),
        *_pool(64, 16, 28, 2),
        *_embedding(10000, 128, 4096),
        _attention(8, 4, 128, 32),
        _adam(100, 1000),
        *_train("mlp", "sgd", limit=2.0),
        *_train("mlp", "adam"),
        *_train("cnn", "sgd", limit=5.0, memory=True),
        *_train("cnn", "adam"),
        *_train("lenet", "sgd"),
        *_train("lenet", "adam"),
        *_train("resnet8", "sgd"),
        *_train("char_gpt", "adamw", limit=2.5),
        *_train("lstm", "adam"),
        *map(_infer, BATCHES),
        *map(_first_step, ("cnn", "mlp")),
        Case("start-up", "start_up", group="start"),
    )
}
"""By name."""
