"""A small network fits a noisy curve and says how sure it is.

It predicts a mean and a variance for each x, trained by the Gaussian likelihood; five networks
together show where there was no data. Saves a picture of the curve with its band.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from tqdm import trange

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn import functional as F

NETWORKS = 5


def curve(x: tg.Tensor) -> tg.Tensor:
    return tg.sin(3 * x) + 0.5 * x


def noise(x: tg.Tensor) -> tg.Tensor:
    """Standard deviation of the measurements: more to the right."""
    return 0.05 + 0.25 * tg.sigmoid(2 * x)


def sample(n: int) -> tuple[tg.Tensor, tg.Tensor]:
    """Measurements at x in [-2, -0.4] and [0.4, 2]: none in between."""
    x = (0.4 + 1.6 * tg.rand(n, 1)) * tg.where(tg.rand(n, 1) < 0.5, -1.0, 1.0)
    return x, curve(x) + noise(x) * tg.randn(n, 1)


def build() -> nn.Module:
    return nn.Sequential(
        nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
    )


def predict(model: nn.Module, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    mean, raw = model(x).chunk(2, dim=1)
    return mean, F.softplus(raw) + 1e-4


def train(model: nn.Module, x: tg.Tensor, y: tg.Tensor, steps: int, name: str) -> float:
    optimizer = tg.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = tg.zeros(())
    for _ in trange(steps, desc=name, leave=False):
        rows = tg.randint(0, len(x), (64,))
        optimizer.zero_grad()
        mean, variance = predict(model, x[rows])
        loss = F.gaussian_nll_loss(mean, y[rows], variance)
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tg.set_default_device(tg.accelerator.current_accelerator())  # None means the CPU
    tg.manual_seed(0)
    x, y = sample(400)
    models = [build() for _ in range(NETWORKS)]
    for k, model in enumerate(models, 1):
        loss = train(model, x, y, options.steps, f"network {k}")
        print(f"network {k} of {NETWORKS}: loss {loss:.3f}")
    grid = tg.linspace(-2.5, 2.5, 300).unsqueeze(1)
    with tg.no_grad():
        means, variances = map(tg.stack, zip(*(predict(m, grid) for m in models), strict=True))
        x_test, y_test = sample(2000)
        fit = tg.stack([predict(m, x_test)[0] for m in models]).mean(0)
    mean = means.mean(0).squeeze(1)
    # The variance of a mixture: the mean noise, and how much the networks differ.
    spread = (variances.mean(0) + means.var(0, unbiased=False)).sqrt().squeeze(1)
    print(f"test error {(fit - y_test).square().mean().sqrt().item():.3f} (noise alone 0.20)")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    line = grid.squeeze(1).tolist()
    low, high = (mean - 2 * spread).tolist(), (mean + 2 * spread).tolist()
    axes.fill_between(line, low, high, alpha=0.25, label="two standard deviations")
    axes.plot(line, mean.tolist(), label="prediction")
    axes.plot(line, curve(grid).squeeze(1).tolist(), "k--", lw=1, label="truth")
    axes.plot(x.tolist(), y.tolist(), ".", ms=3, color="gray", label="measurements")
    axes.set(xlabel="x", ylabel="y", ylim=(-4, 4))
    axes.legend(loc="upper left")
    figure.savefig(options.out / "regression.png", dpi=120)
    print(f"picture: {options.out / 'regression.png'}")


if __name__ == "__main__":
    main()
