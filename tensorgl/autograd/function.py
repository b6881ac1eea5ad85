"""Functions with a gradient of the user's own: `Function`, PyTorch's pair of `forward` and `backward`.

A call is a `MultiNode` whose gradient is the user's `backward` instead of rules. What it saves is on
the context, and goes with it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tensorgl import inplace
from tensorgl.autograd import graph
from tensorgl.autograd.graph import FREED, MultiNode, Node, Part, TensorBase, Vjp, mode
from tensorgl.autograd.modes import no_grad
from tensorgl.creation import zeros

__all__ = ["Function", "FunctionCtx", "once_differentiable"]

Tensor = Any


class FunctionCtx:
    """What `forward` leaves for `backward`: saved tensors, and any attribute that is set on it.

    Attributes:
        needs_input_grad: whether each argument of `forward` is a tensor that requires a gradient.
    """

    def __init__(self, inputs: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(_requires_grad(x) for x in inputs)
        self._to_save: tuple[Any, ...] = ()
        self._saved: list[Any] | None = []
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or others for `saved_tensors`, checked against later writes."""
        for k, t in enumerate(tensors):
            if t is not None and not isinstance(t, TensorBase):
                raise TypeError(
                    f"save_for_backward can only save tensors, but argument {k} is of type "
                    f"{type(t).__name__}; set it as an attribute of the context"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved, in order.

        Raises:
            RuntimeError: an earlier backward freed it, or it was written to since.
        """
        if self._saved is None:
            raise RuntimeError(FREED)
        return tuple(_unpacked(s) for s in self._saved)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that these inputs were written to in place; they must also be returned."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs that nobody used."""
        self._materialize = value


def _requires_grad(x: Any) -> bool:
    return isinstance(x, TensorBase) and x._requires_grad


def _is_in(x: Any, tensors: tuple[Any, ...]) -> bool:
    return any(x is t for t in tensors)


def _packed(t: Any, outputs: tuple[Any, ...]) -> Any:
    """A tensor to save, with its version; an output without the tensor itself, which holds the node."""
    if t is None:
        return None
    graph.share(t)
    if _is_in(t, outputs):
        return t._data, t._memory, t._memory.version, t._aval, t._node
    return t, t._memory.version


def _unpacked(packed: Any) -> Any:
    if packed is None:
        return None
    if len(packed) == 2:
        tensor, version = packed
        graph.check_version(tensor._aval, tensor._memory, version)
        return tensor
    return graph.revived(*packed)


class FunctionNode(MultiNode):
    """A recorded call of a Function."""

    __slots__ = ("avals", "context", "function", "takes")

    def __init__(self, function: type[Function], context: FunctionCtx, inputs: Any) -> None:
        edges = tuple((x._node or x) if _requires_grad(x) else None for x in inputs)
        super().__init__(_call, edges, (), (), None)
        self.outs: list[Any] = []
        self.function = function
        self.context = context
        self.takes = tuple(isinstance(x, TensorBase) for x in inputs)

    def name(self) -> str:
        """PyTorch's name: that of the class, and "Backward"."""
        return f"{self.function.__name__}Backward"

    def release(self) -> None:
        """Drop what the context saved."""
        if self.context._saved:
            self.context._saved = None

    def backward(self, g: list[Any], wanted: Any = None) -> list[Any]:
        """The gradients that the user's `backward` gives."""
        if self.context._materialize:
            g = [
                zeros(a.shape, dtype=a.dtype, device=a.device) if x is None and a else x
                for x, a in zip(g, self.avals, strict=True)
            ]
        grads = self.function.backward(self.context, *g)
        grads = list(grads) if isinstance(grads, tuple | list) else [grads]
        expected = len(self.edges)
        if any(x is not None for x in grads[expected:]) or len(grads) < expected:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{expected}, got {len(grads)})"
            )
        for k, x in enumerate(grads[:expected]):
            self._check(k, x)
        return [x if e is not None else None for x, e in zip(grads, self.edges, strict=False)]

    def _check(self, k: int, x: Any) -> None:
        if x is None:
            return
        if not isinstance(x, TensorBase):
            raise RuntimeError(f"expected Tensor or None (got {type(x).__name__})")
        if not self.takes[k]:
            raise RuntimeError(
                f"function {self.name()} returned a gradient different than None at position {k + 1}, "
                "but the corresponding forward input was not a Tensor"
            )
        graph.share(x)  # the user may keep it


_call = Vjp("Function", (), (), {})


