"""The class Module: attributes that are found by kind, traversal, modes and hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from tensorgl.autograd import no_grad
from tensorgl.autograd.graph import Handle
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.dtypes import float16, float32, float64
from tensorgl.nn.describe import destination, indented, member, typename
from tensorgl.nn.hooks import Hooks, add_hook, call_with_hooks
from tensorgl.nn.parameter import Buffer, Parameter
from tensorgl.nn.state import StateMethods
from tensorgl.tensor import Tensor

__all__ = ["Module"]


_OPTION = (bool, int, float, str)
_changes = 0


def changes() -> int:
    """How often an option of a layer of tensorgl, such as `Dropout.p`, was changed.

    Those of other modules may be counters, which change at every step.
    """
    return _changes


def _note_change(module: Module) -> None:
    global _changes
    _changes += type(module).__module__.startswith("tensorgl.")


def _missing_forward(self: Module, *input: Any) -> Any:
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Module(StateMethods):
    """What all layers and models derive from: state that trains, and a `forward` that uses it.

    Parameters, buffers and modules that are assigned as attributes are registered under their name.
    A subclass calls `super().__init__()` before it assigns any.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _hooks: Hooks | None = None  # made when the first hook is registered

    forward: Callable[..., Any] = _missing_forward
    """Compute the result; every subclass defines its own."""

    def __init__(self) -> None:
        self.training = True
        self._parameters = {}
        self._buffers = {}
        self._non_persistent_buffers_set = set()
        self._modules = {}

    # -- calling ------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None:
            return self.forward(*args, **kwargs)
        return call_with_hooks(self, self._hooks, args, kwargs)

    def _own_hooks(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call `hook(module, args)` before `forward`; a result that is not None replaces `args`.

        With `with_kwargs` it is `hook(module, args, kwargs)`, and the result a tuple of both.
        """
        return add_hook(self._own_hooks().forward_pre, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call `hook(module, args, output)` after `forward`; a result replaces `output`.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`.
        """
        return add_hook(self._own_hooks().forward, (hook, with_kwargs), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_input, grad_output)` when the inputs' gradients are known.

        Both are tuples. A result that is not None replaces `grad_input`.
        """
        return add_hook(self._own_hooks().backward, hook, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_output)` before the module's backward; a result replaces it."""
        return add_hook(self._own_hooks().backward_pre, hook, prepend)

    # -- attributes ---------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        if "_parameters" in state:  # not so before __init__ and while unpickling
            found = state["_parameters"]
            if name in found:
                return found[name]
            found = state["_modules"]
            if name in found:
                return found[name]
            found = state["_buffers"]
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        for kind, title, cls, expected in _KINDS:
            if isinstance(value, cls):
                self._make_room(name, kind, title)
                self._adopt(name, value, kind)
                return
            if name in state.get(kind, ()):
                if value is not None and not (cls is Buffer and isinstance(value, Tensor)):
                    raise TypeError(
                        f"cannot assign '{typename(value)}' as "
                        f"{'child ' * (cls is Module)}{title} '{name}' "
                        f"({expected} or None expected)"
                    )
                state[kind][name] = value
                return
        if isinstance(value, _OPTION) and name != "training" and state.get(name, value) != value:
            _note_change(self)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for kind, *_ in _KINDS:
            if name in self.__dict__[kind]:
                del self.__dict__[kind][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*object.__dir__(self), *self._parameters, *self._modules, *self._buffers}
        return sorted(n for n in names if not n[:1].isdigit())

    def _make_room(self, name: str, kind: str, title: str) -> None:
        """Drop an attribute of this name unless it is already of this kind."""
        state = self.__dict__
        if kind not in state:
            raise AttributeError(f"cannot assign {title} before Module.__init__() call")
        state.pop(name, None)
        for other, *_ in _KINDS:
            if other != kind:
                state[other].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _adopt(self, name: str, value: Any, kind: str) -> None:
        if kind == "_parameters":
            self.register_parameter(name, value)
        elif kind == "_buffers":
            self.register_buffer(name, value, value.persistent)
        else:
            self._modules[name] = value

    def _check_name(self, name: Any, kind: str, title: str) -> None:
        if kind not in self.__dict__:
            raise AttributeError(f"cannot assign {title} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{title} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{title} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{title} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[kind]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name for one that this module does without."""
        self._check_name(name, "_parameters", "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' "
                "(tensorgl.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                "created explicitly; to express one as a function of another Tensor, compute it in "
                "forward()."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that moves and is saved with the module but is no parameter.

        One that is not persistent is left out of `state_dict`.
        """
        self._check_name(name, "_buffers", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(tensorgl Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name(name, "_modules", "module")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; this one for the empty path."""
        module = self
        for name in target.split(".") if target else ():
            child = member(module, name)
            if not isinstance(child, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        parameter = member(self.get_submodule(path), name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = member(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # -- traversal ----------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all under it with their dotted paths, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all under it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly beneath this one, each once, with their names."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly beneath this one, each once."""
        return (module for _, module in self.named_children())

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        owners: Iterable[tuple[str, Module]] = [(prefix, self)]
        if recurse:
            owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in owners:
            for name, value in getattr(module, kind).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted paths; shared ones once unless told otherwise."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once, as an optimizer wants them."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their dotted paths; shared ones once unless told otherwise."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module under this one, and on this one last."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # -- modes --------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all under it to training mode, or out of it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """The same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Have all parameters want a gradient, or none."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for p in self.parameters():
            if p.grad is not None:
                p.grad = None if set_to_none else p.grad.detach().zero_()

    # -- conversion ---------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Put `fn` of each tensor in its place; parameters stay the objects they are."""
        for module in self.children():
            module._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p.data)
                    if p.grad is not None:
                        p.grad = fn(p.grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move everything, and cast what is floating-point: `to(device)`, `to(dtype)`, `to(other)`.

        Raises:
            TypeError: the dtype is not a floating-point one.
        """
        place, kind = destination(*args, **kwargs)
        if kind is not None and not kind.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={kind}"
            )

        def convert(t: Tensor) -> Tensor:
            return t.to(device=place, dtype=kind if t.is_floating_point() else None)

        return self._apply(convert)

    def type(self, dst_type: dtype_type) -> Self:
        """Cast all parameters and buffers, whatever their dtype."""
        return self._apply(lambda t: t.to(dst_type))

    def float(self) -> Self:
        """Cast what is floating-point to float32."""
        return self.to(float32)

    def double(self) -> Self:
        """Cast what is floating-point to float64."""
        return self.to(float64)

    def half(self) -> Self:
        """Cast what is floating-point to float16."""
        return self.to(float16)

    def cpu(self) -> Self:
        """Move everything to the cpu."""
        return self.to("cpu")

    # -- printing -----------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What the printed module says of itself between its brackets."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(m))}" for name, m in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        body = "".join(f"\n  {line}" for line in lines + children)
        return f"{self._get_name()}({body}\n)"


# The kinds of member in the order in which an assignment is matched with them: where they are kept,
# what messages call them, what is registered as one, and what else may be assigned in its place.
_KINDS = (
    ("_parameters", "parameter", Parameter, "tensorgl.nn.Parameter"),
    ("_modules", "module", Module, "tensorgl.nn.Module"),
    ("_buffers", "buffer", Buffer, "tensorgl.nn.Buffer, tensorgl.Tensor"),
)
