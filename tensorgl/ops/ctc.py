"""Connectionist temporal classification (Graves et al. 2006), for a whole batch a time step at once.

A target of S labels has 2 S + 1 states: a blank before, between and after its labels. `alpha` is the
log-probability of all ways to a state at a time, `beta` of all ways on from it. Impossible is a large
negative number, not -inf, so that no difference is NaN.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from tensorgl import primitives as p
from tensorgl.dispatch import call2, calln, differentiable, from_host, op, to_host
from tensorgl.dtypes import bool as bool_
from tensorgl.dtypes import int64
from tensorgl.ops.comparison import where
from tensorgl.ops.extremum import maximum
from tensorgl.ops.math import logaddexp
from tensorgl.ops.movement import expand, flip, reshape, sliced, unsqueeze
from tensorgl.ops.reduction import mean
from tensorgl.ops.support import reduced

__all__ = ["ctc_loss"]

Tensor = Any
IMPOSSIBLE = -1e30


def _delayed(x: Tensor, by: int) -> Tensor:
    """States moved up by one or two places: (N, L) -> (N, L)."""
    n, length = x.shape
    padded = call2(p.pad, x, IMPOSSIBLE, (((0, 0), (by, 0)),))
    return sliced(padded, (0, 0), (n, length), (1, 1))


def _arrivals(x: Tensor, skip: Tensor) -> Tensor:
    """From the state itself, the one before, and, where `skip` allows, the one before that."""
    near = logaddexp(x, _delayed(x, 1))
    return logaddexp(near, where(skip, _delayed(x, 2), IMPOSSIBLE))
