"""Training in step: the same as one process on the whole batch, whoever takes part."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn, optim
from tensorgl.datasets import digits
from tensorgl.distributed import DistributedDataParallel, HubOptimizer
from tensorgl.distributed import session as session_module
from tensorgl.distributed.view import hash_of
from tensorgl.utils.data import DataLoader, DistributedSampler, Subset, TensorDataset
from tests.distributed.running import Flaky, Trainer, joined, network, running, together

CUTS = [(0, 5), (5, 16), (16, 32)]
"""Shares of three members, which are of different sizes."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PAUSE_S", 0.02)


@pytest.fixture
def batch() -> tuple[tg.Tensor, tg.Tensor]:
    return tg.randn(32, 6), tg.randint(0, 3, (32,))


def two_groups(p: Any) -> optim.Optimizer:
    p = list(p)
    wide, narrow = [q for q in p if q.ndim > 1], [q for q in p if q.ndim == 1]
    return optim.AdamW(
        [{"params": wide, "weight_decay": 0.1}, {"params": narrow, "weight_decay": 0, "lr": 0.02}],
        lr=0.01,
    )


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "AdamW in groups": two_groups,
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_shares_make_the_whole_batch(tmp_path: Path, batch: Any, name: str) -> None:
    x, y = batch
    steps, make = 6, OPTIMIZERS[name]
    net = network()
    optimizer = make(net.parameters())
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()

    def train(member: Trainer, share: tuple[int, int]) -> None:
        schedule = optim.lr_scheduler.ExponentialLR(member.optimizer, 0.8)
        for _ in range(steps):
            member.step(x[slice(*share)], y[slice(*share)])
            schedule.step()

    with running(tmp_path, up="raw", down="raw", least_members=3) as hub:
        members = [
            Trainer(hub.client(), make, seed=k) for k in range(3)
        ]  # the first one's seed counts
        together([lambda m=m, c=c: train(m, c) for m, c in zip(members, CUTS, strict=True)])
        for member in members:
            for value, p in zip(member.parameters(), net.parameters(), strict=True):
                wanted = p.detach().numpy()
                assert np.linalg.norm(value - wanted) <= 1e-6 * np.linalg.norm(wanted)
            member.client.close()


def test_lossy_replicas_are_equal_bit_for_bit(tmp_path: Path, batch: Any) -> None:
    x, y = batch
    with running(tmp_path, up="int8", down="int8", least_members=3) as hub:
        members = [Trainer(hub.client(), lambda p: optim.Adam(p, lr=0.03)) for _ in range(3)]
        losses = together(
            [
                lambda m=m, c=c: [m.step(x[slice(*c)], y[slice(*c)]) for _ in range(40)]
                for m, c in zip(members, CUTS, strict=True)
            ]
        )
        hashes = {hash_of(m.client.view.values.data) for m in members}
        assert hashes == {hub.hub.run.hash}
        for member in members:
            for value, other in zip(member.parameters(), members[0].parameters(), strict=True):
                np.testing.assert_array_equal(value, other)
            member.client.close()
        assert sum(each[-1] for each in losses) < 0.5 * sum(each[0] for each in losses)


def test_who_joins_late_and_who_leaves(tmp_path: Path, batch: Any) -> None:
    x, y = batch
    with running(tmp_path, up="int8", down="int8") as hub:
        first = Trainer(hub.client())
        for _ in range(3):
            first.step(x, y)
        late = Trainer(hub.client(), seed=1)
        for value, other in zip(late.parameters(), first.parameters(), strict=True):
            np.testing.assert_array_equal(value, other)

        def leave() -> None:
            for _ in range(4):
                first.step(x[:16], y[:16])
            first.client.close()

        together([leave, lambda: [late.step(x[16:], y[16:]) for _ in range(8)]])
        assert late.client.world <= 2
        assert hash_of(late.client.view.values.data) == hub.hub.run.hash
        late.client.close()


