"""Modules as functions of their parameters: the part of `torch.func` that tensorgl has."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from tensorgl.nn import Module
from tensorgl.tensor import Tensor

__all__ = ["functional_call"]

Tensors = dict[str, Tensor]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Tensors | Sequence[Tensors],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
) -> Any:
    """Call a module with these tensors in place of its parameters and buffers of the same names.

    Args:
        module: is as before afterwards, but for buffers that its forward writes in place.
        parameter_and_buffer_dicts: one dict of names, or several. A tensor that the module has
            under several names is replaced under all of them.
        args: the call's argument, or a tuple of arguments.
        kwargs: its keyword arguments.

    Raises:
        KeyError: the module has no parameter or buffer of a name.
    """
    dicts: Any = parameter_and_buffer_dicts
    given: Tensors = {}
    for each in [dicts] if isinstance(dicts, dict) else dicts:
        given.update(each)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given):
        return module(*arguments, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, given: Tensors) -> Generator[None]:
    own: Tensors = dict(module.named_parameters(remove_duplicate=False))
    own.update(module.named_buffers(remove_duplicate=False))
    for name in given:
        if name not in own:
            raise KeyError(f"functional_call: the module has no parameter or buffer {name!r}")
    instead = {id(own[name]): tensor for name, tensor in given.items()}
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for part in module.modules():
        for members in (part._parameters, part._buffers):
            for name, tensor in members.items():
                if id(tensor) in instead:
                    changed.append((members, name, tensor))
    for members, name, tensor in changed:
        members[name] = instead[id(tensor)]
    try:
        yield
    finally:
        for members, name, tensor in changed:
            members[name] = tensor
