"""Random programs: views, movement, indexing and writes, with elementwise ops between them.

Values stay whole numbers, so that results on any device are the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tensorgl as tg
import tensorgl.nn.functional as F
from tensorgl import primitives as p
from tensorgl.dispatch import calln

LARGEST = 20_000
"""Elements from which on a program is cut short."""

Draw = Callable[[int], int]
"""A number below another."""
Step = Callable[[Any, int, Draw], Any]
"""A new value from one that has dims, given a dim of it."""


def _all_but(d: int, key: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * d, key)


def _pad(v: Any, d: int, draw: Draw) -> Any:
    widths = draw(5), draw(5)
    return F.pad(v, (0, 0) * (v.ndim - 1 - d) + widths, value=float(draw(3)))


def _cat(v: Any, d: int, draw: Draw) -> Any:
    parts = [v, v.flip(d) + 1, tg.full_like(v, 3.0), v.narrow(d, 0, min(4, v.shape[d]))]
    return tg.cat([parts[draw(4)] for _ in range(2 + draw(2))], d)


def _permute(v: Any, d: int, draw: Draw) -> Any:
    return v.transpose(d, draw(v.ndim))


def _narrow(v: Any, d: int, draw: Draw) -> Any:
    start = draw(v.shape[d])
    return v.narrow(d, start, 1 + draw(v.shape[d] - start))


def _steps(v: Any, d: int, draw: Draw) -> Any:
    return v[_all_but(d, slice(draw(v.shape[d]), None, 1 + draw(3)))]


def _narrow_backward(v: Any, d: int, draw: Draw) -> Any:
    before = draw(4)
    return calln(p.narrow_backward, (v, before), (d, v.shape[d] + before + draw(6), False))


def _windows(v: Any, d: int, draw: Draw) -> Any:
    size, step = 1 + draw(min(v.shape[d], 5)), 1 + draw(3)
    return calln(p.unfold_backward, (v.unfold(d, size, step),), (d, v.shape[d], step))


def _take(v: Any, d: int, draw: Draw) -> Any:
    n = v.shape[d]
    index = [draw(2 * n) - n for _ in range(1 + draw(9))]
    return v[_all_but(d, tg.tensor(index, device=v.device))]


def _gather(v: Any, d: int, draw: Draw) -> Any:
    return v.gather(d, (v.abs().to(tg.int64) * (1 + draw(3))) % v.shape[d])


def _write(v: Any, d: int, draw: Draw) -> Any:
    v = v.clone()
    target = _steps(v, d, draw)
    target.copy_(target.flip(d) * 2 if draw(2) else -target)
    return v


def _write_diagonal(v: Any, d: int, draw: Draw) -> Any:
    v = v.clone()
    if v.ndim > 1:
        v.diagonal(draw(2), dim1=d - 1, dim2=d).fill_(float(draw(5)))
    return v


def _fold(v: Any, d: int, draw: Draw) -> Any:
    sizes = [n for n in (1, 2, 3, 4, 8) if v.numel() % n == 0]
    return v.reshape(-1, sizes[draw(len(sizes))])


def _expand(v: Any, d: int, draw: Draw) -> Any:
    return v.unsqueeze(d).expand(*v.shape[:d], 2 + draw(3), *v.shape[d:]) if v.ndim < 5 else v


def _dropout(v: Any, d: int, draw: Draw) -> Any:
    tg.manual_seed(draw(1 << 30))
    return F.dropout(v, 0.5)


STEPS: dict[str, Step] = {
    "flip": lambda v, d, draw: v.flip(d),
    "pad": _pad,
    "cat": _cat,
    "roll": lambda v, d, draw: v.roll(draw(5), d),
    "permute": _permute,
    "narrow": _narrow,
    "steps": _steps,
    "narrow_backward": _narrow_backward,
    "windows": _windows,
    "take": _take,
    "gather": _gather,
    "write": _write,
    "write_diagonal": _write_diagonal,
    "fold": _fold,
    "expand": _expand,
    "dropout": _dropout,
    "add": lambda v, d, draw: v + 1,
    "add_flipped": lambda v, d, draw: v + v.flip(d),
    "where": lambda v, d, draw: tg.where(v > float(draw(5)), v, -v),
    "relu": lambda v, d, draw: v.relu(),
    "flat": lambda v, d, draw: v.reshape(-1),
}


def run(program: list[str], shape: tuple[int, ...], seed: int, place: str) -> Any:
    """The last value of a program on a device; what it draws depends on the seed alone."""
    rng = np.random.default_rng(seed)

    def draw(below: int) -> int:
        return int(rng.integers(below))

    v = tg.tensor(rng.integers(-4, 5, shape).astype(np.float32), device=place)
    for name in program:
        if not v.ndim:
            v = v.reshape(1)
        new = STEPS[name](v, draw(v.ndim), draw)
        if new.numel() > LARGEST or not new.numel():
            break
        v = new
    return v.cpu().numpy()
