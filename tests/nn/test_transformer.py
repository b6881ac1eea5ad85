"""Attention and the Transformer against PyTorch, with every kind of mask."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn
from tests.nn.reference import case, check

L, S, N, E = 3, 4, 2, 6
Q, K = (L, N, E), (S, N, E)
MASK = np.array([[False, True, False, False], [False, False, True, True], [False] * 4])
BIAS = np.sin(np.arange(N * 2 * L * S)).reshape(N * 2, L, S)
PADDING = np.array([[False, False, False, True], [False, True, False, False]])
CAUSAL = np.triu(np.ones((L, L), dtype=bool), 1)
CAUSAL_HINT = {"src_mask": CAUSAL, "is_causal": True}

CASES = [
    case("MultiheadAttention", E, 2, x=[Q, K, K], expect=[-0.8604272, -0.8657278, 9.0185196, -0.8604272]),
    case("MultiheadAttention", E, 2, bias=False, x=[Q, K, K], call={"need_weights": False}, expect=[0.0394444, 0.2840103, 0.3690525, 0.0394444]),
    case("MultiheadAttention", E, 3, batch_first=True, x=[(N, L, E), (N, S, E), (N, S, E)], call={"average_attn_weights": False}, expect=[-0.957057, 0.8213171, 6.6980416, -0.957057]),
    case("MultiheadAttention", E, 2, kdim=4, vdim=5, x=[Q, (S, N, 4), (S, N, 5)], call={"attn_mask": MASK}, expect=[3.3072862, 4.5117459, -18.5796852, 3.3072862]),
    case("MultiheadAttention", E, 2, x=[Q, K, K], call={"attn_mask": BIAS, "key_padding_mask": PADDING}, expect=[-1.5305595, -0.4064768, 8.3343607, -1.5305595]),
    case("MultiheadAttention", E, 2, x=[Q, K, K], call={"key_padding_mask": PADDING, "need_weights": False}, expect=[-1.0244011, -0.7776642, 9.8193287, -1.0244011]),
    case("MultiheadAttention", E, 2, add_bias_kv=True, x=[Q, K, K], call={"attn_mask": MASK}, expect=[-0.6599364, -0.8110484, 0.2710682, -0.6599364]),
    case("MultiheadAttention", E, 2, add_zero_attn=True, x=[Q, K, K], call={"key_padding_mask": PADDING}, expect=[-1.3681289, -1.1374393, 7.9644349, -1.3681289]),
    case("MultiheadAttention", E, 2, add_bias_kv=True, add_zero_attn=True, x=[Q, K, K], call={"need_weights": False}, expect=[-0.8712543, -0.3118942, -0.2196964, -0.8712543]),
    case("MultiheadAttention", E, 2, x=[(L, E), (S, E), (S, E)], call={"attn_mask": MASK}, expect=[-0.8225054, -0.7877068, 7.8168636, -0.8225054]),
    case("TransformerEncoderLayer", E, 2, 5, 0.0, x=[Q], call={"src_mask": CAUSAL}, expect=[0.8614357, 0.9944414, 0.4789061, 0.8614357]),
    case("TransformerEncoderLayer", E, 2, 5, 0.0, "gelu", norm_first=True, batch_first=True, x=[Q], call=CAUSAL_HINT | {"src_mask": CAUSAL[:2, :2]}, expect=[-10.5438874, -10.6866667, 3.9160117, -10.5438874]),
    case("TransformerEncoderLayer", E, 2, 5, 0.0, bias=False, x=[(S, N, E)], call={"src_key_padding_mask": PADDING}, expect=[-3.9967958, -3.655031, 0.5834357, -3.9967958]),
    case("TransformerDecoderLayer", E, 2, 5, 0.0, x=[Q, K], call={"tgt_mask": CAUSAL, "memory_key_padding_mask": PADDING}, expect=[-2.2378254, -0.1339276, 6.2263138, -2.2378254]),
    case("TransformerDecoderLayer", E, 2, 5, 0.0, norm_first=True, x=[Q, K], call={"tgt_mask": CAUSAL, "tgt_is_causal": True, "memory_mask": MASK}, expect=[-11.9983035, -12.6459559, -7.4307006, -11.9983035]),
    case("Transformer", E, 2, 2, 1, 5, 0.0, x=[K, Q], call={"src_key_padding_mask": PADDING, "tgt_mask": CAUSAL}, expect=[1.0863374, 0.0115293, -8.011611, 1.0863374]),
    case("Transformer", E, 2, 1, 2, 5, 0.0, norm_first=True, batch_first=True, x=[(N, S, E), (N, L, E)], expect=[2.0224911, 0.2401605, -6.7862862, 2.0224911]),
]  # fmt: skip


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)
def test_agrees_with_pytorch(c):
    check(tg, c)


def close(a, b):
    np.testing.assert_allclose(a.tolist(), b.tolist(), atol=1e-5)


@pytest.mark.parametrize("weights", [False, True])
def test_all_ways_to_project_agree(weights):
    """The same tensor as query, key and value is projected in one product; equal ones are not."""
    tg.manual_seed(0)
    attention = nn.MultiheadAttention(E, 2)
    x = tg.randn(Q)
    expected, _ = attention(x, x.clone(), x.clone(), need_weights=weights)
    y = x.clone()
    close(attention(x, y, y, need_weights=weights)[0], expected)
    close(attention(x, x, x, need_weights=weights)[0], expected)


def test_the_causal_hint_stands_for_the_causal_mask():
    tg.manual_seed(0)
    attention = nn.MultiheadAttention(E, 2)
    x, mask = tg.randn(Q), nn.Transformer.generate_square_subsequent_mask(L)
    expected, _ = attention(x, x, x, attn_mask=mask)
    out, _ = attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
    close(out, expected)
    assert mask[0].tolist() == [0.0, -np.inf, -np.inf]


def test_weights_are_those_of_the_heads():
    tg.manual_seed(0)
    attention = nn.MultiheadAttention(E, 2)
    q, k = tg.randn(Q), tg.randn(K)
    _, mean = attention(q, k, k)
    _, heads = attention(q, k, k, average_attn_weights=False)
    assert mean.shape == (N, L, S)
    assert heads.shape == (N, 2, L, S)
    close(heads.mean(1), mean)
    close(heads.sum(-1), tg.ones(N, 2, L))
    assert attention(q, k, k, need_weights=False)[1] is None


def test_dropout_of_the_weights_acts_in_training_only():
    tg.manual_seed(0)
    attention = nn.MultiheadAttention(E, 2, dropout=0.5)
    x = tg.randn(Q)
    _, weights = attention(x, x, x, average_attn_weights=False)
    assert (weights == 0).any()
    _, weights = attention.eval()(x, x, x)
    close(weights.sum(-1), tg.ones(N, L))


def test_stacks_are_copies_of_their_layer_and_a_norm():
    tg.manual_seed(0)
    layer = nn.TransformerEncoderLayer(E, 2, 5)
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(E)).eval()
    x = tg.randn(Q)
    assert encoder.layers[0].linear1.weight is not layer.linear1.weight
    layer.eval()
    close(encoder(x), encoder.norm(layer(layer(x))))
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(E, 2, 5), 2).eval()
    memory = tg.randn(K)
    first, second = decoder.layers
    close(decoder(x, memory), second(first(x, memory), memory))


def test_state_has_pytorchs_names():
    state = nn.Transformer(E, 2, 1, 1, 5).state_dict()
    assert list(state)[:4] == [
        "encoder.layers.0.self_attn.in_proj_weight",
        "encoder.layers.0.self_attn.in_proj_bias",
        "encoder.layers.0.self_attn.out_proj.weight",
        "encoder.layers.0.self_attn.out_proj.bias",
    ]
    assert list(nn.MultiheadAttention(E, 2, kdim=3, add_bias_kv=True).state_dict()) == [
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
        "in_proj_bias",
        "bias_k",
        "bias_v",
        "out_proj.weight",
        "out_proj.bias",
    ]


def attend(*shapes, **options):
    return nn.MultiheadAttention(E, 2)(*(tg.zeros(s) for s in shapes), **options)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.MultiheadAttention(4, 3), AssertionError, "divisible by num_heads"),
        (lambda: nn.MultiheadAttention(4, 0), ValueError, "greater than 0"),
        (lambda: attend(Q, K, (S, E)), AssertionError, "to be 3-D but found 3-D and 2-D"),
        (lambda: attend((1, *Q), K, K), AssertionError, "received 4-D query"),
        (lambda: attend((L, N, 4), K, K), AssertionError, "dimension of 6, but got 4"),
        (lambda: attend(Q, K, (L, N, E)), AssertionError, "do not match"),
        (lambda: attend(Q, K, K, is_causal=True), RuntimeError, "Need attn_mask"),
        (lambda: attend(Q, K, K, attn_mask=tg.zeros(L, L)), RuntimeError, "2D attn_mask is"),
        (lambda: attend(Q, K, K, attn_mask=tg.zeros(N, L, S)), RuntimeError, "3D attn_mask is"),
        (
            lambda: attend(Q, K, K, attn_mask=tg.zeros(S)),
            RuntimeError,
            "dimension 1 is not supported",
        ),
        (
            lambda: attend(Q, K, K, attn_mask=tg.zeros(L, S, dtype=tg.int64)),
            AssertionError,
            "bool and floating types of attn_mask",
        ),
        (
            lambda: attend(Q, K, K, key_padding_mask=tg.zeros(N, L)),
            AssertionError,
            "key_padding_mask",
        ),
        (
            lambda: nn.TransformerEncoderLayer(4, 2, activation="elu"),
            RuntimeError,
            "relu/gelu, not elu",
        ),
        (
            lambda: nn.Transformer(E, 2, 1, 1, 5)(tg.zeros(3, 1, E), tg.zeros(Q)),
            RuntimeError,
            "batch number",
        ),
        (
            lambda: nn.Transformer(E, 2, 1, 1, 5)(tg.zeros(Q), tg.zeros(L, N, 5)),
            RuntimeError,
            "d_model",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
