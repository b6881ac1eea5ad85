"""A function on cpu and on gl, whose results must be the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of


def same(function: Callable[..., Any], *arrays: Any) -> Any:
    """Run a function of tensors on both devices; the array that both give."""
    expected, actual = (
        function(*[tg.from_numpy(x.copy()).to(place) for x in arrays]).detach().cpu().numpy()
        for place in ("cpu", "gl")
    )
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == expected.dtype
    return actual


def values(*shape: int, dtype: str = "float32", seed: int = 0) -> Any:
    """Whole numbers, which every dtype holds."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(dtype)


def launches(function: Callable[[], Any]) -> int:
    """How many launches it takes to see a function's result."""
    backend = backend_of(device("gl"))
    backend.flush()
    before = backend.counters()["launches"]
    kept = function()
    backend.flush()
    del kept
    return backend.counters()["launches"] - before
