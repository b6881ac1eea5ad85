"""Multi-head attention as a layer."""

from __future__ import annotations

import math
from typing import Any

from tensorgl.creation import empty
from tensorgl.dtypes import bool as bool_dtype
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.nn import functional as F
from tensorgl.nn import init
from tensorgl.nn.linear import Linear
from tensorgl.nn.module import Module
from tensorgl.nn.parameter import Parameter
from tensorgl.ops.joining import cat
from tensorgl.tensor import Tensor

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention of `num_heads` heads, each on its own projection of query, key and value.

    Query is (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim); with `batch_first` N comes
    first, and without a batch there is no N. `in_proj_weight` stacks the three projections, unless
    kdim or vdim differ from embed_dim: then there are `q_proj_weight`, `k_proj_weight` and
    `v_proj_weight`.

    Args:
        dropout: the probability with which a weight is zeroed while training.
        add_bias_kv: learn one more key and value, which all queries may attend to.
        add_zero_attn: add one more key and value of zeros.

    Source: Vaswani et al., Attention is all you need.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        options = {"device": device, "dtype": dtype}
        separate = (
            ("q_proj_weight", embed_dim),
            ("k_proj_weight", self.kdim),
            ("v_proj_weight", self.vdim),
        )
        together = self.kdim == self.vdim == embed_dim
        for name, width in separate:
            value = None if together else Parameter(empty(embed_dim, width, **options))
            self.register_parameter(name, value)
        stacked = Parameter(empty(3 * embed_dim, embed_dim, **options)) if together else None
        self.register_parameter("in_proj_weight", stacked)
        in_bias = Parameter(empty(3 * embed_dim, **options)) if bias else None
        self.register_parameter("in_proj_bias", in_bias)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, **options)
        for name in ("bias_k", "bias_v"):
            value = Parameter(empty(1, 1, embed_dim, **options)) if add_bias_kv else None
            self.register_parameter(name, value)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
            init.xavier_normal_(self.bias_v)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            query: (L, N, embed_dim).
            key: (S, N, kdim).
            value: (S, N, vdim).
            key_padding_mask: (N, S), true for keys that nobody may attend to, or added to scores.
            need_weights: return the weights too, which takes memory and time.
            attn_mask: (L, S) or (N num_heads, L, S), true where a query may not attend to a key, or
                added to the scores.
            average_attn_weights: return the mean of the weights over heads.
            is_causal: a hint that `attn_mask` lets a query attend to no later key.

        Returns:
            (L, N, embed_dim), and the weights (N, L, S), or (N, num_heads, L, S), or None.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        self._check(query, key, value, key_padding_mask)
        batched = query.ndim == 3
        batch_first = self.batch_first or not batched
        same_kv, same_qk = key is value, query is key
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        q, k, v = self._projected(query, key, value, same_qk, same_kv, batch_first)
        if is_causal and key_padding_mask is None and not need_weights:
            mask = None  # attention knows this mask by itself
        else:
            is_causal = False
            mask = self._mask(attn_mask, key_padding_mask, q, k)
        k, v, mask = self._extended(k, v, mask)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * (1 / math.sqrt(self.head_dim))) @ k.transpose(-2, -1)
            weights = F.softmax(scores if mask is None else scores + mask, -1)
            if p:
                weights = F.dropout(weights, p)
            out = weights @ v
            if average_attn_weights:
                weights = weights.mean(1)
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, p, is_causal)
        out = out.permute(0, 2, 1, 3) if batch_first else out.permute(2, 0, 1, 3)
        out = self.out_proj(out.reshape(*out.shape[:2], self.embed_dim))
        if batched:
            return out, weights
        return out.squeeze(0), None if weights is None else weights.squeeze(0)

    def _check(self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None) -> None:
        if query.ndim not in (2, 3):
            raise AssertionError(
                "query should be unbatched 2D or batched 3D tensor but received "
                f"{query.ndim}-D query tensor"
            )
        n, kind = query.ndim, "batched" if query.ndim == 3 else "unbatched"
        if not key.ndim == value.ndim == n:
            raise AssertionError(
                f"For {kind} ({n}-D) `query`, expected `key` and `value` to be {n}-D but found "
                f"{key.ndim}-D and {value.ndim}-D tensors respectively"
            )
        if padding is not None and padding.ndim != n - 1:
            raise AssertionError(
                f"For {kind} ({n}-D) `query`, expected `key_padding_mask` to be `None` or "
                f"{n - 1}-D but found {padding.ndim}-D tensor instead"
            )
        if query.shape[-1] != self.embed_dim:
            raise AssertionError(
                f"was expecting embedding dimension of {self.embed_dim}, but got {query.shape[-1]}"
            )
        if key.shape[:-1] != value.shape[:-1]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:-1]} do not match value's "
                f"{value.shape[:-1]}"
            )

    def _projected(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        same_qk: bool,
        same_kv: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of all heads: (N, heads, length, head_dim)."""
        n, w, b = self.embed_dim, self.in_proj_weight, self.in_proj_bias

        def heads(x: Tensor, weight: Tensor, first: int, count: int) -> Any:
            bias = None if b is None else b[first * n : (first + count) * n]
            y = F.linear(x, weight, bias)
            y = y.reshape(*y.shape[:2], count, self.num_heads, self.head_dim)
            return y.permute(2, 0, 3, 1, 4) if batch_first else y.permute(2, 1, 3, 0, 4)

        if w is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            inputs = zip((query, key, value), weights, strict=True)
            q, k, v = (heads(x, weight, i, 1)[0] for i, (x, weight) in enumerate(inputs))
        elif same_qk and same_kv:
            q, k, v = heads(query, w, 0, 3).unbind(0)
        elif same_kv:
            q = heads(query, w[:n], 0, 1)[0]
            k, v = heads(key, w[n:], 1, 2).unbind(0)
        else:
            inputs = enumerate((query, key, value))
            q, k, v = (heads(x, w[i * n : (i + 1) * n], i, 1)[0] for i, x in inputs)
        return q, k, v

    def _mask(
        self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor
    ) -> Tensor | None:
        """What both masks add to the scores, broadcastable to (N, heads, L, S)."""
        batch, heads, length = q.shape[:3]
        shape = (length, k.shape[2])
        mask = None
        if attn_mask is not None:
            n = attn_mask.ndim
            expected = shape if n == 2 else (batch * heads, *shape)
            if n not in (2, 3):
                raise RuntimeError(f"attn_mask's dimension {n} is not supported")
            if attn_mask.shape != expected:
                raise RuntimeError(
                    f"The shape of the {n}D attn_mask is {attn_mask.shape}, but should be "
                    f"{expected}."
                )
            mask = _additive("attn_mask", attn_mask, q.dtype)
            if n == 3:
                mask = mask.reshape(batch, heads, *shape)
        if padding is not None:
            if padding.shape != (batch, shape[1]):
                raise AssertionError(
                    f"expecting key_padding_mask shape of {(batch, shape[1])}, but got "
                    f"{padding.shape}"
                )
            padding = _additive("key_padding_mask", padding, q.dtype)[:, None, None, :]
            mask = padding if mask is None else mask + padding
        return mask

    def _extended(
        self, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and mask with the learnt entry and that of zeros, where there are any."""
        batch, more = k.shape[0], []
        if self.bias_k is not None:
            shape = (1, self.num_heads, 1, self.head_dim)
            more.append((self.bias_k.reshape(shape), self.bias_v.reshape(shape)))
        if self.add_zero_attn:
            zero = k.new_zeros((1, self.num_heads, 1, self.head_dim))
            more.append((zero, zero))
        for key, value in more:
            k = cat((k, key.expand(batch, -1, -1, -1)), 2)
            v = cat((v, value.expand(batch, -1, -1, -1)), 2)
            mask = None if mask is None else F.pad(mask, (0, 1))
        return k, v, mask


def _additive(name: str, mask: Tensor, kind: dtype_type) -> Tensor:
    """A mask that is added to scores: -inf where a bool one is true."""
    if mask.dtype is bool_dtype:
        return mask.new_zeros(mask.shape, dtype=kind).masked_fill(mask, -math.inf)
    if not mask.dtype.is_floating_point:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return mask