def test_devices_may_differ(tmp_path: Path, batch: Any, gl_target: str) -> None:
    """Parameters are the same bit for bit, as no member computes them."""
    x, y = batch

    def train(net: Any, optimizer: Any, device: str, share: slice) -> None:
        for _ in range(4):
            optimizer.zero_grad()
            scores = net(x[share].to(device))
            nn.functional.cross_entropy(scores, y[share].to(device)).backward()
            optimizer.step()

    with running(tmp_path, up="raw", down="raw", least_members=2) as hub:
        nets = [network().to(device) for device in ("gl", "cpu")]
        clients = [hub.client() for _ in nets]
        made: list[tuple[Any, Any]] = []
        for client, net in zip(clients, nets, strict=True):
            with joined(client):
                wrapped = DistributedDataParallel(net, bucket_bytes=100)
                optimizer = HubOptimizer(optim.Adam(wrapped.parameters(), lr=0.01))
                made.append((wrapped, optimizer))
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(train, *made[1], "cpu", slice(0, 11))
            train(*made[0], "gl", slice(11, 32))  # here, where the context is
            other.result(60)
        for client in clients:
            client.close()
        expected = network()
        optimizer = optim.Adam(expected.parameters(), lr=0.01)
        train(expected, optimizer, "cpu", slice(0, 32))
        for p, q, wanted in zip(*(n.parameters() for n in (*nets, expected)), strict=True):
            np.testing.assert_array_equal(p.detach().cpu().numpy(), q.detach().numpy())
            np.testing.assert_allclose(q.detach().numpy(), wanted.detach().numpy(), atol=1e-4)


