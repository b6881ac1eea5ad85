"""Training apart: local steps, and what members come to together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn, optim
from tensorgl.datasets import digits
from tensorgl.distributed import DiLoCo, DistributedDataParallel
from tensorgl.distributed.view import hash_of
from tensorgl.utils.data import DataLoader, DistributedSampler, Subset, TensorDataset
from tests.distributed.running import Trainer, joined, network, running, together


def local_steps(x: tg.Tensor, y: tg.Tensor, start: Any, steps: int) -> list[np.ndarray]:
    """What one process comes to from some parameters."""
    net = network()
    with tg.no_grad():
        for p, value in zip(net.parameters(), start, strict=True):
            p.copy_(tg.from_numpy(np.array(value, np.float32)))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return [p.detach().numpy() for p in net.parameters()]


def test_the_mean_change_is_the_gradient_of_an_outer_step(tmp_path: Path) -> None:
    x, y = tg.randn(32, 6), tg.randint(0, 3, (32,))
    steps, shares = 3, [slice(0, 8), slice(8, 32)]
    start = [p.detach().numpy().copy() for p in network().parameters()]
    velocity, expected = [np.zeros_like(v) for v in start], start
    for _ in range(2):
        ends = [local_steps(x[s], y[s], expected, steps) for s in shares]
        weights = [steps * 8 / (steps * 32), steps * 24 / (steps * 32)]
        changes = [
            sum(w * (before - after) for w, after in zip(weights, each, strict=True))
            for before, *each in zip(expected, *ends, strict=True)
        ]
        velocity = [0.9 * v + g for v, g in zip(velocity, changes, strict=True)]
        expected = [
            p - 0.7 * (g + 0.9 * v) for p, g, v in zip(expected, changes, velocity, strict=True)
        ]
    with running(tmp_path, up="raw", down="raw", least_members=2) as hub:
        members = [Trainer(hub.client(), wrap=lambda o: DiLoCo(o, H=steps)) for _ in range(2)]
        together(
            [
                lambda m=m, s=s: [m.step(x[s], y[s]) for _ in range(2 * steps)]
                for m, s in zip(members, shares, strict=True)
            ]
        )
        for member in members:
            assert member.client.view.version == 2
            for value, wanted in zip(member.parameters(), expected, strict=True):
                np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-6)
            member.client.close()


def test_between_contributions_members_go_on_alone(tmp_path: Path) -> None:
    x, y = tg.randn(8, 6), tg.randint(0, 3, (8,))
    with running(tmp_path) as hub:
        member = Trainer(hub.client(), wrap=lambda o: DiLoCo(o, H=3))
        start = member.parameters()
        for _ in range(2):
            member.step(x, y)
        assert hub.hub.run.version == 0
        for value, wanted in zip(member.parameters(), local_steps(x, y, start, 2), strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)
        member.step(x, y)
        assert hub.hub.run.version == 1
        member.client.close()


def test_shares_are_cut_into_batches(tmp_path: Path) -> None:
    data = TensorDataset(tg.arange(90), tg.randn(90, 6), tg.randint(0, 3, (90,)))
    with running(tmp_path, least_members=2) as hub:
        works: list[Callable[[], list[list[int]]]] = []
        members = [Trainer(hub.client(), wrap=lambda o: DiLoCo(o, H=3)) for _ in range(2)]
        for member in members:
            with joined(member.client):
                loader = DataLoader(data, batch_sampler=DistributedSampler(data, 8))

            def work(member: Trainer = member, loader: Any = loader) -> list[list[int]]:
                seen: list[list[int]] = []
                for number, x, y in loader:
                    member.step(x, y)
                    seen.append(number.tolist())
                member.client.close()
                return seen

            works.append(work)
        seen = together(works)
        assert hub.hub.run.version == 2  # 2 * 3 * 8 samples, and the rest of the epoch
    assert Counter(i for each in seen for batch in each for i in batch) == Counter(range(90))
    assert max(len(batch) for each in seen for batch in each) == 8


def test_learns_digits(tmp_path: Path) -> None:
    data = digits()
    train, rest = Subset(data, range(1200)), Subset(data, range(1200, 1797))
    # int8, both ways; equal shares, so that it is the same each time.
    with running(tmp_path, least_members=2, balanced=False) as hub:
        works: list[Callable[[], float]] = []
        clients = [hub.client(), hub.client()]
        for client in clients:
            with joined(client):
                tg.manual_seed(0)
                net = DistributedDataParallel(
                    nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
                )
                optimizer = DiLoCo(optim.AdamW(net.parameters(), lr=0.01), H=5)
                loader = DataLoader(train, batch_sampler=DistributedSampler(train, 40))

            def work(net: Any = net, optimizer: Any = optimizer, loader: Any = loader) -> float:
                for _ in range(12):
                    for images, labels in loader:
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(net(images), labels).backward()
                        optimizer.step()
                images, labels = rest.take(range(len(rest)))
                with tg.no_grad():
                    return (net(images).argmax(1) == labels).float().mean().item()

            works.append(work)
        assert min(together(works)) > 0.85
        views = [hash_of(c.view.values.data) for c in clients if c.view]
        assert views == [hub.hub.run.hash] * 2
        for client in clients:
            client.close()


def test_state_is_that_of_the_local_optimizer(tmp_path: Path) -> None:
    x, y = tg.randn(8, 6), tg.randint(0, 3, (8,))
    with running(tmp_path) as hub:
        member = Trainer(hub.client(), lambda p: optim.Adam(p, lr=0.01), lambda o: DiLoCo(o, H=2))
        member.step(x, y)
        state = member.optimizer.state_dict()
        assert state["state"][0]["step"] == 1
        member.optimizer.load_state_dict(state)
        member.client.close()


def test_needs_steps(tmp_path: Path) -> None:
    with running(tmp_path) as hub, joined(hub.client()) as client:
        with pytest.raises(ValueError, match="at least one local step, given H=0"):
            DiLoCo(optim.SGD(network().parameters(), lr=0.1), H=0)
        client.close()
