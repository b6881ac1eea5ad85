"""Initial values: their distributions, those that modules start with, and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn import init


@pytest.fixture(autouse=True)
def _seed():
    tg.manual_seed(0)


def is_uniform(t, bound):
    """Whether values fill (-bound, bound) evenly; a few thousand of them or more."""
    a = t.detach().numpy().ravel()
    edges = np.histogram(a, 10, (-bound, bound))[0] / a.size
    return abs(a).max() <= bound * (1 + 1e-6) and abs(edges - 0.1).max() < 0.02


def is_normal(t, mean, std):
    """Whether the quantiles of values are those of the normal distribution."""
    a = (t.detach().numpy().ravel() - mean) / std
    shares = [np.mean(np.abs(a) < q) for q in (0.5, 1, 2)]
    expected = [math.erf(q / math.sqrt(2)) for q in (0.5, 1, 2)]
    return abs(a.mean()) < 0.05 and np.allclose(shares, expected, atol=0.02)


def test_plain_fills():
    t = tg.empty(100, 80, requires_grad=True)
    assert init.uniform_(t, -2.0, 2.0) is t
    assert t.is_leaf
    assert is_uniform(t, 2.0)
    assert is_normal(init.normal_(t, 1.0, 3.0), 1.0, 3.0)
    assert (init.constant_(t, 2.5) == 2.5).all()
    assert (init.ones_(t) == 1).all()
    assert (init.zeros_(t) == 0).all()


def test_truncated_normal():
    t = init.trunc_normal_(tg.empty(100, 80), mean=0.5, std=2.0, a=-1.0, b=2.0)
    assert -1.0 <= t.min().item() < -0.95
    assert 1.95 < t.max().item() <= 2.0
    below = [math.erf((x - 0.5) / (2 * math.sqrt(2))) for x in (-1.0, 0.0, 2.0)]
    expected = (below[1] - below[0]) / (below[2] - below[0])
    assert abs((t < 0).float().mean().item() - expected) < 0.02


@pytest.mark.parametrize("shape", [(60, 90), (20, 30, 3, 3)])
def test_bounds_follow_the_fans(shape):
    field = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * field, shape[0] * field
    t = tg.empty(shape)
    assert is_uniform(init.xavier_uniform_(t, 2.0), 2 * math.sqrt(6 / (fan_in + fan_out)))
    assert is_normal(init.xavier_normal_(t), 0, math.sqrt(2 / (fan_in + fan_out)))
    assert is_uniform(init.kaiming_uniform_(t, math.sqrt(5)), 1 / math.sqrt(fan_in))
    kaiming = init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu")
    assert is_normal(kaiming, 0, math.sqrt(2 / fan_out))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3)])
def test_orthogonal(shape):
    q = init.orthogonal_(tg.empty(shape), gain=2.0).numpy().reshape(shape[0], -1)
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


def test_sparse_has_as_many_zeros_in_every_column():
    t = init.sparse_(tg.empty(10, 6), sparsity=0.35, std=1.0)
    assert (t == 0).sum(0).tolist() == [4] * 6


def test_identities():
    np.testing.assert_array_equal(init.eye_(tg.empty(3, 5)).numpy(), np.eye(3, 5))
    weight = init.dirac_(tg.empty(4, 2, 3), groups=2)
    expected = np.zeros((4, 2, 3))
    expected[[0, 1, 2, 3], [0, 1, 0, 1], 1] = 1
    np.testing.assert_array_equal(weight.numpy(), expected)


def test_gains():
    expected = {"linear": 1, "conv3d": 1, "sigmoid": 1, "tanh": 5 / 3, "selu": 0.75}
    for nonlinearity, gain in expected.items():
        assert init.calculate_gain(nonlinearity) == gain
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))


def test_what_layers_start_with():
    linear = nn.Linear(64, 100)
    assert is_uniform(linear.weight, 1 / 8)
    assert abs(linear.bias.detach().numpy()).max() <= 1 / 8
    conv = nn.Conv2d(32, 64, 3, groups=2)
    assert is_uniform(conv.weight, 1 / math.sqrt(16 * 9))
    assert is_normal(nn.Embedding(100, 50).weight, 0, 1)
    lstm = nn.LSTM(40, 64)
    assert all(is_uniform(p, 1 / 8) for p in (lstm.weight_ih_l0, lstm.weight_hh_l0))
    assert abs(lstm.bias_hh_l0.detach().numpy()).max() <= 1 / 8
    attention = nn.MultiheadAttention(64, 4)
    assert is_uniform(attention.in_proj_weight, math.sqrt(6 / (64 + 3 * 64)))
    assert not attention.in_proj_bias.any()
    assert not attention.out_proj.bias.any()
    transformer = nn.Transformer(64, 4, 1, 1, 128)
    assert is_uniform(transformer.encoder.layers[0].linear1.weight, math.sqrt(6 / (64 + 128)))
    assert (nn.BatchNorm1d(3).weight == 1).all()
    assert (nn.PReLU(2).weight == 0.25).all()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: init.xavier_uniform_(tg.empty(3)), "fewer than 2 dimensions"),
        (lambda: init.kaiming_uniform_(tg.empty(3, 3), mode="fan"), "Mode fan not supported"),
        (lambda: init.calculate_gain("gelu"), "Unsupported nonlinearity gelu"),
        (lambda: init.calculate_gain("leaky_relu", "x"), "not a valid number"),
        (lambda: init.eye_(tg.empty(3)), "2 dimensions"),
        (lambda: init.dirac_(tg.empty(3, 3)), "3, 4, or 5"),
        (lambda: init.dirac_(tg.empty(3, 3, 3), 2), "divisible by groups"),
        (lambda: init.orthogonal_(tg.empty(3)), "2 or more"),
        (lambda: init.sparse_(tg.empty(3), 0.1), "2 dimensions"),
    ],
)
def test_errors(act, message):
    with pytest.raises(ValueError, match=message):
        act()
