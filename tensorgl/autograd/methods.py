"""The methods of Tensor about its history: gradients, leaves, hooks, detaching."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tensorgl import effects
from tensorgl.autograd import engine, graph
from tensorgl.autograd.graph import TensorBase

__all__ = ["AutogradMethods"]

Tensor = Any


class AutogradMethods(TensorBase):
    """What a tensor knows and does about its gradient."""

    __slots__ = ()

    @property
    def requires_grad(self) -> bool:
        """Whether ops on this tensor are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or stop) recording ops on this leaf."""
        if self._node is not None and not requires_grad:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if requires_grad and not self._aval.dtype.is_floating_point:
            raise RuntimeError(
                "only Tensors of floating point dtype can require gradients, given "
                f"{self._aval.dtype}"
            )
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, rather than a recorded op."""
        return self._node is None

    @property
    def grad_fn(self) -> graph.Node | None:
        """The recorded call that made this tensor; None for a leaf."""
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has added up here."""
        if effects.notes is not None and self._grad is not None:
            effects.reads((self,))
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, TensorBase):
                raise TypeError(
                    "assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__}"
                )
            if value._aval is not self._aval:
                raise RuntimeError(
                    f"assigned grad has {value._aval}, but the tensor is {self._aval}; shape, dtype "
                    "and device must agree"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def data(self) -> Tensor:
        """The same memory without history; writes to it are not checked."""
        return graph.make_tensor(self._data, self._aval)

    @data.setter
    def data(self, value: Tensor) -> None:
        if value._data is not self._data:  # it is after `x.data -= y`
            effects.once()
        self._data, self._aval, self._memory = value._data, value._aval, value._memory
        self._base = self._view = None

    @property
    def _version(self) -> int:
        return self._memory.version if self._memory is not None else 0

    def detach(self) -> Tensor:
        """The same memory without history; a write to either is seen by both, and checked."""
        out = graph.make_tensor(self._data, self._aval)
        graph.share(self)
        out._memory = self._memory
        return out

    def detach_(self) -> Tensor:
        """Forget this tensor's own history."""
        graph.drop_hidden_base(self)
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._requires_grad = None, False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this tensor to the `grad` of its leaves; see `autograd.backward`."""
        engine.backward(self, gradient, retain_graph, create_graph, inputs)

    @property
    def retains_grad(self) -> bool:
        """Whether `grad` is kept although this is no leaf."""
        return "_retained" in self.__dict__

    def retain_grad(self) -> None:
        """Keep the gradient in `grad` although this is no leaf."""
        if not self._requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None or self.retains_grad:
            return
        reference = weakref.ref(self)  # as the hook sits on the node, which this tensor holds

        def keep(g: Tensor) -> None:
            tensor = reference()
            if tensor is not None:
                tensor._accumulate_grad(g)

        self._retained = self._node.add_hook(keep, graph.Stage.RETAIN)

    def _move_retained(self) -> None:
        """Keep the gradient of what a write in place has made of this tensor, if one is kept."""
        if self.retains_grad:
            self.__dict__.pop("_retained").remove()
            self.retain_grad()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> graph.Handle:
        """Call `hook(gradient)` in backward; a result that is not None replaces the gradient."""
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            return self._node.add_hook(hook, graph.Stage.TENSOR)
        if self._hooks is None:
            self._hooks = {}
        return graph.Handle(self._hooks, (graph.Stage.TENSOR, hook))

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> graph.Handle:
        """Call `hook(self)` as soon as backward has added to `grad` of this leaf, while it goes on."""
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if self._hooks is None:
            self._hooks = {}
        graph.Mode.early = True  # in all threads
        return graph.Handle(self._hooks, (graph.Stage.POST, hook))

    def _accumulate_grad(self, g: Tensor) -> None:
        """Add `g` to `grad`; `g` itself becomes the gradient where nobody else can see it."""
        if self._grad is None:
            if g._memory is None and (graph.mode.grad or not g._requires_grad):
                self._grad = g
                graph.share(g)
            else:
                self._grad = g.clone()
        elif graph.mode.grad:
            self._grad = self._grad + g
        else:
            self._grad.add_(g)

    def _reduce_to(self, target: Any, node: graph.Node) -> Tensor:
        """A gradient as its input's shape and dtype: summed over what was broadcast, and cast."""
        g: Any = self
        shape = self._aval.shape
        if shape != target.shape:
            lead = len(shape) - target.ndim
            if lead < 0 or any(
                n not in (1, m) for n, m in zip(target.shape, shape[lead:], strict=True)
            ):
                raise RuntimeError(
                    f"{node.name()} returned an invalid gradient: got {list(shape)} but expected "
                    f"shape compatible with {list(target.shape)}"
                )
            widened = [
                k + lead
                for k, (n, m) in enumerate(zip(target.shape, shape[lead:], strict=True))
                if n != m
            ]
            g = g.sum((*range(lead), *widened), keepdim=True)
            if lead:
                g = g.reshape(target.shape)
        return g.to(target.dtype)
