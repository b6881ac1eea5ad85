"""What runs around a module's `forward`: hooks before and after it, and in its backward."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from tensorgl.autograd import no_grad
from tensorgl.autograd.graph import Handle, MultiNode, Vjp, mode
from tensorgl.tensor import Tensor

__all__ = ["Hooks", "add_hook", "call_with_hooks", "find_pre_hook"]


class Hooks:
    """The hooks of one module, each kind in the order in which they run."""

    __slots__ = ("backward", "backward_pre", "forward", "forward_pre")

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, Any] = OrderedDict()  # (hook, with_kwargs), as forward
        self.forward: OrderedDict[int, Any] = OrderedDict()
        self.backward_pre: OrderedDict[int, Any] = OrderedDict()
        self.backward: OrderedDict[int, Any] = OrderedDict()

    def ids(self) -> tuple[int, ...]:
        """Of all hooks; no two ever have the same."""
        return *self.forward_pre, *self.forward, *self.backward_pre, *self.backward


def add_hook(hooks: OrderedDict[int, Any], hook: Any, prepend: bool) -> Handle:
    """Register a hook last, or first if `prepend`."""
    handle = Handle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def find_pre_hook(module: Any, kind: type, name: str) -> int | None:
    """The id of the pre-forward hook of this class that is about the parameter `name`."""
    for key, (hook, _) in module._hooks.forward_pre.items() if module._hooks else ():
        if isinstance(hook, kind) and hook.name == name:
            return key
    return None


def call_with_hooks(
    module: Any, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`module.forward(*args, **kwargs)` and all of the module's hooks."""
    for hook, with_kwargs in tuple(hooks.forward_pre.values()):
        if with_kwargs:
            result = hook(module, args, kwargs)
            if result is not None:
                if not isinstance(result, tuple) or len(result) != 2:
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {result}."
                    )
                args, kwargs = result
        else:
            result = hook(module, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)
    watch = None
    if mode.grad and (hooks.backward or hooks.backward_pre):
        watch = _BackwardWatch(module, hooks)
        args = watch.enter(args)
    out = module.forward(*args, **kwargs)
    for hook, with_kwargs in tuple(hooks.forward.values()):
        result = hook(module, args, kwargs, out) if with_kwargs else hook(module, args, out)
        if result is not None:
            out = result
    return out if watch is None else watch.leave(out)


class _Gate(MultiNode):
    """An identity of several tensors that hands all their gradients through one function."""

    __slots__ = ("function",)

    def backward(self, g: Any, wanted: Any = None) -> Any:
        return self.function(g)


_identity = Vjp("module_hook", (), (), {})


def _gate(tensors: Sequence[Any], function: Callable[..., Any]) -> list[Tensor]:
    node = _Gate(_identity, tuple(t._node or t for t in tensors), (), (), None)
    node.function = function
    with no_grad():  # views made here raise where they are written to, as PyTorch's do
        views = [t.view(t.shape) for t in tensors]
    node.set_outputs(views, save=False)
    return views


class _Slots:
    """Those of a call's arguments or results whose gradients a hook gets to see."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.size = len(values)
        self.positions = [
            k for k, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad
        ]

    def spread(self, gradients: Sequence[Any]) -> tuple[Any, ...]:
        """One entry for every argument; None where no gradient is wanted."""
        full: list[Any] = [None] * self.size
        for k, g in zip(self.positions, gradients, strict=True):
            full[k] = g
        return tuple(full)

    def pick(self, full: Any, what: str) -> list[Any]:
        """The inverse of `spread`, of what a hook returned."""
        full = full if isinstance(full, tuple) else (full,)
        if len(full) != self.size:
            raise RuntimeError(
                f"Backward hook returned an invalid number of {what}, got {len(full)}, but "
                f"expected {self.size}"
            )
        return [full[k] for k in self.positions]

    def gated(self, values: Sequence[Any], function: Callable[..., Any]) -> tuple[Any, ...]:
        """The values, with those that want a gradient behind a gate."""
        full = list(values)
        views = _gate([values[k] for k in self.positions], function)
        for k, view in zip(self.positions, views, strict=True):
            full[k] = view
        return tuple(full)


class _BackwardWatch:
    """One call of a module whose backward hooks are to run.

    The gate behind its results runs the pre-hooks and keeps their gradients; the gate before its
    arguments runs the hooks. Without an argument that wants a gradient, the first does both.
    """

    def __init__(self, module: Any, hooks: Hooks) -> None:
        self.module = module
        self.pre_hooks = tuple(hooks.backward_pre.values())
        self.hooks = tuple(hooks.backward.values())
        self.grad_outputs: tuple[Any, ...] = ()

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = _Slots(args)
        if not self.hooks or not self.inputs.positions:
            return args
        return self.inputs.gated(args, self._at_inputs)

    def leave(self, out: Any) -> Any:
        results = (out,) if isinstance(out, Tensor) else out
        if not isinstance(results, tuple):
            return out
        self.outputs = _Slots(results)
        if not self.outputs.positions:
            return out
        gated = self.outputs.gated(results, self._at_outputs)
        return gated[0] if isinstance(out, Tensor) else gated

    def _at_outputs(self, gradients: Sequence[Any]) -> Sequence[Any]:
        full = self.outputs.spread(gradients)
        for hook in self.pre_hooks:
            result = hook(self.module, full)
            if result is not None:
                full = self.outputs.spread(self.outputs.pick(result, "grad_output"))
        self.grad_outputs = full
        if self.hooks and not self.inputs.positions:
            for hook in self.hooks:
                result = hook(self.module, self.inputs.spread(()), full)
                if result is not None and any(g is not None for g in result):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
        return self.outputs.pick(full, "grad_output")

    def _at_inputs(self, gradients: Sequence[Any]) -> Sequence[Any]:
        full = self.inputs.spread(gradients)
        for hook in self.hooks:
            result = hook(self.module, full, self.grad_outputs)
            if result is not None:
                full = self.inputs.spread(self.inputs.pick(result, "grad_input"))
        return self.inputs.pick(full, "grad_input")
