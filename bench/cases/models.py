"""The networks that training and inference are timed on, each with a batch of inputs and targets.

Inputs are `fill` with seed 1 or tokens; weights are those of `set_weights`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .inputs import classes, fill, set_weights, tokens

__all__ = ["BATCHES", "MODELS", "Model", "char_gpt", "cnn", "lenet", "lstm", "mlp", "resnet8"]

Model = Callable[..., tuple[Any, Any, Any]]
"""From a library (and `batch`, the size of one) to a network, its input and its targets."""


def _on_pictures(lib: Any, net: Any, batch: int, *shape: int) -> tuple[Any, Any, Any]:
    set_weights(lib, net)
    return net, lib.tensor(fill((batch, *shape), 1)), lib.tensor(classes(batch, 10))


def _on_text(lib: Any, net: Any, batch: int, context: int) -> tuple[Any, Any, Any]:
    set_weights(lib, net)
    text = tokens(batch * context, VOCABULARY).reshape(batch, context)
    return net, lib.tensor(text), lib.tensor(classes(batch * context, VOCABULARY))


def mlp(lib: Any, batch: int = 64) -> tuple[Any, Any, Any]:
    """784-256-128-10 with relu."""
    nn = lib.nn
    net = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    return _on_pictures(lib, net, batch, 784)


def cnn(lib: Any, batch: int = 64) -> tuple[Any, Any, Any]:
    """Conv 16, pool, conv 32, pool, dense on 28x28; 3x3 kernels, padding 1, relu."""
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
    return _on_pictures(lib, net, batch, 1, 28, 28)


def lenet(lib: Any, batch: int = 64) -> tuple[Any, Any, Any]:
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
    return _on_pictures(lib, net, batch, 1, 28, 28)


def resnet8(lib: Any, batch: int = 64) -> tuple[Any, Any, Any]:
    """ResNet-8 on 32x32x3: a block each of 16, 32 and 64 channels, with batch norm.

    The first convolution of the wider blocks and their 1x1 shortcut have stride 2; no convolution
    has a bias; the head is a mean over the picture and a dense layer.

    Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2 with n = 1.
    """
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self, inner: int, outer: int) -> None:
            super().__init__()
            stride = outer // inner
            self.conv1 = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(outer)
            self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(outer)
            self.shortcut = nn.Identity()
            if stride > 1:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
                )

        def forward(self, x: Any) -> Any:
            y = self.norm1(self.conv1(x)).relu()
            return (self.norm2(self.conv2(y)) + self.shortcut(x)).relu()

    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16),
        Block(16, 32),
        Block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return _on_pictures(lib, net, batch, 3, 32, 32)


VOCABULARY = 65


def char_gpt(lib: Any, batch: int = 16) -> tuple[Any, Any, Any]:
    """A character GPT: 4 layers, width 128, 4 heads, context 64, 65 characters, exact gelu."""
    nn, functional = lib.nn, lib.nn.functional
    width, heads, context, layers = 128, 4, 64, 4

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
            self.tokens = nn.Embedding(VOCABULARY, width)
            self.places = nn.Embedding(context, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

        def forward(self, x: Any) -> Any:
            x = self.tokens(x) + self.places(lib.arange(x.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    return _on_text(lib, GPT(), batch, context)


def lstm(lib: Any, batch: int = 16) -> tuple[Any, Any, Any]:
    """Characters (65) to an embedding of 128, one LSTM layer of 128, a dense layer at each place.

    The context is 32. The gates lie in the order input, forget, cell, output; weights of the input
    come before those of the hidden state.
    """
    nn = lib.nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, 128)
            self.lstm = nn.LSTM(128, 128, batch_first=True)
            self.head = nn.Linear(128, VOCABULARY)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.tokens(x))[0])

    return _on_text(lib, Network(), batch, 32)


MODELS: dict[str, Model] = {m.__name__: m for m in (mlp, cnn, lenet, resnet8, char_gpt, lstm)}
BATCHES = {"mlp": 64, "cnn": 64, "lenet": 64, "resnet8": 64, "char_gpt": 16, "lstm": 16}
