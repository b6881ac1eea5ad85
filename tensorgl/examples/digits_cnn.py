"""A convolutional network learns to read handwritten digits, in under a minute on a CPU."""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

import tensorgl as tg
from tensorgl import nn
from tensorgl.datasets import digits
from tensorgl.utils.data import DataLoader, random_split


def build() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64 * 2 * 2, 10),
    )


@tg.no_grad()
def evaluate(model: nn.Module, loader: DataLoader) -> tuple[float, tg.Tensor]:
    """The accuracy, and how often each digit (row) was read as each (column)."""
    model.eval()
    confusion = tg.zeros(10, 10, dtype=tg.int64)
    for images, labels in loader:
        guesses = model(images.to(confusion.device)).argmax(1)
        pairs = labels.to(guesses.device) * 10 + guesses
        confusion += pairs.bincount(minlength=100).reshape(10, 10)
    return (confusion.trace() / confusion.sum()).item(), confusion


def plot(history: list[tuple[float, float]], counts: np.ndarray, out: Path) -> None:
    losses, accuracies = zip(*history, strict=True)
    figure, left = plt.subplots(figsize=(6, 4), layout="constrained")
    left.plot(range(1, len(losses) + 1), losses, color="tab:blue")
    left.set(xlabel="epoch", ylabel="training loss (blue)", yscale="log")
    right = left.twinx()
    right.plot(range(1, len(losses) + 1), [100 * a for a in accuracies], color="tab:orange")
    right.set_ylabel("test accuracy, % (orange)")
    figure.savefig(out / "learning-curve.png")
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.imshow(counts**0.5, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, count or "", ha="center", va="center", color="kw"[row == column])
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))
    figure.savefig(out / "confusion-matrix.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tg.set_default_device(tg.accelerator.current_accelerator())  # None means the CPU
    tg.manual_seed(0)
    train, test = random_split(digits(), [0.8, 0.2])
    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    test_loader = DataLoader(test, batch_size=256)
    model = build()
    optimizer = tg.optim.Adam(model.parameters(), lr=2e-3)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    history, start = [], time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        model.train()
        total = 0.0
        for images, labels in tqdm(train_loader, desc=f"epoch {epoch:2}", leave=False):
            labels = labels.to(tg.get_default_device())
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.to(labels.device)), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        schedule.step()
        accuracy, _ = evaluate(model, test_loader)
        history.append((total / len(train), accuracy))
        print(f"epoch {epoch:2}  loss {history[-1][0]:.4f}  test accuracy {100 * accuracy:.2f} %")
    print(f"trained on {len(train)} digits in {time.perf_counter() - start:.1f} s")
    plot(history, evaluate(model, test_loader)[1].cpu().numpy(), options.out)
    print(f"pictures: {options.out / 'learning-curve.png'}, {options.out / 'confusion-matrix.png'}")
    print("Try next: tensorgl run tensorgl/examples/char_gpt.py, a GPT that learns a poem;")
    print("or change build() in tensorgl/examples/digits_cnn.py, and see what that does.")


if __name__ == "__main__":
    main()
