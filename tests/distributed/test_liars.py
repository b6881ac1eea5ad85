"""A fifth of the members lie: robust rules keep what is learned, the mean does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.datasets import digits
from tensorgl.distributed.codecs import encode_bucket
from tensorgl.distributed.model import Model
from tensorgl.distributed.wire import Codec

MEMBERS, LIARS, ROUNDS, BATCH = 10, 2, 150, 200
Lie = Callable[[np.ndarray, np.random.Generator], np.ndarray]
LIES: dict[str, Lie] = {
    "sign": lambda g, _: -5 * g,
    "scale": lambda g, _: 100 * g,
    "noise": lambda g, random: (
        g + random.normal(0, 20 * np.abs(g).max(), g.shape).astype(np.float32)
    ),
}


@cache
def data() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    images, labels = digits().tensors
    test = tg.arange(len(labels)) % 6 == 0
    flat = images.flatten(1)
    return (flat[~test], labels[~test]), (flat[test], labels[test])


def accuracy(rule: str, lie: Lie | None) -> float:
    """Of what ten members learn by a hub's rule, two of which tell a lie."""
    (images, labels), (test, right) = data()
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    params = list(net.parameters())
    flat = [p.detach().numpy().reshape(-1).copy() for p in params]
    definition = {
        "parameters": [[str(k), list(p.shape)] for k, p in enumerate(params)],
        "buckets": [p.numel() for p in params],
    }
    model = Model(definition, flat, Codec.RAW, rule)
    model.define_optimizer(
        {
            "name": "SGD", "options": [{"lr": 0.1, "momentum": 0.9}],
            "groups": [0] * len(params), "local_steps": 0,
        }
    )  # fmt: skip
    random = np.random.default_rng(0)
    for _ in range(ROUNDS):
        batch = random.permutation(len(labels))[:BATCH]
        sent: list[list[list[memoryview]]] = []
        for member, share in enumerate(np.array_split(batch, MEMBERS)):
            index = tg.from_numpy(share)
            net.zero_grad()
            nn.functional.cross_entropy(net(images[index]), labels[index]).backward()
            gradients = [p.grad.numpy().reshape(-1) for p in params]
            if lie and member < LIARS:
                gradients = [lie(g, random) for g in gradients]
            sent.append([list(map(memoryview, encode_bucket(Codec.INT8, g))) for g in gradients])
        if model.compares:
            model.compare([(1.0, buckets) for buckets in sent], Codec.INT8)
        for bucket in range(len(params)):
            model.trial(bucket, [(1.0, buckets[bucket]) for buckets in sent], Codec.INT8, ())
        model.commit()
        with tg.no_grad():
            for p, values in zip(params, model.true_parameters(), strict=True):
                p.copy_(tg.from_numpy(np.array(values)))
    with tg.no_grad():
        return (net(test).argmax(1) == right).float().mean().item()


@cache
def honest() -> float:
    return accuracy("mean", None)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("rule", ["centered_clip", "multi_krum", "trimmed_mean", "median"])
def test_rules_hold(rule: str, lie: str) -> None:
    assert honest() > 0.95
    assert accuracy(rule, LIES[lie]) >= honest() - 0.01


@pytest.mark.parametrize("lie", LIES)
def test_the_mean_does_not(lie: str) -> None:
    assert accuracy("mean", LIES[lie]) < honest() - 0.05
