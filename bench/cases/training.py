"""Training steps: forward, loss, backward and update, with the loss read every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .case import Case

__all__ = ["CASES"]

BATCH = 64


def _step(
    lib: Any, model: Any, optimizer: Any, x: Any, y: Any, classes: int
) -> Callable[[], object]:
    loss_function = lib.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_function(model(x).reshape(-1, classes), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def mlp(lib: Any) -> Callable[[], object]:
    """784-256-128-10, batch 64, SGD."""
    nn = lib.nn
    lib.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01)
    x, y = lib.randn(BATCH, 784), lib.randint(0, 10, (BATCH,))
    return _step(lib, model, optimizer, x, y, 10)


def _cnn_model(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def cnn(lib: Any) -> Callable[[], object]:
    """Conv 16, pool, conv 32, pool, dense on 28x28, batch 64, SGD."""
    lib.manual_seed(0)
    model = _cnn_model(lib.nn)
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01)
    x, y = lib.randn(BATCH, 1, 28, 28), lib.randint(0, 10, (BATCH,))
    return _step(lib, model, optimizer, x, y, 10)


def cnn_adam(lib: Any) -> Callable[[], object]:
    """The same with Adam."""
    lib.manual_seed(0)
    model = _cnn_model(lib.nn)
    optimizer = lib.optim.Adam(model.parameters())
    x, y = lib.randn(BATCH, 1, 28, 28), lib.randint(0, 10, (BATCH,))
    return _step(lib, model, optimizer, x, y, 10)


def gpt(lib: Any) -> Callable[[], object]:
    """A character GPT: 2 layers, width 128, 4 heads, context 64, batch 32, AdamW."""
    nn, functional = lib.nn, lib.nn.functional
    lib.manual_seed(0)
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

    model = GPT()
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
    x = lib.randint(0, vocabulary, (batch, context))
    y = lib.randint(0, vocabulary, (batch * context,))
    return _step(lib, model, optimizer, x, y, vocabulary)


CASES = (
    Case("mlp-sgd", mlp, limit=2.0),
    Case("cnn-sgd", cnn, limit=5.0, memory=True),
    Case("cnn-adam", cnn_adam),
    Case("gpt-adamw", gpt, limit=2.5),
)
