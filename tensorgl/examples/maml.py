"""Second-order gradients: a network learns to learn sine curves (MAML).

Each task is a sine of its own height and phase. The start weights are trained so that a few
gradient steps on ten points fit a new one; the gradient goes through those steps.

Source: Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning", algorithm 1.
"""

import argparse
from math import pi
from pathlib import Path

import matplotlib.pyplot as plt
from tqdm import trange

import tensorgl as tg
from tensorgl.nn import functional as F

TASKS, POINTS, HIDDEN, INNER_RATE = 25, 10, 40, 0.01


def start_weights() -> list[tg.Tensor]:
    """Two hidden layers; each weight with a leading dim for the tasks to share or own."""
    sizes = [(1, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)]
    weights = []
    for rows, columns in sizes:
        weights.append((tg.randn(1, rows, columns) * (2 / rows) ** 0.5).requires_grad_())
        weights.append(tg.zeros(1, 1, columns, requires_grad=True))
    return weights


def network(weights: list[tg.Tensor], x: tg.Tensor) -> tg.Tensor:
    """(tasks, points, 1) to the same, every task with its own weights."""
    for k in range(0, len(weights), 2):
        x = x @ weights[k] + weights[k + 1]
        x = F.relu(x) if k < len(weights) - 2 else x
    return x


def adapted(weights: list[tg.Tensor], x: tg.Tensor, y: tg.Tensor, steps: int) -> list[tg.Tensor]:
    """The weights after gradient steps on each task; differentiable with respect to the start."""
    own = [w.expand(len(x), -1, -1) for w in weights]
    for _ in range(steps):
        loss = (network(own, x) - y).square().mean((1, 2)).sum()
        gradients = tg.autograd.grad(loss, own, create_graph=True)
        own = [w - INNER_RATE * g for w, g in zip(own, gradients, strict=True)]
    return own


def sample(tasks: int) -> tuple[tg.Tensor, tg.Tensor]:
    """Height and phase of each task, (tasks, 1, 1)."""
    return 0.5 + 2.5 * tg.rand(tasks, 1, 1), pi * tg.rand(tasks, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tg.set_default_device(tg.accelerator.current_accelerator())  # None means the CPU
    tg.manual_seed(0)
    weights = start_weights()
    optimizer = tg.optim.Adam(weights, lr=1e-3)
    bar = trange(1, options.rounds + 1, desc="meta-training")
    for step in bar:
        height, phase = sample(TASKS)
        x = 10 * tg.rand(TASKS, 2 * POINTS, 1) - 5
        y = height * tg.sin(x + phase)
        own = adapted(weights, x[:, :POINTS], y[:, :POINTS], steps=1)
        loss = (network(own, x[:, POINTS:]) - y[:, POINTS:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 1000 == 0:
            bar.write(f"round {step}: error after one step {loss.item():.3f}")
    height, phase = sample(100)
    x = 10 * tg.rand(100, POINTS, 1) - 5
    line = tg.linspace(-5, 5, 100).reshape(1, 100, 1).expand(100, -1, -1)
    truth = height * tg.sin(line + phase)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for steps in (0, 1, 10):
        own = adapted(weights, x, height * tg.sin(x + phase), steps)
        with tg.no_grad():
            guess = network(own, line)
            error = (guess - truth).square().mean().item()
        print(f"new tasks, {steps:2} steps: error {error:.3f}")
        axes.plot(line[0, :, 0].tolist(), guess[0, :, 0].tolist(), label=f"{steps} steps")
    axes.plot(line[0, :, 0].tolist(), truth[0, :, 0].tolist(), "k--", label="truth")
    axes.legend()
    figure.savefig(options.out / "maml.png", dpi=120)
    print(f"picture: {options.out / 'maml.png'}")


if __name__ == "__main__":
    main()
