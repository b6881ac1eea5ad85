"""How a tensor prints: aligned numbers, long tensors summarised, then what its values do not tell."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import numpy as np

from tensorgl import dispatch, dtypes

__all__ = ["get_printoptions", "printoptions", "set_printoptions", "tensor_text"]


class _Options:
    # No dataclass: importing dataclasses costs a browser tab 23 ms.
    precision: int = 4
    threshold: float = 1000  # inf for all elements, with profile="full"
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": float("inf"), "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is left out stays as it is, but `sci_mode`.

    Args:
        precision: digits after the point.
        threshold: how many elements a tensor may have before it is summarised.
        edgeitems: how many a summary shows at the beginning and the end of each dim.
        linewidth: characters a line.
        profile: "default", "short" or "full", for the values of those above.
        sci_mode: always (True) or never (False) in scientific notation; None: as the values need it.
    """
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    if profile is not None:
        _set(_PROFILES[profile])
    _set({name: value for name, value in given.items() if value is not None})
    _options.sci_mode = sci_mode


def _set(values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(_options, name, value)


def get_printoptions() -> dict[str, Any]:
    """The options by name, as `set_printoptions` takes them."""
    return {name: getattr(_options, name) for name in _Options.__annotations__}


@contextmanager
def printoptions(**options: Any) -> Generator[None]:
    """`set_printoptions` for a `with` block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        _set(before)


class _Format:
    """How to write each number of an array, all in the same width."""

    def __init__(self, array: Any) -> None:
        self.precision = _options.precision
        self.style = "plain"
        self.width = 1
        values = array.reshape(-1)
        if array.dtype.kind == "f":
            values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
            self.style = self._style(values)
        self.width = max((len(self.text(v)) for v in values.tolist()), default=1)

    def _style(self, values: Any) -> str:
        """Without digits after the point if there are no fractions, or in powers of ten, or fixed."""
        whole = bool((values == np.ceil(values)).all())
        sci = _options.sci_mode
        if sci is None and values.size:
            high, low = np.abs(values).max(), np.abs(values).min()
            sci = high / low > 1000 or high > 1e8 or (not whole and low < 1e-4)
        return "sci" if sci else "whole" if whole else "fixed"

    def text(self, value: Any) -> str:
        """One number, padded to the width."""
        if self.style == "plain":
            text = str(value)
        elif self.style == "sci":
            text = f"{value:.{self.precision}e}"
        elif self.style == "fixed":
            text = f"{value:.{self.precision}f}"
        else:
            text = f"{value:.0f}." if isfinite(value) else f"{value:.0f}"
        return text.rjust(self.width)


def _vector(array: Any, indent: int, summarize: bool, form: _Format) -> str:
    edge = _options.edgeitems
    if summarize and len(array) > 2 * edge:
        head, tail = array[:edge].tolist(), array[len(array) - edge :].tolist()
        items = [*map(form.text, head), " ...", *map(form.text, tail)]
    else:
        items = [form.text(v) for v in array.tolist()]
    each = max(1, (_options.linewidth - indent) // (form.width + 2))
    lines = [", ".join(items[k : k + each]) for k in range(0, len(items), each)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _nested(array: Any, indent: int, summarize: bool, form: _Format) -> str:
    """The numbers in brackets; lines after the first start `indent` from the left."""
    if array.ndim == 0:
        return form.text(array.item())
    if array.ndim == 1:
        return _vector(array, indent, summarize, form)
    edge = _options.edgeitems
    short = summarize and len(array) > 2 * edge
    shown = [*array[:edge], *array[len(array) - edge :]] if short else array
    parts = [_nested(a, indent + 1, summarize, form) for a in shown]
    if short:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _summary(array: Any) -> Any:
    """The elements that a summary shows: the first and last few along every dim."""
    edge = _options.edgeitems
    for dim, n in enumerate(array.shape):
        if n > 2 * edge:
            array = np.take(array, [*range(edge), *range(n - edge, n)], dim)
    return array


def _facts(x: Any) -> list[str]:
    """What is told after the values: what differs from the default, and the history."""
    facts = []
    if x.device.type != "cpu":
        facts.append(f"device='{x.device}'")
    default = dtypes.get_default_dtype()
    if x.device.type == "meta" or (x.numel() == 0 and x.ndim != 1):
        facts.append(f"size={tuple(x.shape)}")
    if x.dtype is not default and (x.numel() == 0 or x.dtype not in (dtypes.int64, dtypes.bool)):
        facts.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        facts.append(f"grad_fn={x.grad_fn}")
    elif x.requires_grad:
        facts.append("requires_grad=True")
    return facts


def _body(x: Any, indent: int) -> str:
    if x.device.type == "meta":
        return "..."
    if x.numel() == 0:
        return "[]"
    array = dispatch.to_host(x.detach())
    summarize = x.numel() > _options.threshold
    form = _Format(_summary(array) if summarize else array)
    return _nested(array, indent, summarize, form)


def tensor_text(x: Any) -> str:
    """The `repr` of a tensor."""
    start = "tensor("
    text = start + _body(x, len(start))
    used = len(text) - text.rfind("\n") + 1
    for fact in _facts(x):
        if used + len(fact) + 2 > _options.linewidth:
            text += ",\n" + " " * len(start) + fact
            used = len(start) + len(fact)
        else:
            text += ", " + fact
            used += len(fact) + 2
    return text + ")"
