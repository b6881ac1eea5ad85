"""Scaled dot-product attention."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call1, op
from tensorgl.dtypes import bool as bool_
from tensorgl.ops.comparison import where
from tensorgl.ops.dropout import dropout
from tensorgl.ops.linalg import matmul
from tensorgl.ops.movement import expand, reshape, transpose, unsqueeze
from tensorgl.ops.softmax import softmax
from tensorgl.ops.support import positions

__all__ = ["scaled_dot_product_attention"]

Tensor = Any


@op
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`softmax(query @ key.T * scale + mask) @ value` (Vaswani et al. 2017, eq. 1).

    Args:
        query: (*, H, L, E).
        key: (*, H, S, E).
        value: (*, H, S, Ev).
        attn_mask: broadcastable to (*, H, L, S): bool, true where a key is attended to, or a float
            that is added to the scores. A query that may attend to nothing gives 0.
        dropout_p: the probability of dropout of the weights; it acts whatever the mode of a module.
        is_causal: query i attends to keys up to i only.
        scale: default: `1 / sqrt(E)`.
        enable_gqa: key and value have fewer heads, each shared by a group of query's heads.

    Returns:
        (*, H, L, Ev).

    Raises:
        RuntimeError: an operand has fewer than two dims, sizes differ, or the mask is of integers.
    """
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: expected query, key and value to be at least 2-d, given "
            f"{query.ndim}, {key.ndim} and {value.ndim}"
        )
    if enable_gqa:
        key, value = _shared(key, query), _shared(value, query)
    # The factor goes to the query, which is the smallest of the operands that it could go to.
    query = query * (1 / sqrt(query.shape[-1]) if scale is None else scale)
    scores = matmul(query, transpose(key, -2, -1))
    bias = _as_bias(_causal(query, key), scores) if is_causal else None
    blank = None
    if attn_mask is not None:
        mask = _as_bias(attn_mask, scores)
        bias = mask if bias is None else mask + bias
        blank = call1(p.amax, bias.detach(), ((bias.ndim - 1,), True)) == -inf
        bias = where(blank, 0, bias)
    weights = softmax(scores if bias is None else scores + bias, -1)
    if dropout_p > 0:
        weights = dropout(weights, dropout_p)
    out = matmul(weights, value)
    return out if blank is None else where(blank, 0, out)


def _shared(x: Tensor, query: Tensor) -> Tensor:
    """Heads (dim -3) repeated to as many as query has."""
    heads, wanted = x.shape[-3], query.shape[-3]
    if wanted % heads:
        raise RuntimeError(
            "scaled_dot_product_attention: Number of heads in key and value must divide the number "
            f"of heads in query, given {heads} and {wanted}"
        )
    shape = tuple(x.shape)
    repeated = expand(unsqueeze(x, -3), (*shape[:-2], wanted // heads, *shape[-2:]))
    return reshape(repeated, (*shape[:-3], wanted, *shape[-2:]))


def _causal(query: Tensor, key: Tensor) -> Tensor:
    """(L, S): whether query i may attend to key j."""
    rows = unsqueeze(positions(query.shape[-2], query.device), -1)
    return positions(key.shape[-2], query.device) <= rows


def _as_bias(mask: Tensor, scores: Tensor) -> Tensor:
    """What is added to the scores: -inf where a bool mask is false, or the float mask itself."""
    if mask.dtype is bool_:
        return where(mask, scores.new_zeros(()), -inf)
    if not mask.dtype.is_floating_point:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected attn_mask dtype to be bool or float, given "
            f"{mask.dtype.name}"
        )
    return mask
