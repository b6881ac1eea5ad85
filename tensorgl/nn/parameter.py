"""Tensors that a Module knows by kind: parameters, which train, and buffers, which do not."""

from __future__ import annotations

from typing import Any

from tensorgl.autograd.graph import share
from tensorgl.creation import zeros
from tensorgl.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


def _share(tensor: Tensor, data: Tensor | None, owner: str) -> None:
    """Make `tensor` a leaf on the memory of `data`: a write to either is seen by both."""
    data = zeros(0) if data is None else data
    if not isinstance(data, Tensor):
        raise TypeError(f"{owner}: expected a Tensor, given {type(data).__name__}")
    Tensor.__init__(tensor, data._data, data._aval)
    share(data)
    tensor._memory = data._memory


class Parameter(Tensor):
    """A leaf that a Module lists in `parameters()` as soon as it is one of its attributes.

    It shares the memory of `data`. Results of ops on it are plain tensors.
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        _share(self, data, "Parameter")
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __copy__(self) -> Parameter:
        return type(self)(self, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.data, self.requires_grad)


class Buffer(Tensor):
    """A tensor that a Module lists in `buffers()`, and in `state_dict` if it is persistent."""

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        _share(self, data, "Buffer")
        self.persistent = persistent

    def __copy__(self) -> Buffer:
        return type(self)(self, persistent=self.persistent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), persistent=self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _buffer, (self.data, self.persistent)


def _buffer(data: Tensor, persistent: bool) -> Buffer:
    return Buffer(data, persistent=persistent)
