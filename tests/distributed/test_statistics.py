"""Running statistics of batch norms: those of all members are as of one process on the whole batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl import nn, optim
from tensorgl.distributed import DiLoCo, DistributedDataParallel, HubOptimizer
from tensorgl.distributed import session as session_module
from tensorgl.distributed.definitions import Definitions
from tensorgl.distributed.model import Model
from tensorgl.distributed.staging import Staging
from tensorgl.distributed.statistics import (
    bucket_codecs,
    columns,
    cut,
    merge,
    move,
    total_variance,
    unsound,
)
from tensorgl.distributed.view import hash_of
from tensorgl.distributed.wire import Codec, Frame, Kind, ProtocolError
from tests.distributed.running import Running, joined, running, together

CUTS = [slice(0, 5), slice(5, 16), slice(16, 32)]
NORMS = [["a", 3, 0.1], ["b", 2, None]]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PAUSE_S", 0.02)


def network(momentum: float | None = 0.1) -> nn.Sequential:
    """Whose first norm sees the data themselves, and so the same in a shard as in the whole batch."""
    tg.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(2, momentum=momentum),
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, momentum=momentum),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def data(steps: int = 4) -> tuple[list[tg.Tensor], list[tg.Tensor]]:
    """The batches of some steps; means are far from 0 and differ from sample to sample."""
    tg.manual_seed(1)
    x = [3 + 2 * tg.randn(32, 2, 4, 4) + tg.randn(32, 1, 1, 1) for _ in range(steps)]
    return x, [tg.randint(0, 3, (32,)) for _ in range(steps)]


class Member:
    def __init__(
        self, hub: Running, net: nn.Module, wrap: Callable[[Any], Any] = HubOptimizer
    ) -> None:
        self.client, self.inner = hub.client(), net
        with joined(self.client):
            self.net = DistributedDataParallel(net, bucket_bytes=100)
            self.optimizer = wrap(optim.SGD(self.net.parameters(), lr=0.1))

    def backward(self, x: tg.Tensor, y: tg.Tensor) -> None:
        nn.functional.cross_entropy(self.net(x), y).backward()

    def step(self, x: tg.Tensor, y: tg.Tensor) -> None:
        self.optimizer.zero_grad()
        self.backward(x, y)
        self.optimizer.step()


def buffers(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: b.cpu().numpy().copy() for name, b in net.named_buffers()}


def close(value: Any, wanted: Any, relative: float = 1e-6) -> None:
    assert np.linalg.norm(value - wanted) <= relative * np.linalg.norm(wanted)


def row(parts: list[tuple[Any, Any, float]]) -> np.ndarray:
    return np.concatenate([np.array([*mean, *var, n], np.float32) for mean, var, n in parts])


# The arithmetic


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    values=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_merged_shards_are_the_whole_batch(sizes: list[int], values: int, seed: int) -> None:
    """A sample has so many values in each feature."""
    draw = np.random.default_rng(seed)
    x = [draw.standard_normal((n * values, 3)) + draw.standard_normal(3) * 10 for n in sizes]
    whole = np.concatenate(x)
    mean, var = total_variance(
        np.array(sizes), np.array([p.mean(0) for p in x]), np.array([p.var(0) for p in x])
    )
    np.testing.assert_allclose(mean, whole.mean(0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(var, whole.var(0), rtol=1e-8, atol=1e-10)
    rows = np.stack([row([(p.mean(0), p.var(0), values)]) for p in x])
    merged = merge([["", 3, 0.1]], [float(n) for n in sizes], rows, False, False)
    np.testing.assert_allclose(merged[:3], whole.mean(0), rtol=1e-5, atol=1e-5)
    if len(whole) > 1:
        np.testing.assert_allclose(merged[3:6], whole.var(0, ddof=1), rtol=1e-4, atol=1e-5)
    assert merged[6] == 1


def test_a_sample_may_have_more_values_at_one_member() -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((10, 3)), draw.standard_normal((36, 3))  # of 10 and of 12 samples
    rows = np.stack([row([(p.mean(0), p.var(0), n)]) for p, n in zip(x, (1, 3), strict=True)])
    merged = merge([["", 3, 0.1]], [10.0, 12.0], rows, False, False)
    whole = np.concatenate(x)
    close(merged[:6], np.concatenate([whole.mean(0), whole.var(0, ddof=1)]))


def test_norms_that_saw_nothing_do_not_count() -> None:
    rows = np.stack([row([([1, 2, 3], [4, 5, 6], 1), ([0, 0], [0, 0], 0)]), row(
        [([0, 0, 0], [0, 0, 0], 0), ([0, 0], [0, 0], 0)]
    )])  # fmt: skip
    merged = merge(NORMS, [50.0, 1.0], rows, False, False)
    np.testing.assert_allclose(merged, row([([1, 2, 3], np.array([4, 5, 6]) * 50 / 49, 1), (
        [0, 0], [0, 0], 0)]))  # fmt: skip
    before = row([([0, 0, 0], [1, 1, 1], 7), ([1, 2], [3, 4], 7)])
    after = move(NORMS, before, merged, 0)
    assert after[6] == 8
    np.testing.assert_array_equal(after[7:], before[7:])


def test_a_few_bad_ones_do_not_sway_a_robust_rule() -> None:
    good = row([([1, 2, 3], [4, 5, 6], 1), ([0, 0], [0, 0], 0)])
    bad = row([([1e9] * 3, [1e9] * 3, 1e9), ([5, 5], [5, 5], 1)])
    rows = np.stack([good, good, bad, good, good])
    merged = merge(NORMS, [10.0] * 5, rows, False, True)
    close(merged[:7], row([([1, 2, 3], np.array([4, 5, 6]) * 50 / 49, 1)]))
    assert not merged[7:].any()  # one alone says that this norm saw anything
    assert merge(NORMS, [10.0] * 5, rows, False, False)[0] > 1e8


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_running_statistics_move_as_in_batch_norm(momentum: float | None) -> None:
    norm = nn.BatchNorm1d(3, momentum=momentum)
    kept = row([([0, 0, 0], [1, 1, 1], 0)])
    for seed in range(5):
        x = tg.randn(8, 3, generator=tg.Generator().manual_seed(seed)) + seed
        norm(x)
        one = x.numpy()
        merged = merge([["", 3, momentum]], [8.0], row([(one.mean(0), one.var(0), 1)])[None],
                       False, False)  # fmt: skip
        kept = move([["", 3, momentum]], kept, merged, 0)
    close(kept[:3], norm.running_mean.numpy())
    close(kept[3:6], norm.running_var.numpy())
    assert kept[6] == 5


BAD: dict[str, tuple[int, float]] = {
    "NaN mean": (0, np.nan),
    "infinite mean": (1, np.inf),
    "NaN variance": (4, np.nan),
    "negative variance": (5, -1e-3),
    "infinite variance": (9, np.inf),
    "negative count": (6, -1.0),
    "NaN count": (11, np.nan),
    "huge count": (11, 1e20),
}


@pytest.mark.parametrize("name", BAD)
def test_unsound_numbers(name: str) -> None:
    values = np.ones(columns(NORMS), np.float32)
    assert [len(part) for parts in cut(NORMS, values) for part in parts] == [3, 3, 1, 2, 2, 1]
    assert unsound(NORMS, values) == ""
    at, value = BAD[name]
    values[at] = value
    assert unsound(NORMS, values).startswith("a: " if at < 7 else "b: ")
    staging = Staging(1 << 20)
    staging.open("m", 1, [4, len(values)], Codec.INT8, norms=NORMS)
    with pytest.raises(ProtocolError, match="expected RAW"):
        staging.put("m", Frame(Kind.PART, b"", 1, 1, 1, 0, 1, codec=Codec.INT8))
    staging.put("m", Frame(Kind.PART, values.tobytes(), 1, 1, 1, 0, 1))
    assert staging.check("m", 1, 1) == (unsound(NORMS, values), True)


# Definitions


def test_definitions_have_to_make_sense() -> None:
    model = {"parameters": [["w", [4]]], "buckets": [4, 12], "statistics": NORMS}
    optimizer = {"name": "SGD", "options": [{}], "groups": [0], "local_steps": 0}
    assert columns(NORMS) == 12
    assert bucket_codecs(NORMS, 2, Codec.INT8) == [Codec.INT8, Codec.RAW]
    for buckets in ([4], [16], [12, 4]):
        definitions = Definitions({}, 0, None, 0, False)
        with pytest.raises(ProtocolError):
            definitions.propose("m", 1, "model", model | {"buckets": buckets})
        with pytest.raises(ProtocolError):
            Model(model | {"buckets": buckets}, [np.ones(n) for n in buckets], Codec.RAW)
    definitions = Definitions({}, 0, None, 0, False)
    assert not definitions.propose("m", 1, "model", model)
    definitions.settle("model")
    with pytest.raises(ProtocolError, match="groups"):
        definitions.propose("m", 2, "optimizer", optimizer | {"groups": [0, 0]})
    assert not definitions.propose("m", 2, "optimizer", optimizer)
    made = Model(model, [np.ones(4), np.ones(12)], Codec.INT8)
    with pytest.raises(ProtocolError, match="group"):
        made.define_optimizer(optimizer | {"groups": [0, 0]})
    with pytest.raises(ProtocolError, match="variances"):
        Model(model, [np.ones(4), -np.ones(12)], Codec.RAW)


# Runs


@pytest.mark.parametrize("codec", ["raw", "int8"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_uneven_shards_make_the_whole_batch(
    tmp_path: Path, codec: str, momentum: float | None
) -> None:
    x, y = data()
    alone = network(momentum)
    optimizer = optim.SGD(alone.parameters(), lr=0.1)
    for images, labels in zip(x, y, strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(alone(images), labels).backward()
        optimizer.step()
    with running(tmp_path, up=codec, down=codec, least_members=3) as hub:
        members = [Member(hub, network(momentum)) for _ in CUTS]
        together(
            [
                lambda m=m, c=c: [m.step(i[c], t[c]) for i, t in zip(x, y, strict=True)]
                for m, c in zip(members, CUTS, strict=True)
            ]
        )
        found = [buffers(m.inner) for m in members]
        wanted, kept = buffers(alone), hub.hub.run.model.true_buffers()
        for name in found[0]:
            for other in found:
                np.testing.assert_array_equal(other[name], kept[name].reshape(other[name].shape))
        for name in ("0.running_mean", "0.running_var"):
            close(found[0][name], wanted[name])
        for number in (0, 2):
            assert found[0][f"{number}.num_batches_tracked"] == len(x)
        assert {hash_of(m.client.view.values.data) for m in members} == {hub.hub.run.hash}
        for member in members:
            member.client.close()


@pytest.mark.parametrize("sync", [True, False])
def test_two_forward_passes_of_a_step_are_one_batch(tmp_path: Path, sync: bool) -> None:
    x, y = data(2)
    alone = network()
    for images in x:
        alone[0](images)
    with running(tmp_path, least_members=2) as hub:
        members = [Member(hub, network()) for _ in range(2)]

        def train(member: Member, share: slice) -> None:
            for images, labels in zip(x, y, strict=True):
                images, labels = images[share], labels[share]
                member.optimizer.zero_grad()
                member.net.syncing = sync
                member.backward(images[:5], labels[:5])
                member.net.syncing = True
                member.backward(images[5:], labels[5:])
                member.optimizer.step()

        together(
            [
                lambda m=m, s=s: train(m, s)
                for m, s in zip(members, [slice(0, 12), slice(12, 32)], strict=True)
            ]
        )
        for member in members:
            for name, value in buffers(alone[0]).items():
                close(buffers(member.inner[0])[name], value)
            member.client.close()


def test_who_joins_late_and_a_hub_that_is_started_again(tmp_path: Path) -> None:
    x, y = data()
    with running(tmp_path, up="int8", down="int8") as hub:
        first = Member(hub, network())
        for images, labels in zip(x, y, strict=True):
            first.step(images, labels)
        before, kept = hub.hub.run.hash, hub.hub.run.model.true_buffers()
        hub.stop()
        hub.start()
        assert hub.hub.run.hash == before
        for name, value in hub.hub.run.model.true_buffers().items():
            np.testing.assert_array_equal(value, kept[name])
        late = Member(hub, network())
        assert late.client.view.version == len(x)
        for name, value in buffers(first.inner).items():
            np.testing.assert_array_equal(buffers(late.inner)[name], value)
        for member in (first, late):
            member.client.close()


def test_a_log_is_replayed_to_the_same_bits(tmp_path: Path) -> None:
    x, y = data()
    with running(tmp_path, up="int8", down="int8") as hub:
        member = Member(hub, network())
        run = hub.hub.run
        run.checkpoint = lambda: None  # as if the hub were killed: all is in the log
        for images, labels in zip(x, y, strict=True):
            member.step(images, labels)
        before = run.hash
        hub.stop()
        hub.start()
        assert hub.hub.run.hash == before
        assert hub.hub.run._records >= len(x)
        member.step(x[0], y[0])
        assert buffers(member.inner)["0.num_batches_tracked"] == len(x) + 1
        member.client.close()


@pytest.mark.parametrize(("at", "value"), [(0, np.nan), (3, -1.0)])
def test_unsound_statistics_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, value: float
) -> None:
    x, y = data(2)
    with running(tmp_path, up="raw", down="raw") as hub:
        member = Member(hub, network())
        member.step(x[0], y[0])
        before = buffers(member.inner)
        norms, outcomes = member.optimizer._replica.norms, []
        commit, honest = member.client.commit, norms.of_batches

        def bad(batches: Any, samples: int) -> np.ndarray:
            row = honest(batches, samples)
            row[at] = value
            return row

        monkeypatch.setattr(member.client, "commit", lambda: outcomes.append(commit()))
        monkeypatch.setattr(norms, "of_batches", bad)
        member.step(x[1], y[1])
        monkeypatch.setattr(norms, "of_batches", honest)
        for name, kept in buffers(member.inner).items():
            np.testing.assert_array_equal(kept, before[name])
        member.step(x[1], y[1])
        assert outcomes == ["rejected", "counted"]
        member.client.close()


def test_what_does_not_train_moves_nothing(tmp_path: Path) -> None:
    x, y = data(1)
    with running(tmp_path, up="raw", down="raw") as hub:
        member = Member(hub, network())
        member.inner[2].eval()  # frozen
        member.step(x[0], y[0])
        found = buffers(member.inner)
        assert found["0.num_batches_tracked"] == 1
        assert found["2.num_batches_tracked"] == 0
        np.testing.assert_array_equal(found["2.running_var"], np.ones(4))
        member.net.eval()
        member.net(x[0])
        copied = copy.deepcopy(member.inner).train()
        for name, value in buffers(member.inner).items():
            np.testing.assert_array_equal(value, found[name])
        copied(x[0])  # which is no member's: it tracks by itself
        assert buffers(copied)["0.num_batches_tracked"] == 2
        member.client.close()


def test_local_steps_track_by_themselves_and_are_merged(tmp_path: Path) -> None:
    x, y = data(3)
    shares = [slice(0, 8), slice(8, 32)]
    ends = []
    for share in shares:
        norm = nn.BatchNorm2d(2)
        for images in x:
            norm(images[share])
        ends.append(buffers(norm))
    mean, var = total_variance(
        np.array([8, 24]),
        np.array([e["running_mean"] for e in ends]),
        np.array([e["running_var"] for e in ends]),
    )
    with running(tmp_path, least_members=2) as hub:
        members = [Member(hub, network(), lambda o: DiLoCo(o, H=len(x))) for _ in shares]
        together(
            [
                lambda m=m, s=s: [m.step(i[s], t[s]) for i, t in zip(x, y, strict=True)]
                for m, s in zip(members, shares, strict=True)
            ]
        )
        for member in members:
            found = buffers(member.inner)
            close(found["0.running_mean"], mean)
            close(found["0.running_var"], var)
            assert found["0.num_batches_tracked"] == len(x)
            assert hash_of(member.client.view.values.data) == hub.hub.run.hash
            member.client.close()


def test_a_run_without_batch_norms_says_nothing_of_them(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        member = Member(hub, nn.Sequential(nn.InstanceNorm2d(2), nn.Flatten(), nn.Linear(32, 3)))
        assert hub.hub.run.definitions["model"].keys() == {"parameters", "buckets"}
        assert hub.hub.run.model.true_buffers() == {}
        member.client.close()


def test_late_work_comes_without_its_statistics(tmp_path: Path) -> None:
    """Of SGD with rate 1, parameters are the sum of what counted; of momentum 1, statistics the last."""
    with running(
        tmp_path, up="raw", down="raw", least_members=2, quorum=0.5, grace=0.1, most_stale=0
    ) as hub:
        fast, slow = hub.client(), hub.client()
        value = {
            "parameters": [["w", [2]]], "buckets": [2, 3], "statistics": [["", 1, 1.0]],
        }  # fmt: skip
        for member in (fast, slow):
            member.define_model(value, [np.zeros(n, np.float32) for n in (2, 3)])
        options = {"name": "SGD", "options": [{"lr": 1.0}], "groups": [0], "local_steps": 0}
        fast.define("optimizer", options)

        def give(member: Any, gradient: list[float], mean: float) -> str:
            member.begin(member.view.version, 4, [])
            member.put(np.array(gradient, np.float32))
            member.put(np.array([mean, 2, 1], np.float32))
            return member.commit()

        together([lambda: [give(fast, [1, 0], 1) for _ in range(2)], slow.take])
        assert give(slow, [0, 1], 100) == "stale"
        together([lambda: give(fast, [1, 0], 1), slow.take])
        assert give(slow, [0, 1], 3) == "counted"
        np.testing.assert_array_equal(slow.view.values[:2], [-3, -2])
        assert slow.view.values[2] == 3
        buffers = hub.hub.run.model.true_buffers()
        close(buffers["running_var"], [2 * 4 / 3])
        assert buffers["num_batches_tracked"] == 4
        for member in (fast, slow):
            member.close()


def test_devices_may_differ(tmp_path: Path, gl_target: str) -> None:
    x, y = [tg.randn(32, 6) + 3 for _ in range(2)], [tg.randint(0, 3, (32,)) for _ in range(2)]
    norm = nn.BatchNorm1d(6)
    for batch in x:
        norm(batch)
    with running(tmp_path, least_members=2) as hub:
        devices = ["gl", "cpu"]
        members = [
            Member(hub, nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)).to(device))
            for device in devices
        ]
        shares = [slice(0, 12), slice(12, 32)]
        together(
            [
                lambda m=m, d=d, s=s: [
                    m.step(i[s].to(d), t[s].to(d)) for i, t in zip(x, y, strict=True)
                ]
                for m, d, s in zip(members, devices, shares, strict=True)
            ]
        )
        found = [buffers(m.inner) for m in members]
        for name, value in found[0].items():
            np.testing.assert_array_equal(value, found[1][name])
        close(found[0]["0.running_mean"], norm.running_mean.numpy(), 1e-5)
        close(found[0]["0.running_var"], norm.running_var.numpy(), 1e-5)
        for member in members:
            member.client.close()


def test_only_single_precision(tmp_path: Path) -> None:
    with running(tmp_path) as hub, joined(hub.client()) as client:
        net = network()
        net[0].to(dtype=tg.float64)
        net[0].weight, net[0].bias = None, None
        net = DistributedDataParallel(net)
        with pytest.raises(TypeError, match="0: expected running statistics of float32"):
            HubOptimizer(optim.SGD(net.parameters(), lr=0.1))
        client.close()
