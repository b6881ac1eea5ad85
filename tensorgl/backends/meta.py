"""A backend that computes nothing: shapes and dtypes without values, PyTorch's device "meta"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgl.avals import Aval
from tensorgl.backends.base import Backend, Handle
from tensorgl.errors import UnsupportedError
from tensorgl.primitives import Primitive

__all__ = ["MetaBackend", "create"]


class MetaBackend(Backend):
    """Every handle is None (a tuple of them for several results)."""

    name = "meta"

    def bind(
        self, primitive: Primitive, avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any
    ) -> Callable[..., Any]:
        result = None if isinstance(out, Aval) else (None,) * len(out)
        return lambda *handles: result

    def upload(self, array: Any, aval: Aval) -> Handle:
        return None

    def download(self, handle: Handle, aval: Aval) -> Any:
        raise UnsupportedError(
            "a tensor on device 'meta' has no values; create it on 'cpu' instead"
        )

    def assign(self, target: Handle, source: Handle, aval: Aval) -> None:
        pass

    def strides(self, handle: Handle, aval: Aval) -> tuple[int, ...]:
        strides: list[int] = []
        step = 1
        for n in reversed(aval.shape):
            strides.append(step)
            step *= max(n, 1)
        return tuple(reversed(strides))

    def synchronize(self) -> None:
        pass

    def counters(self) -> dict[str, int]:
        return {}


def create() -> Backend:
    """The backend, for the registry."""
    return MetaBackend()
