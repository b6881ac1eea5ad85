"""What each process of `python -m bench sync --real` runs, natively or in a tab: it learns digits.

With TENSORGL_HUB it is a member of a run, without it trains alone. The network has neither batch
normalisation nor dropout, so its parameters, which all members share, decide what it answers. Prints lines of
JSON: one for each contribution, and one at the end. It stands alone, as a tab has nothing of `bench`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

import tensorgl as tg
import tensorgl.distributed as dist
from tensorgl import nn, optim
from tensorgl.backends import backend_of
from tensorgl.datasets import digits
from tensorgl.distributed.group import client
from tensorgl.distributed.view import hash_of
from tensorgl.nn.utils import parameters_to_vector
from tensorgl.utils.data import DataLoader, DistributedSampler, TensorDataset

BATCH = 256
LR = 2e-3


def split() -> tuple[TensorDataset, TensorDataset]:
    """Digits to train with, and to test with: every sixth, as the writers are in turns."""
    images, labels = digits().tensors
    held = np.arange(len(images)) % 6 == 0
    train, test = (tg.from_numpy(np.flatnonzero(part)) for part in (~held, held))
    return TensorDataset(images[train], labels[train]), TensorDataset(images[test], labels[test])


def network() -> nn.Module:
    """Always with the same numbers."""
    tg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 2 * 2, 10),
    )  # fmt: skip


def renderer(device: tg.device) -> str:
    """What computes."""
    backend: Any = backend_of(device)
    return "numpy" if device.type == "cpu" else backend.device.limits.renderer


def version() -> int:
    """How many rounds are over."""
    view = client().view
    return view.version if view else 0


def main(rounds: int) -> None:
    """Train until so many rounds are over, which alone are steps."""
    together = "TENSORGL_HUB" in os.environ
    device = tg.get_default_device()
    train, test = split()
    net = network().to(device)
    if together:
        dist.init_process_group()
        net = dist.DistributedDataParallel(net)
        optimizer = dist.HubOptimizer(optim.Adam(net.parameters(), lr=LR))
        loader = DataLoader(train, batch_sampler=DistributedSampler(train, batch_size=BATCH))
    else:
        optimizer = optim.Adam(net.parameters(), lr=LR)
        loader = DataLoader(train, batch_size=BATCH, shuffle=True)
    done = 0
    while done < rounds:
        for images, labels in loader:
            loss = nn.functional.cross_entropy(net(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done = version() if together else done + 1
            print(json.dumps({"round": done, "samples": len(images)}), flush=True)
            if done >= rounds:
                break
    if together:
        dist.barrier()
        client().refresh()  # all have the same parameters, also where somebody's last one came late
    with tg.no_grad():
        images, labels = test.tensors
        right = net(images.to(device)).argmax(1).cpu() == labels
    end: dict[str, object] = {"accuracy": right.float().mean().item(), "on": renderer(device)}
    if together:
        # The hub's vector begins with the last parameter; these are read back from the device.
        values = parameters_to_vector(reversed(list(net.parameters()))).detach()
        end |= {
            "transport": client().transport,
            "round": version(),
            "hash": hash_of(values.cpu().numpy().data),
        }
    print(json.dumps(end), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
