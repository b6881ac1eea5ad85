"""A variational autoencoder learns to draw digits; saves a grid of new ones.

Source: Kingma and Welling 2014, "Auto-Encoding Variational Bayes".
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from tqdm import tqdm

import tensorgl as tg
from tensorgl import nn
from tensorgl.datasets import digits
from tensorgl.nn import functional as F
from tensorgl.utils.data import DataLoader

LATENT = 8


class VAE(nn.Module):
    """64 pixels to the mean and log-variance of 8 latent numbers, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * LATENT),
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 128),
            nn.ReLU(),
            nn.Linear(128, 256),
            nn.ReLU(),
            nn.Linear(256, 64),
            nn.Unflatten(1, (1, 8, 8)),
        )

    def forward(self, images: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        z = mean + tg.exp(0.5 * log_variance) * tg.randn_like(mean)
        return self.decoder(z), mean, log_variance


def losses(model: VAE, images: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    """Reconstruction and divergence from the standard normal, in nats an image (eq. 10)."""
    logits, mean, log_variance = model(images)
    pixels = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return pixels / len(images), divergence / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tg.set_default_device(tg.accelerator.current_accelerator())  # None means the CPU
    tg.manual_seed(0)
    data = digits()
    loader = DataLoader(data, batch_size=64, shuffle=True)
    model = VAE()
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-3)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    bar = tqdm(range(1, options.epochs + 1), desc="training")
    for epoch in bar:
        total = [0.0, 0.0]
        for images, _ in loader:
            images = images.to(tg.get_default_device())
            optimizer.zero_grad()
            pixels, divergence = losses(model, images)
            (pixels + divergence).backward()
            optimizer.step()
            total[0] += pixels.item() * len(images)
            total[1] += divergence.item() * len(images)
        schedule.step()
        if epoch % 25 == 0 or epoch == options.epochs:
            a, b = (t / len(data) for t in total)
            bar.write(f"epoch {epoch}: reconstruction {a:.2f}, divergence {b:.2f} nats")
    with tg.no_grad():
        drawn = model.decoder(tg.randn(100, LATENT)).sigmoid()
    framed = F.pad(drawn, (1, 1, 1, 1), value=0.3).reshape(10, 10, 10, 10)
    grid = framed.permute(0, 2, 1, 3).reshape(100, 100)
    large = grid.repeat_interleave(6, 0).repeat_interleave(6, 1)
    path = options.out / "vae-digits.png"
    plt.imsave(path, large.cpu().numpy(), cmap="gray")
    print(f"a hundred new digits: {path}")


if __name__ == "__main__":
    main()