class TestModule:
    def test_names_are_those_of_torch(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            member = Trainer(hub.client())
            assert list(member.net.state_dict()) == [
                "module.0.weight", "module.0.bias", "module.2.weight", "module.2.bias",
            ]  # fmt: skip
            assert nn.parallel.DistributedDataParallel is DistributedDataParallel
            member.client.close()

    def test_needs_a_run(self) -> None:
        with pytest.raises(RuntimeError, match="takes part in no run; call"):
            DistributedDataParallel(network())

    def test_needs_an_optimizer_at_the_hub(self, tmp_path: Path, batch: Any) -> None:
        with running(tmp_path) as hub, joined(hub.client()) as client:
            net = DistributedDataParallel(network())
            with pytest.raises(
                RuntimeError, match=r"tensorgl.distributed.HubOptimizer\(optimizer\)"
            ):
                net(batch[0])
            with tg.no_grad():
                net(batch[0])
            net.eval()(batch[0])
            client.close()

    def test_of_float32_only(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub, joined(hub.client()) as client:
            net = network().double()
            with pytest.raises(TypeError, match="expected a parameter of float32"):
                HubOptimizer(optim.SGD(net.parameters(), lr=0.1))
            client.close()

    def test_gradients_may_be_accumulated_and_clipped(self, tmp_path: Path, batch: Any) -> None:
        x, y = batch
        with running(tmp_path, up="raw", down="raw") as hub:
            member, net = Trainer(hub.client()), network()
            optimizer = optim.SGD(net.parameters(), lr=0.1)
            for one, inner in ((member.net, member.optimizer), (net, optimizer)):
                inner.zero_grad()
                for part in (slice(0, 16), slice(16, 32)):
                    (nn.functional.cross_entropy(one(x[part]), y[part]) / 2).backward()
                nn.utils.clip_grad_norm_(one.parameters(), 0.01)
                inner.step()
            for value, p in zip(member.parameters(), net.parameters(), strict=True):
                np.testing.assert_allclose(value, p.detach().numpy(), rtol=1e-6, atol=1e-8)
            member.client.close()

    def test_a_gradient_may_be_replaced(self, tmp_path: Path, batch: Any) -> None:
        x, y = batch
        with running(tmp_path, up="raw", down="raw") as hub:
            member, net = Trainer(hub.client()), network()
            optimizer = optim.SGD(net.parameters(), lr=0.1)
            for one, inner in ((member.net, member.optimizer), (net, optimizer)):
                nn.functional.cross_entropy(one(x), y).backward()
                for p in one.parameters():
                    p.grad = p.grad / 2
                inner.step()
            for value, p in zip(member.parameters(), net.parameters(), strict=True):
                np.testing.assert_allclose(value, p.detach().numpy(), rtol=1e-6, atol=1e-8)
            member.client.close()

    def test_buckets_travel_while_backward_goes_on(self, tmp_path: Path, batch: Any) -> None:
        x, y = batch
        with running(tmp_path, up="raw", down="raw") as hub:
            member = Trainer(hub.client())
            told: list[str] = []
            put = member.client.put
            member.client.put = lambda values: (told.append(f"sent {len(values)}"), put(values))
            first = next(iter(member.inner.parameters()))
            first.register_hook(lambda g: told.append("the gradient of the first layer"))
            loss = nn.functional.cross_entropy(member.net(x), y)
            loss.backward()
            before = told.index("the gradient of the first layer")
            assert before > 0  # the last layer's was on its way by then
            with member.net.no_sync():
                sent = len(told)
                nn.functional.cross_entropy(member.net(x), y).backward()
                assert not any(line.startswith("sent") for line in told[sent:])
            member.client.close()

    def test_parameters_without_a_gradient(self, tmp_path: Path, batch: Any) -> None:
        with running(tmp_path, up="raw", down="raw") as hub:
            member = Trainer(hub.client())
            before = member.parameters()
            (member.net(batch[0]).sum() * 0 + member.inner[2].bias.sum()).backward()
            member.inner[0].weight.grad = None
            member.optimizer.step()
            np.testing.assert_array_equal(member.parameters()[0], before[0])
            np.testing.assert_allclose(member.parameters()[3], before[3] - np.float32(0.1))
            member.client.close()

    def test_options_are_plain(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub, joined(hub.client()) as client:
            optimizer = optim.SGD(network().parameters(), lr=0.1)
            optimizer.param_groups[0]["momentum"] = "much"
            with pytest.raises(TypeError, match="SGD: momentum: expected a number, given 'much'"):
                HubOptimizer(optimizer)
            client.close()

    def test_whose_steps_a_hub_can_make(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub, joined(hub.client()) as client:
            weights = [p for p in network().parameters() if p.ndim == 2]
            with pytest.raises(TypeError, match="HubOptimizer: optimizer: expected one of"):
                HubOptimizer(optim.Muon(weights, lr=0.1))
            client.close()

    def test_parameters_are_fixed(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            member = Trainer(hub.client())
            with pytest.raises(RuntimeError, match="HubOptimizer: a run's model cannot get more"):
                member.optimizer.add_param_group({"params": list(network().parameters())})
            member.client.close()

    def test_a_schedule_of_the_optimizer_inside(self, tmp_path: Path, batch: Any) -> None:
        with running(tmp_path) as hub, joined(hub.client()) as client:
            net = network()
            inner = optim.SGD(net.parameters(), lr=0.1)
            optimizer = HubOptimizer(inner)
            schedule = optim.lr_scheduler.StepLR(inner, 1)
            optimizer.step()
            schedule.step()  # which warns where its optimizer made no step
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
            client.close()


def indexed(size: int) -> TensorDataset:
    """A data set whose samples are their own numbers."""
    return TensorDataset(tg.arange(size), tg.randn(size, 6), tg.randint(0, 3, (size,)))


class TestSampler:
    def test_every_sample_of_an_epoch_once(self, tmp_path: Path) -> None:
        data, epochs = indexed(100), 3
        with running(tmp_path, up="raw", down="raw", least_members=2) as hub:
            members = [Trainer(hub.client()) for _ in range(2)]
            loaders: list[DataLoader] = []
            for member in members:
                with joined(member.client):
                    loaders.append(DataLoader(data, batch_sampler=DistributedSampler(data, 24)))

            def train(member: Trainer, loader: DataLoader) -> list[Counter[int]]:
                seen: list[Counter[int]] = []
                for _ in range(epochs):
                    seen.append(Counter())
                    for number, x, y in loader:
                        member.step(x, y)
                        seen[-1].update(number.tolist())
                member.client.close()
                return seen

            both = together(
                [lambda m=m, d=d: train(m, d) for m, d in zip(members, loaders, strict=True)]
            )
            orders = loaders[0].batch_sampler
            assert orders._indices(0, 100) != orders._indices(100, 200)
            assert sorted(orders._indices(100, 200)) == list(range(100))
        for one, other in zip(*both, strict=True):
            assert one + other == Counter(range(100))
            assert min(one.total(), other.total()) > 0

    # asyncio leaves a socket open that is accepted at the moment when its server ends.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("seed", range(3))
    def test_every_sample_counts_once_whatever_is_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        monkeypatch.setattr(session_module, "HEARTBEAT_S", 0.1)
        data, epochs, draw = indexed(100), 3, random.Random(seed)
        counted: Counter[int] = Counter()
        with running(tmp_path, lease=1.0, up="raw", down="raw", least_members=2) as hub:
            plans = [
                Flaky(
                    [k for k in range(8, 400) if draw.random() < 0.05],
                    [k for k in range(8, 400) if draw.random() < 0.05],
                )
                for _ in range(2)
            ]
            members = [Trainer(hub.client(plan)) for plan in plans]
            samplers: list[DistributedSampler] = []
            for member in members:
                with joined(member.client):
                    samplers.append(DistributedSampler(data, 24))

            def train(member: Trainer, sampler: DistributedSampler) -> None:
                begin, commit = member.client.begin, member.client.commit
                shares: list[Any] = []

                def begun(*args: Any) -> None:
                    shares.append(member.client.task and member.client.task.share)
                    begin(*args)

                def committed(*args: Any) -> str:
                    outcome = commit(*args)
                    if outcome in ("counted", "carried"):
                        counted.update(range(*shares[-1]))
                    return outcome

                member.client.begin, member.client.commit = begun, committed
                for epoch in range(epochs):
                    sampler.set_epoch(epoch)
                    for _, x, y in DataLoader(data, batch_sampler=sampler):
                        member.step(x, y)
                member.client.close()

            def restart() -> None:
                for version in (3, 8):
                    while members[0].client.view.version < version:
                        time.sleep(0.001)
                    hub.stop()
                    hub.start()

            works = [lambda m=m, s=s: train(m, s) for m, s in zip(members, samplers, strict=True)]
            together([*works, restart])
        assert sum(plan.connections for plan in plans) > 2
        assert counted == Counter(range(100 * epochs))

    def test_asks_for_a_step(self, tmp_path: Path) -> None:
        data = indexed(20)
        with running(tmp_path) as hub:
            member = Trainer(hub.client())
            with joined(member.client):
                sampler = DistributedSampler(data, 8, shuffle=False)
            batches = iter(sampler)
            assert next(batches) == list(range(8))
            with pytest.raises(
                RuntimeError, match="after the optimizer's step, which was not made"
            ):
                next(batches)
            assert next(iter(sampler)) == list(range(8))
            assert len(sampler) == 3
            member.client.close()

    def test_an_epoch_that_is_over_is_empty(self, tmp_path: Path) -> None:
        data = indexed(20)
        with running(tmp_path) as hub:
            first = Trainer(hub.client())
            with joined(first.client):
                loader = DataLoader(data, batch_sampler=DistributedSampler(data, 8))
            for _, x, y in loader:
                first.step(x, y)
            first.client.close()
            late = Trainer(hub.client())
            with joined(late.client):
                sampler = DistributedSampler(data, 8)
            sampler.set_epoch(0)
            # The share of the next epoch that the first was given comes back.
            assert [len(b) for b in sampler] == []
            sampler.set_epoch(1)
            assert len(next(iter(sampler))) == 8
            late.client.close()

    def test_members_agree_on_the_data(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            with joined(hub.client()) as client:
                DistributedSampler(indexed(20), 8)
                client.close()
            with (
                joined(hub.client()),
                pytest.raises(session_module.HubError, match="another data"),
            ):
                DistributedSampler(indexed(20), 4)


def test_digits_with_a_sampler(tmp_path: Path) -> None:
    """What a script does, with two members: it learns, and both have the same network."""
    data = Subset(digits(), range(600))
    with running(tmp_path, least_members=2) as hub:
        works: list[Callable[[], float]] = []
        clients = [hub.client(), hub.client()]
        for client in clients:
            with joined(client):
                tg.manual_seed(0)
                net = DistributedDataParallel(
                    nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
                )
                optimizer = HubOptimizer(optim.Adam(net.parameters(), lr=0.01))
                loader = DataLoader(data, batch_sampler=DistributedSampler(data, 100))

            def work(net: Any = net, optimizer: Any = optimizer, loader: Any = loader) -> float:
                right, seen = 0, 0
                for _ in range(8):
                    right = seen = 0
                    for images, labels in loader:
                        scores = net(images)
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(scores, labels).backward()
                        optimizer.step()
                        right += (scores.argmax(1) == labels).sum().item()
                        seen += len(labels)
                return right / seen

            works.append(work)
        accuracies = together(works)
        assert min(accuracies) > 0.9
        for client in clients:
            client.close()
