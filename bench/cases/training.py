"""Training steps: forward, loss, backward and update, with the loss read every step.

Each comes as it is, and captured by `tensorgl.compile`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .case import Case
from .models import Model, char_gpt, cnn, lenet, mlp

__all__ = ["CASES", "training_step"]


def training_step(lib: Any, model: Model, optimizer: str, **options: Any) -> Callable[[], Any]:
    """A function that makes a step on one batch and returns the loss as a tensor."""
    lib.manual_seed(0)
    net, x, y = model(lib)
    update = getattr(lib.optim, optimizer)(net.parameters(), **options)
    loss_function = lib.nn.CrossEntropyLoss()

    def step() -> Any:
        update.zero_grad()
        loss = loss_function(net(x).flatten(0, -2), y)
        loss.backward()
        update.step()
        return loss

    return step


def _case(name: str, model: Model, optimizer: str, captured: bool = False, **bars: Any) -> Case:
    options = {"lr": 0.01} if optimizer == "SGD" else {}

    def build(lib: Any) -> Callable[[], object]:
        step = training_step(lib, model, optimizer, **options)
        if captured and lib.__name__ == "tensorgl":  # PyTorch's compile would need a C++ compiler
            step = lib.compile(step)
        return lambda: step().item()

    return Case(name, build, **bars)


def _cases(name: str, model: Model, optimizer: str, **bars: Any) -> tuple[Case, Case]:
    captured = _case(f"{name}-captured", model, optimizer, captured=True, needs="gl")
    return _case(name, model, optimizer, **bars), captured


CASES = (
    *_cases("mlp-sgd", mlp, "SGD", limit=2.0),
    *_cases("mlp-adam", mlp, "Adam"),
    *_cases("cnn-sgd", cnn, "SGD", limit=5.0, memory=True),
    *_cases("cnn-adam", cnn, "Adam"),
    *_cases("lenet-adam", lenet, "Adam"),
    *_cases("gpt-adamw", char_gpt, "AdamW", limit=2.5),
)
