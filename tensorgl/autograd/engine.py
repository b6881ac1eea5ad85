"""Backward through the recorded graph, and the modes that switch recording on and off.

Nodes run in the reverse of the order in which they were recorded, from a heap, so that a chain of
any length needs no recursion. This module knows tensors only by the graph state they carry.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from tensorgl.autograd.graph import MultiNode, Node, TensorBase, mode

__all__ = [
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "run_backward",
    "set_grad_enabled",
]


def run_backward(
    roots: Sequence[Any],
    gradients: Sequence[Any],
    targets: Sequence[Any] | None,
    retain_graph: bool,
    create_graph: bool,
) -> dict[int, Any]:
    """Send `gradients` from `roots` back through the graph.

    Args:
        roots: tensors that require a gradient.
        gradients: one tensor for each, of the same shape.
        targets: edges (nodes or leaf tensors) whose gradients are wanted; None for every leaf.

    Returns:
        The gradient of each target by `id`; with `targets` None, of each leaf in its `grad`.
    """
    wanted = None if targets is None else {id(t) for t in targets}
    alive = None if targets is None else _reaching(roots, wanted)
    pending: dict[int, Any] = {}
    heap: list[tuple[int, Node]] = []
    leaves: list[Any] = []
    found: dict[int, Any] = {}

    def send(edge: Any, g: Any) -> None:
        key = id(edge)
        if isinstance(edge, MultiNode):
            if key not in pending:
                heappush(heap, (-edge.seq, edge))
            pending[key] = g
        elif key in pending:
            pending[key] = pending[key] + g
        else:
            pending[key] = g
            if isinstance(edge, Node):
                heappush(heap, (-edge.seq, edge))
            else:
                leaves.append(edge)

    previous, mode.grad = mode.grad, create_graph
    try:
        for root, g in zip(roots, gradients, strict=True):
            send(root._node or root, g)
        while heap:
            _, node = heappop(heap)
            g = pending.pop(id(node))
            if node.hooks:
                g = _run_hooks(node.hooks, g)
            if wanted is not None and id(node) in wanted:
                found[id(node)] = g
            if alive is not None and id(node) not in alive:
                continue
            for edge, part in zip(node.edges, node.backward(g), strict=True):
                if part is None or (alive is not None and id(edge) not in alive):
                    continue
                if part._aval is not edge._aval and not isinstance(edge, MultiNode):
                    part = part._reduce_to(edge._aval, node)
                send(edge, part)
            if not retain_graph:
                node.release()
        stored: set[int] = {id(g) for g in gradients}
        for leaf in leaves:
            g = pending.pop(id(leaf))
            if leaf._hooks:
                g = _run_hooks(leaf._hooks, g)
            if wanted is None:
                leaf._accumulate_grad(g, owned=id(g) not in stored and not leaf._hooks)
                stored.add(id(g))
            elif id(leaf) in wanted:
                found[id(leaf)] = g
    finally:
        mode.grad = previous
    return found


def _run_hooks(hooks: dict[int, Callable[..., Any]], g: Any) -> Any:
    for hook in tuple(hooks.values()):
        result = hook(g)
        g = g if result is None else result
    return g


def _reaching(roots: Sequence[Any], wanted: Any) -> set[int]:
    """The ids of all nodes and leaves under `roots` from which a wanted one is reached."""
    edges_of: dict[int, Any] = {}
    stack = [root._node or root for root in roots]
    while stack:
        node = stack.pop()
        if id(node) not in edges_of:
            edges_of[id(node)] = node
            if isinstance(node, Node):
                stack.extend(e for e in node.edges if e is not None)
    alive = set(wanted)
    nodes = sorted((n for n in edges_of.values() if isinstance(n, Node)), key=lambda n: n.seq)
    for node in nodes:
        if any(id(e) in alive for e in node.edges if e is not None):
            alive.add(id(node))
    return alive


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, TensorBase) else tuple(x)


def _start_gradients(roots: tuple[Any, ...], gradients: Any) -> list[Any]:
    """One gradient a root: what was given, or 1 for a scalar."""
    if gradients is None or isinstance(gradients, TensorBase):
        gradients = (gradients,) * 1 if len(roots) == 1 else (gradients,) + (None,) * len(roots[1:])
    if len(gradients) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(gradients)} gradients")
    started = []
    for root, g in zip(roots, gradients, strict=True):
        if not root._requires_grad:
            raise RuntimeError(
                "element 0 of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            if root._aval.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            g = root.detach().new_ones(root._aval.shape)
        elif tuple(g.shape) != tuple(root._aval.shape):
            raise RuntimeError(
                "Mismatch in shape: grad_output[0] has a shape of "
                f"{list(g.shape)} and output[0] has a shape of {list(root._aval.shape)}."
            )
        started.append(g)
    return started


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of `tensors` to the `grad` of every leaf that they were computed from.

    Args:
        tensors: one tensor or several.
        grad_tensors: the gradient of something with respect to each; may be None for scalars.
        retain_graph: keep what was saved, for a second backward; default: `create_graph`.
        create_graph: record the backward itself, so that its result can be differentiated.
        inputs: accumulate into these tensors only.

    Raises:
        RuntimeError: a root does not require a gradient, is no scalar and has no gradient given,
            or what its graph had saved was freed or overwritten.
    """
    roots = _as_tuple(tensors)
    gradients = _start_gradients(roots, grad_tensors)
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run_backward(roots, gradients, None, retain, create_graph)
        return
    leaves = _as_tuple(inputs)
    if not leaves:
        raise RuntimeError("`inputs` argument to `backward` cannot be empty.")
    found = run_backward(roots, gradients, [t._node or t for t in leaves], retain, create_graph)
    for leaf in leaves:
        g = found.get(id(leaf._node or leaf))
        if g is not None:
            leaf._accumulate_grad(g, owned=False)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, leaving every `grad` untouched.

    Args:
        allow_unused: give None for an input that no output depends on, instead of raising.
        materialize_grads: give zeros instead of None there.

    Returns:
        One tensor (or None) for each input.
    """
    roots, wanted = _as_tuple(outputs), _as_tuple(inputs)
    for t in wanted:
        if not t._requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    gradients = _start_gradients(roots, grad_outputs)
    retain = create_graph if retain_graph is None else retain_graph
    edges = [t._node or t for t in wanted]
    found = run_backward(roots, gradients, edges, retain, create_graph)
    results = []
    for t, edge in zip(wanted, edges, strict=True):
        g = found.get(id(edge))
        if g is None and materialize_grads:
            g = t.detach().new_zeros(t._aval.shape)
        elif g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
        results.append(g)
    return tuple(results)


def is_grad_enabled() -> bool:
    """Whether this thread records ops for differentiation."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return mode.inference


