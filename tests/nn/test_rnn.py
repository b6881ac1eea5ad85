"""Recurrent layers and cells against PyTorch, packed sequences, second gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tests.nn.reference import case, check

X = (5, 2, 3)

CASES = [
    case("RNN", 3, 4, x=[X], expect=[1.1867055, -2.023172, -1.3872504, 1.1867055]),
    case("RNN", 3, 4, nonlinearity="relu", num_layers=2, bias=False, x=[X, (2, 2, 4)], expect=[-1.2435055, -1.5806566, 13.6206981, -1.2435055]),
    case("RNN", 3, 4, bidirectional=True, x=[X, (2, 2, 4)], expect=[4.2484802, -0.3985448, -1.0747748, 4.2484802]),
    case("LSTM", 3, 4, x=[X], expect=[-0.8279034, 0.5715533, 7.8802207, -0.8279034]),
    case("LSTM", 3, 4, num_layers=2, bidirectional=True, x=[X, ((4, 2, 4), (4, 2, 4))], expect=[-4.9089388, -0.8369072, 1.6569368, -4.9089388]),
    case("LSTM", 3, 4, batch_first=True, x=[X, ((1, 5, 4), (1, 5, 4))], expect=[-6.4019213, -2.4081535, 3.7050082, -6.4019213]),
    case("LSTM", 3, 4, proj_size=2, num_layers=2, bidirectional=True, x=[X, ((4, 2, 2), (4, 2, 4))], expect=[3.844388, -2.0715937, 2.265675, 3.844388]),
    case("LSTM", 3, 4, bias=False, num_layers=2, dropout=1.0, x=[X], expect=[0.6011697, -0.4671452, 1.4097688, 0.9323593]),
    case("LSTM", 3, 4, x=[(5, 3), ((1, 4), (1, 4))], expect=[0.4190294, -0.063225, 2.1487451, 0.4190294]),
    case("GRU", 3, 4, x=[X], expect=[0.1603229, -0.0599476, 8.1529847, 0.1603229]),
    case("GRU", 3, 4, num_layers=2, bidirectional=True, x=[X, (4, 2, 4)], expect=[4.6019634, 2.7463455, -3.6721578, 4.6019634]),
    case("GRU", 3, 4, bias=False, batch_first=True, x=[X, (1, 5, 4)], expect=[-2.0100789, -4.7333307, 2.3318891, -2.0100789]),
    case("GRU", 3, 4, x=[(5, 3)], expect=[0.1878038, 0.1641064, 4.323686, 0.1878038]),
    case("RNNCell", 3, 4, x=[(2, 3), (2, 4)], expect=[2.1569158, 1.0781759, 0.9289457, 2.1569158]),
    case("RNNCell", 3, 4, nonlinearity="relu", x=[(3,)], expect=[-0.096999, -0.1844872, 0.2985048, -0.096999]),
    case("LSTMCell", 3, 4, x=[(2, 3), ((2, 4), (2, 4))], expect=[-0.9256309, -1.419558, -2.075826, -0.9256309]),
    case("LSTMCell", 3, 4, bias=False, x=[(3,)], expect=[0.0563076, 0.1694173, -0.2621212, 0.0563076]),
    case("GRUCell", 3, 4, x=[(2, 3), (2, 4)], expect=[-2.3359236, -1.5340996, -0.4286791, -2.3359236]),
    case("GRUCell", 3, 4, bias=False, x=[(3,), (4,)], expect=[-1.1535888, -0.8816938, -0.368989, -1.1535888]),
]  # fmt: skip

KINDS = [("RNN", {}), ("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {})]
BOTH = [False, True]


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)
def test_agrees_with_pytorch(c):
    check(tg, c)


def states(name, module, batch):
    """Initial states that want a gradient."""
    rows = module.num_layers * (1 + module.bidirectional)
    h = tg.randn(rows, batch, module.proj_size or module.hidden_size, dtype=tg.float64)
    if name != "LSTM":
        return h.requires_grad_()
    c = tg.randn(rows, batch, module.hidden_size, dtype=tg.float64)
    return h.requires_grad_(), c.requires_grad_()


def leaves(x):
    return [t for y in x for t in leaves(y)] if isinstance(x, tuple) else [x]


@pytest.mark.parametrize("bidirectional", BOTH)
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_packed_batch_is_its_sequences_one_by_one(name, options, bidirectional):
    tg.manual_seed(0)
    module = getattr(nn, name)(3, 4, 2, bidirectional=bidirectional, **options).double()
    x = tg.randn(6, 3, 3, dtype=tg.float64, requires_grad=True)
    lengths = [2, 6, 3]
    start = states(name, module, 3)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    out, finals = module(packed, start)
    out, got = pad_packed_sequence(out)
    assert got.tolist() == lengths
    wanted = [x, *leaves(start), *module.parameters()]
    grads = tg.autograd.grad([out.sum(), *(f.sum() for f in leaves(finals))], wanted)
    totals = None
    for k, n in enumerate(lengths):
        own = tuple(s[:, k : k + 1] for s in leaves(start))
        alone, last = module(x[:n, k : k + 1], own if name == "LSTM" else own[0])
        np.testing.assert_allclose(out[:n, k].tolist(), alone[:, 0].tolist(), atol=1e-12)
        assert not out[n:, k].any()
        for a, b in zip(leaves(finals), leaves(last), strict=True):
            np.testing.assert_allclose(a[:, k].tolist(), b[:, 0].tolist(), atol=1e-12)
        parts = tg.autograd.grad([alone.sum(), *(f.sum() for f in leaves(last))], wanted)
        totals = parts if totals is None else [a + b for a, b in zip(totals, parts, strict=True)]
    for a, b in zip(grads, totals, strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), atol=1e-10)


@pytest.mark.parametrize("bidirectional", BOTH)
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_first_and_second_gradients(name, options, bidirectional):
    tg.manual_seed(0)
    module = getattr(nn, name)(2, 3, bidirectional=bidirectional, **options).double()
    data = tg.randn(5, 2, dtype=tg.float64, requires_grad=True)
    start = states(name, module, 2)
    sizes = tg.tensor([2, 2, 1])

    def function(data, *rest):  # behind the states, `rest` has the module's own parameters
        given = rest[: len(leaves(start))]
        packed = nn.utils.rnn.PackedSequence(data, sizes)
        (out, *_), finals = module(packed, given if name == "LSTM" else given[0])
        return (out, *leaves(finals))

    inputs = (data, *leaves(start), *module.parameters())
    assert tg.autograd.gradcheck(function, inputs, fast_mode=True)
    assert tg.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_a_graph_that_was_freed_raises():
    out, _ = nn.GRU(2, 3)(tg.randn(4, 1, 2))
    out.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        out.sum().backward()


def test_a_stale_weight_raises():
    module = nn.LSTM(2, 3)
    out, _ = module(tg.randn(4, 1, 2))
    with tg.no_grad():
        module.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_only_what_wants_a_gradient_gets_one():
    module = nn.LSTM(2, 3).requires_grad_(False)
    x = tg.randn(4, 1, 2, requires_grad=True)
    module(x)[0].sum().backward()
    assert x.grad.shape == x.shape
    assert module.weight_hh_l0.grad is None
    assert not module(tg.randn(4, 1, 2))[0].requires_grad


def test_a_cell_is_one_step_of_its_layer():
    tg.manual_seed(0)
    layer, cell = nn.LSTM(3, 4), nn.LSTMCell(3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = tg.randn(3, 2, 3)
    out, _ = layer(x)
    state = None
    for t in range(3):
        state = cell(x[t], state)
        np.testing.assert_allclose(out[t].tolist(), state[0].tolist(), atol=1e-6)


def test_parameters_have_pytorchs_names_and_shapes():
    module = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert list(shapes)[:6] == [
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
        "bias_hh_l0",
        "weight_hr_l0",
        "weight_ih_l0_reverse",
    ]
    assert shapes["weight_ih_l1"] == (16, 4)
    assert shapes["weight_hh_l1_reverse"] == (16, 2)
    assert shapes["weight_hr_l0"] == (2, 4)
    assert [len(w) for w in module.all_weights] == [5] * 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.RNN(2, 3, nonlinearity="elu"), ValueError, "Select from 'tanh' or 'relu'"),
        (lambda: nn.GRU(2, 3, dropout=2), ValueError, "dropout should be a number"),
        (lambda: nn.LSTM(2, 3, proj_size=3), ValueError, "smaller than hidden_size"),
        (lambda: nn.LSTM(2, 0), ValueError, "hidden_size must be greater than zero"),
        (lambda: nn.LSTM(2, 3.0), TypeError, "should be of type int, got: float"),
        (lambda: nn.LSTM(2, 3)(tg.zeros(1)), ValueError, "to be 2D or 3D, got 1D"),
        (lambda: nn.LSTM(2, 3)(tg.zeros(1, 5, 3)), RuntimeError, "Expected 2, got 3"),
        (lambda: nn.LSTM(2, 3)(tg.zeros(0, 5, 2)), RuntimeError, "larger than 0"),
        (
            lambda: nn.LSTM(2, 3)(tg.zeros(1, 5, 2).double()),
            ValueError,
            "does not match weight dtype",
        ),
        (
            lambda: nn.LSTM(2, 3)(tg.zeros(1, 5, 2), (tg.zeros(1, 5, 3), tg.zeros(1, 4, 3))),
            RuntimeError,
            r"Expected hidden\[1\] size \(1, 5, 3\), got \[1, 4, 3\]",
        ),
        (
            lambda: nn.LSTM(2, 3)(tg.zeros(5, 2), (tg.zeros(1, 1, 3), tg.zeros(1, 3))),
            RuntimeError,
            r"unbatched 2-D input, hx and cx should also be 2-D but got \(3-D, 2-D\)",
        ),
        (
            lambda: nn.GRU(2, 3)(tg.zeros(1, 5, 2), tg.zeros(1, 3)),
            RuntimeError,
            "batched 3-D input, hx should also be 3-D",
        ),
        (lambda: nn.LSTMCell(2, 3)(tg.zeros(1, 1, 2)), ValueError, "to be 1D or 2D, got 3D"),
        (lambda: nn.LSTMCell(2, 3)(tg.zeros(4, 3)), RuntimeError, "got 3 expected 2"),
        (
            lambda: nn.GRUCell(2, 3)(tg.zeros(4, 2), tg.zeros(4, 4)),
            RuntimeError,
            "got 4, expected 3",
        ),
        (lambda: nn.GRUCell(2, 3)(tg.zeros(4, 2), tg.zeros(3, 3)), RuntimeError, "batch size 3"),
        (
            lambda: nn.RNNCell(2, 3, nonlinearity="elu")(tg.zeros(2)),
            RuntimeError,
            "nonlinearity: elu",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("cls", [nn.RNN, nn.GRU, nn.LSTM])
def test_dropout_of_one_layer_warns(cls):
    with pytest.warns(UserWarning, match="dropout=0.5 and num_layers=1") as caught:
        cls(1, 1, dropout=0.5)
    assert caught[0].filename == __file__
