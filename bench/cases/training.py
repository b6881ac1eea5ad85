"""Training steps, with the loss read every step; inference; and what comes before both, the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .case import OPS, Workload, arrays, op
from .models import MODELS, Model

__all__ = ["OPTIMIZERS", "training_step"]

Sizes = Mapping[str, Any]
OPTIMIZERS = {"sgd": ("SGD", 0.01), "adam": ("Adam", 0.001), "adamw": ("AdamW", 0.001)}
"""The class and the learning rate; all else is as PyTorch has it (AdamW decays weights by 0.01)."""


def training_step(lib: Any, model: Model, optimizer: str, **options: Any) -> Callable[[], Any]:
    """A function that makes a step on one batch and returns the loss as a tensor.

    Args:
        lib: tensorgl or torch.
        model: of `models`.
        optimizer: the name of its class.
        options: of the optimizer.
    """
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


@op
def train(lib: Any, sizes: Sizes) -> Workload:
    """A step with its loss read; with size `captured`, through tensorgl.compile."""
    optimizer, lr = OPTIMIZERS[sizes["optimizer"]]

    def started() -> Callable[[], Any]:
        model = partial(MODELS[sizes["model"]], batch=sizes["batch"])
        step = training_step(lib, model, optimizer, lr=lr)
        if "captured" in sizes and lib.__name__ == "tensorgl":  # PyTorch's needs a C++ compiler
            step = lib.compile(step)
        return step

    def check() -> list[Any]:
        step = started()
        return [np.array([step().item() for _ in range(3)])]

    step = started()
    return Workload(lambda: step().item(), check)


OPS["first_step"] = train


@op
def infer(lib: Any, sizes: Sizes) -> Workload:
    """The network's result, read."""
    net, x, _ = MODELS[sizes["model"]](lib, batch=sizes["batch"])
    net.eval()

    def run() -> np.ndarray[Any, Any]:
        with lib.no_grad():
            return net(x).cpu().numpy()

    return Workload.of(run)


@op
def start_up(lib: Any, sizes: Sizes) -> Workload:
    """The first result of a process that does nothing else: a small product, read."""

    def run() -> list[Any]:
        ones = lib.ones(8, 8)
        return arrays(ones @ ones)

    return Workload.of(run)
