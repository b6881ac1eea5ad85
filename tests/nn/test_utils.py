"""Gradient clipping, parameters as a vector, weight norm, and sequences of different lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    get_total_norm,
    parameters_to_vector,
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    vector_to_parameters,
    weight_norm,
)
from tensorgl.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

# clipping


def parameters(*gradients):
    found = []
    for g in gradients:
        p = tg.zeros(len(g), requires_grad=True)
        p.grad = tg.tensor(g)
        found.append(p)
    return [*found, tg.zeros(1, requires_grad=True)]  # the last has no gradient


@pytest.mark.parametrize(
    ("norm_type", "expected"),
    [(2, 13.0), (1, 19.0), (math.inf, 12.0), (3, (27 + 64 + 1728) ** (1 / 3))],
)
def test_clipping_by_norm(norm_type, expected):
    ps = parameters([3.0, -4.0], [12.0])
    total = clip_grad_norm_(iter(ps), 1.0, norm_type)
    np.testing.assert_allclose(total.item(), expected, rtol=1e-6)
    np.testing.assert_allclose(ps[0].grad.tolist(), [3 / expected, -4 / expected], rtol=1e-5)
    np.testing.assert_allclose(ps[1].grad.tolist(), [12 / expected], rtol=1e-5)


def test_clipping_leaves_small_gradients_alone():
    ps = parameters([3.0, -4.0])
    assert clip_grad_norm_(ps[0], 6.0).item() == 5.0
    assert ps[0].grad.tolist() == [3.0, -4.0]
    assert clip_grad_norm_([], 1.0).item() == 0.0
    assert get_total_norm([tg.tensor([3.0, 4.0])]).item() == 5.0


def test_clipping_may_raise_where_the_norm_is_not_finite():
    ps = parameters([math.nan])
    with pytest.raises(RuntimeError, match="non-finite"):
        clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert math.isnan(clip_grad_norm_(ps, 1.0).item())


def test_clipping_by_value():
    ps = parameters([3.0, -4.0, 0.5])
    clip_grad_value_(ps, 1)
    assert ps[0].grad.tolist() == [1.0, -1.0, 0.5]


# parameters as a vector


def test_parameters_to_a_vector_and_back():
    m = nn.Linear(2, 2)
    weight = m.weight
    vector = parameters_to_vector(m.parameters())
    assert vector.tolist() == [*m.weight.flatten().tolist(), *m.bias.tolist()]
    vector_to_parameters(tg.arange(6.0), m.parameters())
    assert m.weight is weight
    assert m.weight.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert m.bias.tolist() == [4.0, 5.0]
    with pytest.raises(TypeError, match="expected a Tensor"):
        vector_to_parameters([1.0], m.parameters())


# weight norm


@pytest.mark.parametrize(("dim", "shape"), [(0, (4, 1)), (1, (1, 3)), (None, ())])
def test_weight_norm_splits_length_and_direction(dim, shape):
    m = nn.Linear(3, 4)
    x = tg.randn(2, 3)
    before, weight = m(x).tolist(), m.weight.detach().clone()
    assert weight_norm(m, dim=dim) is m
    assert sorted(m.state_dict()) == ["bias", "weight_g", "weight_v"]
    assert m.weight_g.shape == shape
    np.testing.assert_allclose(m(x).tolist(), before, atol=1e-6)
    m(x).sum().backward()
    along = (m.weight_v.grad * m.weight_v).sum()  # the direction is indifferent to its length
    assert abs(along.item()) < 1e-5
    with tg.no_grad():
        m.weight_g.mul_(2)
    remove_weight_norm(m)
    assert sorted(m.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(m.weight.tolist(), (2 * weight).tolist(), atol=1e-6)


def test_weight_norm_errors():
    m = weight_norm(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="Cannot register two"):
        weight_norm(m)
    with pytest.raises(ValueError, match="not found"):
        remove_weight_norm(m, "bias")


# spectral norm


def test_spectral_norm_divides_by_the_largest_singular_value():
    tg.manual_seed(0)
    m = nn.Linear(3, 4)
    x, largest = tg.randn(2, 3), np.linalg.norm(m.weight.detach().numpy(), 2)
    expected = (x @ m.weight.t() / largest + m.bias).tolist()
    spectral_norm(m, n_power_iterations=50)
    assert sorted(m.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    np.testing.assert_allclose(m(x).tolist(), expected, atol=1e-5)
    u = m.weight_u.tolist()
    m.eval()(x).sum().backward()
    assert m.weight_u.tolist() == u
    scale = (m.weight_orig.grad * m.weight_orig).sum()  # the result is indifferent to it
    assert abs(scale.item()) < 1e-5
    remove_spectral_norm(m)
    assert sorted(m.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(m(x).tolist(), expected, atol=1e-5)


def test_spectral_norm_may_run_twice_before_backward():
    m = spectral_norm(nn.Linear(3, 4))
    x = tg.randn(2, 3)
    (m(x) + m(x)).sum().backward()
    assert m.weight_orig.grad.isfinite().all()


def test_spectral_norm_of_transposed_convolutions_has_its_outputs_in_dim_1():
    m = spectral_norm(nn.ConvTranspose1d(2, 3, 4))
    assert m.weight_u.shape == (3,)
    assert m.weight_v.shape == (8,)
    with pytest.raises(RuntimeError, match="Cannot register two"):
        spectral_norm(m)
    with pytest.raises(ValueError, match="to be positive"):
        spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="not found"):
        remove_spectral_norm(nn.Linear(2, 2))


# sequences

SEQUENCES = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], [[9.0, 10.0], [11.0, 12.0]]]


def sequences():
    return [tg.tensor(s) for s in SEQUENCES]


def test_packing_sorts_by_length_and_takes_step_after_step():
    packed = pack_sequence(sequences(), enforce_sorted=False)
    assert packed.data[:, 0].tolist() == [3.0, 9.0, 1.0, 5.0, 11.0, 7.0]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [1, 2, 0]
    assert packed.unsorted_indices.tolist() == [2, 0, 1]
    assert [s.tolist() for s in unpack_sequence(packed)] == SEQUENCES
    assert packed.double().data.dtype is tg.float64
    assert packed.double().batch_sizes.dtype is tg.int64


@pytest.mark.parametrize("batch_first", [False, True])
def test_padding_and_packing_are_inverse(batch_first):
    padded = pad_sequence(sequences(), batch_first, padding_value=-1.0)
    lengths = tg.tensor([1, 3, 2])
    packed = pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False)
    back, got = pad_packed_sequence(packed, batch_first, padding_value=-1.0)
    assert back.tolist() == padded.tolist()
    assert got.tolist() == [1, 3, 2]
    longer, _ = pad_packed_sequence(packed, batch_first, total_length=5)
    assert longer.shape[1 if batch_first else 0] == 5
    assert [s.tolist() for s in unpad_sequence(padded, lengths, batch_first)] == SEQUENCES


def test_padding_on_the_left():
    padded = pad_sequence(sequences(), batch_first=True, padding_side="left")
    assert padded[0].tolist() == [[0, 0], [0, 0], [1, 2]]


def test_only_what_is_packed_gets_a_gradient():
    x = tg.zeros(3, 2, requires_grad=True)
    pack_padded_sequence(x, [2, 1]).data.sum().backward()
    assert x.grad.tolist() == [[1, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda: pack_padded_sequence(tg.zeros(3, 2), [1, 2]),
            RuntimeError,
            "sorted in decreasing",
        ),
        (lambda: pack_padded_sequence(tg.zeros(3, 2), [1, 0]), RuntimeError, "greater than 0"),
        (
            lambda: pack_padded_sequence(tg.zeros(3, 2), [1]),
            RuntimeError,
            r"got 1 \(batch_size=2\)",
        ),
        (lambda: pack_padded_sequence(tg.zeros(3, 2), [4, 1]), RuntimeError, "at most the padded"),
        (lambda: pad_sequence([]), RuntimeError, "empty list"),
        (lambda: pad_sequence(3), RuntimeError, "Expected iterable"),
        (lambda: pad_sequence([tg.zeros(1)], padding_side="top"), RuntimeError, "left or right"),
        (lambda: PackedSequence(tg.zeros(1)), ValueError, "expected batch_sizes"),
        (
            lambda: pad_packed_sequence(pack_sequence([tg.zeros(3)]), total_length=2),
            ValueError,
            "total_length=2 and max sequence length being 3",
        ),
    ],
)
def test_sequence_errors(act, error, message):
    with pytest.raises(error, match=message):
        act()
