"""What a script may do with a module and an optimizer that it has wrapped, and what it is told if it may not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn, optim
from tensorgl.distributed import DiLoCo, DistributedDataParallel, HubOptimizer
from tensorgl.distributed.session import HubError
from tensorgl.utils.data import DistributedSampler
from tests.distributed.running import Running, Trainer, joined, network, running

WRAPS: dict[str, Callable[[Any], Any]] = {
    "HubOptimizer": HubOptimizer,
    "DiLoCo": lambda o: DiLoCo(o, H=2),
}


@pytest.fixture
def batch() -> tuple[tg.Tensor, tg.Tensor]:
    return tg.randn(8, 6), tg.randint(0, 3, (8,))


def values(net: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in net.parameters()]


def close(one: nn.Module, other: nn.Module) -> None:
    for value, wanted in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)


def normed() -> nn.Sequential:
    tg.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))


class Member:
    """One that wraps a net in small buckets, and notes of how many samples its contributions are."""

    def __init__(
        self, hub: Running, net: nn.Module, optimizer: Any = None, wrap: Any = HubOptimizer
    ) -> None:
        self.client = hub.client()
        self.samples: list[int] = []
        begin = self.client.begin

        def begun(version: int, samples: int, lr: list[float]) -> None:
            self.samples.append(samples)
            begin(version, samples, lr)

        self.client.begin = begun
        with joined(self.client):
            self.net = DistributedDataParallel(net, bucket_bytes=100)
            self.optimizer = wrap(optimizer or optim.SGD(self.net.parameters(), lr=0.1))


# Which parameters are trained


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("before", [True, False])
def test_what_is_trained_stays(tmp_path: Path, batch: Any, wrap: str, before: bool) -> None:
    with running(tmp_path) as hub:
        client, net = hub.client(), network()
        net[0].weight.requires_grad = before
        with joined(client):
            wrapped = DistributedDataParallel(net)
            optimizer = WRAPS[wrap](optim.SGD(wrapped.parameters(), lr=0.1))
        for trained in (before, not before):
            net[0].weight.requires_grad = trained
            nn.functional.cross_entropy(wrapped(batch[0]), batch[1]).backward()
            if trained is before:
                optimizer.step()
        with pytest.raises(
            RuntimeError, match=rf"0\.weight: requires_grad was {before} .* is {not before}"
        ):
            optimizer.step()
        client.close()


@pytest.mark.parametrize("given", [True, False])
def test_frozen_values_are_the_same_everywhere(tmp_path: Path, given: bool) -> None:
    """Whether the optimizer is given the frozen ones or not."""

    def wrap(hub: Running, seed: int) -> Any:
        client, net = hub.client(), network(seed)
        net[0].weight.requires_grad = False
        with joined(client):
            wrapped = DistributedDataParallel(net)
            parameters = [p for p in wrapped.parameters() if given or p.requires_grad]
            HubOptimizer(optim.SGD(parameters, lr=0.1))
        return client

    with running(tmp_path) as hub:
        clients = [wrap(hub, 0), wrap(hub, 0)]
        with pytest.raises(HubError, match="Or its frozen parameters have other values here"):
            wrap(hub, 1)
        for client in clients:
            client.close()
        hub.stop()
        hub.start()
        wrap(hub, 0).close()


# Gradients


WRITES: dict[str, Callable[[tg.Tensor], Any]] = {
    "data": lambda g: g.data.clamp_(-0.01, 0.01),
    "numpy": lambda g: np.clip(g.numpy(), -0.01, 0.01, out=g.numpy()),
}


@pytest.mark.parametrize("name", WRITES)
def test_gradients_that_are_written_to_unseen(tmp_path: Path, batch: Any, name: str) -> None:
    x, y = batch
    with running(tmp_path, up="raw", down="raw") as hub:
        net, member = network(), Member(hub, network())
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        for one, inner in ((net, optimizer), (member.net, member.optimizer)):
            nn.functional.cross_entropy(one(x), y).backward()
            for p in one.parameters():
                assert p.grad is not None
                WRITES[name](p.grad)
            inner.step()
        close(member.net, net)
        assert member.samples == [8, 8]
        member.client.close()


# Batches that are skipped


@pytest.mark.parametrize("clear", ["before forward", "after forward", "by the module"])
@pytest.mark.parametrize("skip", ["before backward", "after backward", "never"])
def test_skipped_batches(tmp_path: Path, clear: str, skip: str) -> None:
    tg.manual_seed(1)
    batches = [(tg.randn(n, 6), tg.randint(0, 3, (n,))) for n in (8, 5, 7, 6)]
    if skip != "never":
        batches[1][0][0, 0] = batches[2][0][0, 0] = float("nan")

    def train(net: nn.Module, optimizer: Any) -> None:
        for x, y in batches:
            if clear == "before forward":
                optimizer.zero_grad()
            elif clear == "by the module":
                net.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            if skip == "before backward" and np.isnan(loss.item()):
                continue
            if clear == "after forward":
                optimizer.zero_grad()
            loss.backward()
            if skip == "after backward" and np.isnan(loss.item()):
                continue
            optimizer.step()

    with running(tmp_path, up="raw", down="raw") as hub:
        member, net = Member(hub, normed()), normed()
        train(member.net, member.optimizer)
        counted = [b for b in batches if not np.isnan(b[0].numpy()).any()]
        assert [n for n in member.samples if n in (8, 6)] == [8, 6]
        assert max(member.samples) == 8
        batches[:] = counted
        train(net, optim.SGD(net.parameters(), lr=0.1))
        close(member.net, net)
        for name, b in net.named_buffers():
            found = member.net.state_dict()[f"module.{name}"].numpy()
            np.testing.assert_allclose(found, b.numpy(), rtol=1e-5, atol=1e-6)
        member.client.close()


def test_a_pass_counts_with_each_backward_and_not_without(tmp_path: Path, batch: Any) -> None:
    x, y = batch
    with running(tmp_path) as hub:
        member = Member(hub, nn.Sequential(nn.Linear(6, 3)))
        member.net(tg.randn(100, 6))
        loss = nn.functional.cross_entropy(member.net(x), y)
        for _ in range(2):
            member.optimizer.zero_grad()
            loss.backward(retain_graph=True)
            member.optimizer.step()
        assert member.samples == [8, 8]
        member.client.close()


def test_outputs_in_containers(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 3)

        def forward(self, x: tg.Tensor) -> Any:
            return {"scores": [self.inner(x)]}, None

    with running(tmp_path) as hub:
        member = Member(hub, Two())
        member.net(tg.randn(100, 6))
        outputs, _ = member.net(tg.randn(8, 6))
        outputs["scores"][0].sum().backward()
        member.optimizer.step()
        assert member.samples[-1] == 8
        member.client.close()


def test_local_steps_count_what_they_are_of(tmp_path: Path, batch: Any) -> None:
    x, y = batch
    with running(tmp_path) as hub:
        member = Member(hub, network(), wrap=WRAPS["DiLoCo"])
        for step in (True, False, True):
            member.optimizer.zero_grad()
            nn.functional.cross_entropy(member.net(x), y).backward()
            if step:
                member.optimizer.step()
        assert member.samples == [16]
        member.client.close()


def test_a_sampler_says_so_if_a_step_is_skipped(tmp_path: Path) -> None:
    x, y = tg.randn(20, 6), tg.randint(0, 3, (20,))
    with running(tmp_path) as hub:
        member = Trainer(hub.client())
        with joined(member.client):
            sampler = DistributedSampler(x, 8, shuffle=False)
        batches = iter(sampler)
        indices = next(batches)
        nn.functional.cross_entropy(member.net(x[indices]), y[indices]).backward()
        with pytest.raises(RuntimeError, match="after the optimizer's step, which was not made"):
            next(batches)
        batches = iter(sampler)
        assert next(batches) == indices
        before = values(member.inner)
        member.optimizer.zero_grad()
        member.optimizer.step()
        assert hub.hub.run.version == 1
        for value, other in zip(values(member.inner), before, strict=True):
            np.testing.assert_array_equal(value, other)
        assert next(batches) == list(range(8, 16))
        member.client.close()


# Options


@pytest.mark.parametrize("cycle", [True, False])
def test_schedules_of_lr_alone(tmp_path: Path, batch: Any, cycle: bool) -> None:
    x, y = batch

    def train(net: nn.Module, optimizer: Any) -> None:
        schedule = optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.5, total_steps=6, cycle_momentum=cycle
        )
        for _ in range(6):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            schedule.step()

    with running(tmp_path, up="raw", down="raw") as hub:
        net, inner = network(), network()
        member = Member(hub, inner, optim.SGD(inner.parameters(), lr=0.1, momentum=0.9))
        if cycle:
            with pytest.raises(RuntimeError, match=r"momentum of group 0 was 0\.9 .* is 0\.95"):
                train(member.net, member.optimizer)
        else:
            train(member.net, member.optimizer)
            train(net, optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
            close(member.net, net)
        member.client.close()


def test_local_optimizers_may_change(tmp_path: Path, batch: Any) -> None:
    with running(tmp_path) as hub:
        member = Trainer(hub.client(), wrap=WRAPS["DiLoCo"])
        member.step(*batch)
        member.optimizer.param_groups[0]["momentum"] = 0.5
        member.step(*batch)
        assert hub.hub.run.version == 1
        member.client.close()


# Parameters that the script writes to


def test_writes_are_warned_of_once(tmp_path: Path, batch: Any) -> None:
    with running(tmp_path) as hub:
        member, local = Trainer(hub.client()), network(5).state_dict()
        member.step(*batch)
        member.inner.load_state_dict(local)
        with pytest.warns(UserWarning, match="written to between steps .* which is lost"):
            member.step(*batch)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            member.inner.load_state_dict(local)
            member.step(*batch)
        member.client.close()


# Several modules, and several optimizers


def test_two_modules_of_one_optimizer(tmp_path: Path, batch: Any) -> None:
    x, y = batch

    def nets() -> tuple[nn.Sequential, nn.Sequential]:
        return normed(), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))

    def train(first: nn.Module, second: nn.Module, optimizer: Any) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(second(first(x)), y).backward()
            optimizer.step()

    tg.manual_seed(0)
    alone, inner = nets(), nets()
    with running(tmp_path, up="raw", down="raw") as hub, joined(hub.client()) as client:
        both = [DistributedDataParallel(net, bucket_bytes=100) for net in inner]
        optimizer = HubOptimizer(optim.SGD([p for m in both for p in m.parameters()], lr=0.1))
        model = hub.hub.run.definitions["model"]
        names = [name for name, _ in model["parameters"]]
        assert sorted(names) == sorted(
            f"{k}.{i}.{p}" for k in (0, 1) for i in (0, 1) for p in ("weight", "bias")
        )
        assert [name for name, *_ in model["statistics"]] == ["0.0", "1.0"]
        train(both[0], both[1], optimizer)
        train(*alone, optim.SGD([p for net in alone for p in net.parameters()], lr=0.1))
        for one, other in zip(inner, alone, strict=True):
            close(one, other)
            np.testing.assert_allclose(
                one[0].running_var.numpy(), other[0].running_var.numpy(), rtol=1e-5
            )
        client.close()


def test_a_run_has_one_optimizer(tmp_path: Path, batch: Any) -> None:
    with running(tmp_path) as hub:
        member = Trainer(hub.client())
        with joined(member.client):
            other = DistributedDataParallel(nn.Linear(3, 1))
            with pytest.raises(RuntimeError, match="wrapped before, and a run has one optimizer"):
                HubOptimizer(optim.SGD(other.parameters(), lr=0.1))
            with pytest.raises(RuntimeError, match="no optimizer makes this module's steps"):
                other(tg.randn(2, 3))
            member.step(*batch)  # that one goes on
            same = DistributedDataParallel(network(), bucket_bytes=100)
            HubOptimizer(optim.SGD(same.parameters(), lr=0.1))
        with pytest.raises(RuntimeError, match="another one was made since, and a run has one"):
            member.step(*batch)
        member.client.close()


def test_a_module_may_go_on_to_another_run(tmp_path: Path, batch: Any) -> None:
    x, y = batch
    with running(tmp_path / "first") as hub, running(tmp_path / "second") as other:
        first = Member(hub, network())
        nn.functional.cross_entropy(first.net(x), y).backward()
        first.client.close()
        second = Member(other, first.net.module)
        for _ in range(2):
            second.optimizer.zero_grad()
            nn.functional.cross_entropy(second.net(x), y).backward()
            second.optimizer.step()
        assert other.hub.run.version == 2
        assert first.samples == [8]
        second.client.close()


@pytest.mark.parametrize("what", ["all", "the optimizer", "all, with another network"])
def test_a_cell_may_run_again(tmp_path: Path, batch: Any, what: str) -> None:
    """Even after a backward that no step came after."""
    x, y = batch
    with running(tmp_path, up="raw", down="raw") as hub:
        member, alone = Member(hub, network()), network()
        wrapped, net = member.net, member.net.module
        nn.functional.cross_entropy(wrapped(x), y).backward()
        with joined(member.client):
            if what.endswith("network"):
                net = network(3)
            if what.startswith("all"):
                wrapped = DistributedDataParallel(net, bucket_bytes=100)
            optimizer: Any = HubOptimizer(optim.SGD(wrapped.parameters(), lr=0.1))
        for one, inner in ((wrapped, optimizer), (alone, optim.SGD(alone.parameters(), lr=0.1))):
            for _ in range(3):
                inner.zero_grad()
                nn.functional.cross_entropy(one(x), y).backward()
                inner.step()
        close(net, alone)
        assert hub.hub.run.version == 3
        member.client.close()