class Function:
    """An op with a gradient written by hand.

    A subclass has static methods `forward(ctx, *args)` and `backward(ctx, *grads)`, or `forward(*args)`,
    `setup_context(ctx, inputs, output)` and `backward`; it is called by `apply`. `backward` returns a
    gradient, or None, for each argument. It is recorded in its turn where the graph is created, so
    that a function can be differentiated any number of times.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The result: a tensor, or a tuple in which there are tensors. To be written by a subclass."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what `backward` needs, where `forward` does not take the context."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        """A gradient for each argument of `forward`, from one for each output."""
        raise NotImplementedError(
            "You must implement the backward method for your custom autograd.Function to use it with "
            "backward()."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Not how a Function is called; always raises."""
        raise RuntimeError(
            "A Function is not called on an instance: give it a static forward method and call "
            f"{type(self).__name__}.apply(...)"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`, recorded where an argument requires a gradient."""
        separate = cls.setup_context is not Function.setup_context
        if kwargs:
            args = _positional(cls, separate, args, kwargs)
        context = FunctionCtx(args)
        with no_grad():
            if separate:
                result = cls.forward(*args)
                cls.setup_context(context, args, result)
            else:
                result = cls.forward(context, *args)
        outputs = result if isinstance(result, tuple) else (result,)
        outputs = _connected(cls, context, args, outputs)
        return outputs if isinstance(result, tuple) else outputs[0]


def _positional(cls: type[Function], separate: bool, args: Any, kwargs: Any) -> tuple[Any, ...]:
    """The arguments in the order in which `forward` takes them."""
    context = () if separate else (None,)
    bound = inspect.signature(cls.forward).bind(*context, *args, **kwargs)
    bound.apply_defaults()
    return bound.args[len(context) :]


def _connected(
    cls: type[Function], context: FunctionCtx, inputs: tuple[Any, ...], outputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    """The outputs with this call as their history."""
    node = None
    if mode.grad and any(context.needs_input_grad):
        node = FunctionNode(cls, context, inputs)
        node.count = len(outputs)
        node.avals = tuple(x._aval if isinstance(x, TensorBase) else None for x in outputs)
    connected: list[Any] = []
    for index, out in enumerate(outputs):
        if isinstance(out, TensorBase):
            part = None
            fixed = _is_in(out, context._non_differentiable)
            if node is not None and out._aval.dtype.is_floating_point and not fixed:
                part = Part(node, index, out._aval)
            if _is_in(out, context._dirty):
                _rewrite(out, part)
            else:
                out = _apart(out, inputs)
                out._node, out._requires_grad = part, part is not None
        connected.append(out)
    if node is not None:
        context._saved = [_packed(t, tuple(connected)) for t in context._to_save]
    context._to_save = ()
    return tuple(connected)


def _apart(out: Any, inputs: tuple[Any, ...]) -> Any:
    """`out`; if it is an input, which keeps its own history, another tensor of its values."""
    return out.detach() if _is_in(out, inputs) else out


def _rewrite(out: Any, part: Part | None) -> None:
    """Make the call the history of an input that it wrote to."""
    if part is None:
        return
    if out._requires_grad and out._node is None:
        raise RuntimeError(
            "a leaf Variable that requires grad has been used in an in-place operation."
        )
    value = out.detach()
    value._node, value._requires_grad = part, True
    inplace.rewrite_history(out, out._base, value, out._memory)


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a `backward` that is not written in ops: to differentiate it again then raises."""

    @functools.wraps(function)
    def wrapper(ctx: FunctionCtx, *grads: Any) -> Any:
        with no_grad():
            result = function(ctx, *grads)
        wanted = [g for g in grads if _requires_grad(g)]
        if not mode.grad or not wanted:
            return result
        results = result if isinstance(result, tuple) else (result,)
        marked = tuple(_undifferentiable(r, wanted) for r in results)
        return marked if isinstance(result, tuple) else marked[0]

    return wrapper


def _undifferentiable(result: Any, sources: list[Any]) -> Any:
    """`result` with a history in which backward raises."""
    if result is None:
        return None
    out = result.detach()
    edges = tuple(s._node or s for s in sources)
    out._node, out._requires_grad = Node(_error, edges, (), (), out._aval), True
    return out


def _raise_second(g: Any) -> Any:
    raise RuntimeError(
        "trying to differentiate twice a function that was marked with @once_differentiable"
    )


_error = Vjp("Error", ("inputs",), (), {"inputs": _raise_second})


def Variable(data: Any, requires_grad: bool = False) -> Any:  # noqa: N802 (PyTorch's name)
    """A leaf on the memory of `data`: how tensors with gradients were made before PyTorch 0.4."""
    return data.detach().requires_grad_(requires_grad)
