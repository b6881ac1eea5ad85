"""The networks that training steps are timed on, each with a batch of random inputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["BATCH", "Model", "char_gpt", "cnn", "lenet", "mlp"]

BATCH = 64
Model = Callable[[Any], tuple[Any, Any, Any]]
"""From a library to a network, its input and its targets."""


def _on_digits(lib: Any, net: Any, *shape: int) -> tuple[Any, Any, Any]:
    return net, lib.randn(BATCH, *shape), lib.randint(0, 10, (BATCH,))


def mlp(lib: Any) -> tuple[Any, Any, Any]:
    """784-256-128-10."""
    nn = lib.nn
    net = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    return _on_digits(lib, net, 784)


def cnn(lib: Any) -> tuple[Any, Any, Any]:
    """Conv 16, pool, conv 32, pool, dense on 28x28."""
    nn = lib.nn
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )
    return _on_digits(lib, net, 1, 28, 28)


def lenet(lib: Any) -> tuple[Any, Any, Any]:
    """LeNet-5 with relu and max pooling.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition".
    """
    nn = lib.nn
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    return _on_digits(lib, net, 1, 28, 28)


def char_gpt(lib: Any) -> tuple[Any, Any, Any]:
    """A character GPT: 2 layers, width 128, 4 heads, context 64, batch 32."""
    nn, functional = lib.nn, lib.nn.functional
    vocabulary, width, heads, context, batch = 65, 128, 4, 64, 32

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any) -> Any:
            b, t, c = x.shape
            q, k, v = (
                part.view(b, t, heads, c // heads).transpose(1, 2)
                for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
            )
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(context, width)
            self.blocks = nn.Sequential(Block(), Block())
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, x: Any) -> Any:
            x = self.tokens(x) + self.places(lib.arange(x.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    x = lib.randint(0, vocabulary, (batch, context))
    return GPT(), x, lib.randint(0, vocabulary, (batch * context,))
