"""Helpers around modules: gradient clipping, parameters as a vector, weight norm, sequences."""

from collections.abc import Callable, Iterable
from typing import Any

from tensorgl.nn.utils import rnn
from tensorgl.nn.utils.clip import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from tensorgl.nn.utils.convert import parameters_to_vector, vector_to_parameters
from tensorgl.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from tensorgl.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]


def _ntuple(n: int) -> Callable[[Any], tuple[Any, ...]]:
    return lambda x: tuple(x) if isinstance(x, Iterable) else (x,) * n


# Scripts import them from `torch.nn.modules.utils`.
_single, _pair, _triple, _quadruple = map(_ntuple, (1, 2, 3, 4))