class _ModeContext:
    """A context manager and decorator that sets the recording mode and puts it back."""

    _grad = True
    _inference = False

    def __enter__(self) -> None:
        # A stack, so that one object may be entered again inside itself.
        self.__dict__.setdefault("_previous", []).append((mode.grad, mode.inference))
        mode.grad, mode.inference = self._grad, self._inference or mode.inference

    def __exit__(self, *exc: object) -> None:
        mode.grad, mode.inference = self.__dict__["_previous"].pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                with self:
                    inner = function(*args, **kwargs)
                value = None
                while True:
                    try:
                        with self:
                            item = inner.send(value)
                    except StopIteration as stop:
                        return stop.value
                    value = yield item

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


class _PlainModeContext(_ModeContext):
    """Also works as a decorator without parentheses: `@no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        context = super().__new__(cls)
        return context if function is None else context(function)


class no_grad(_PlainModeContext):
    """Turn recording off: `with no_grad():` or `@no_grad()`."""

    _grad = False


class enable_grad(_PlainModeContext):
    """Turn recording on inside `no_grad`."""


class inference_mode(_ModeContext):
    """Turn recording off for code that will never be differentiated."""

    def __init__(self, mode: bool = True) -> None:
        self._grad = not mode
        self._inference = mode


class set_grad_enabled(_ModeContext):
    """Turn recording on or off: at once as a function, or for a `with` block."""

    def __init__(self, mode: bool) -> None:
        self._grad = bool(mode)
        self.__dict__["_previous"] = []
        self._outer = _mode_now()
        _set_mode(self._grad)

    def __enter__(self) -> None:
        self.__dict__["_previous"].append(self._outer)
        mode.grad = self._grad

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode.grad, mode.inference = self._outer  # as a decorator it acts only inside the function
        return super().__call__(function)


def _mode_now() -> tuple[bool, bool]:
    return mode.grad, mode.inference


def _set_mode(on: bool) -> None:
    mode.grad = on
