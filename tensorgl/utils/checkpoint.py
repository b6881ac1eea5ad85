"""Checkpointing: keep the inputs of a part of a model instead of all it saves, and compute it again.

Source: Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tensorgl.autograd import engine, graph
from tensorgl.autograd.graph import FREED, MultiNode, Node, Part, TensorBase, Vjp, mode
from tensorgl.autograd.modes import enable_grad
from tensorgl.random import default_generator

__all__ = ["checkpoint", "checkpoint_sequential"]

Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]


def _no_contexts() -> Contexts:
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = _no_contexts,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which only the arguments are kept for backward.

    Backward calls it again. Gradients of any order and of tensors that the function captures are right.

    Args:
        function: gives a tensor, or a tuple in which there are tensors.
        *args: its arguments.
        use_reentrant: accepted as PyTorch does. Both ways are the same here, the better one: False.
        context_fn: gives a context for the first call and one for the second.
        determinism_check: "default" to raise if the second call gives other shapes, or "none".
        debug: accepted as PyTorch does.
        early_stop: accepted as PyTorch does.
        preserve_rng_state: draw the same random numbers in the second call.
        **kwargs: more arguments.
    """
    first, second = context_fn()
    if not mode.grad:
        with first:
            return function(*args, **kwargs)
    state = default_generator.state if preserve_rng_state else None
    node = CheckpointNode(lambda: _again(function, args, kwargs, second, state), determinism_check)
    with first:
        result = function(*args, **kwargs)
    node.watch(args)
    outputs = node.connect(result if isinstance(result, tuple) else (result,))
    return outputs if isinstance(result, tuple) else outputs[0]


def _again(function: Any, args: Any, kwargs: Any, context: Any, state: Any) -> tuple[Any, ...]:
    with enable_grad(), context, _generator_at(state):
        result = function(*args, **kwargs)
    return result if isinstance(result, tuple) else (result,)


@contextmanager
def _generator_at(state: Any) -> Generator[None]:
    """The default generator at an earlier state, and back; None leaves it alone."""
    now = default_generator.state
    if state is not None:
        default_generator.state = state
    try:
        yield
    finally:
        if state is not None:
            default_generator.state = now


class CheckpointNode(MultiNode):
    """A call whose graph was thrown away; its edges are those that led out of that graph."""

    __slots__ = ("again", "avals", "check", "inputs")

    def __init__(self, again: Callable[[], tuple[Any, ...]], check: str) -> None:
        super().__init__(_call, (), (), (), None)
        self.outs: list[Any] = []
        self.again: Callable[[], tuple[Any, ...]] | None = again
        self.check = check

    def watch(self, args: tuple[Any, ...]) -> None:
        """Remember the versions of tensors that must not be written to before the second call."""
        self.inputs = [x for x in args if isinstance(x, TensorBase)]
        for x in self.inputs:
            graph.share(x)
        self.versions = tuple(x._memory.version for x in self.inputs)  # type: ignore[union-attr]

    def connect(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The outputs with this node as their history instead of the graph that they have."""
        inside = [self._is_inside(x) for x in outputs]
        roots = [x for x, own in zip(outputs, inside, strict=True) if own]
        self.edges = self._edges_out(roots)
        self.count = len(outputs)
        self.avals = tuple(x._aval if isinstance(x, TensorBase) else None for x in outputs)
        connected = []
        for index, (out, own) in enumerate(zip(outputs, inside, strict=True)):
            if own:
                out = out.detach()
                out._node, out._requires_grad = Part(self, index, out._aval), True
            connected.append(out)
        return tuple(connected)

    def _is_inside(self, x: Any) -> bool:
        """Whether a tensor was made in the call: nodes are numbered in the order of their making."""
        return isinstance(x, TensorBase) and x._node is not None and x._node.seq > self.seq

    def _edges_out(self, roots: list[Any]) -> tuple[Any, ...]:
        """The leaves, and the nodes from before the call, that the graph under `roots` leads to."""
        outside: dict[int, Any] = {}
        seen: set[int] = set()
        stack = [x._node for x in roots]
        while stack:
            edge = stack.pop()
            if id(edge) in seen:
                continue
            seen.add(id(edge))
            if isinstance(edge, Node) and edge.seq > self.seq:
                stack.extend(e for e in edge.edges if e is not None)
            else:
                outside[id(edge)] = edge
        return tuple(outside.values())

    def release(self) -> None:
        """Drop the call."""
        self.again = None

    def backward(self, g: list[Any], wanted: Any = None) -> list[Any]:
        """The gradients that arrive at the edges when the graph is made again."""
        if self.again is None:
            raise RuntimeError(FREED)
        for x, version in zip(self.inputs, self.versions, strict=True):
            graph.check_version(x._aval, x._memory, version)
        outputs = self.again()
        self._compare(outputs)
        given = [(x, one) for x, one in zip(outputs, g, strict=True) if one is not None]
        roots, gradients = zip(*given, strict=True)
        targets = [e for e in self.edges if wanted is None or id(e) in wanted]
        found = engine.run_backward(
            roots, gradients, targets, mode.grad, mode.grad, accumulate=False, inner=True
        )
        return [found.get(id(e)) for e in self.edges]

    def _compare(self, outputs: tuple[Any, ...]) -> None:
        avals = tuple(x._aval if isinstance(x, TensorBase) else None for x in outputs)
        if self.check == "default" and avals != self.avals:
            raise RuntimeError(
                "checkpoint: the function gave other shapes or dtypes in backward: "
                f"{list(avals)}, before {list(self.avals)}. It must do the same each time."
            )


_call = Vjp("checkpoint", (), (), {})


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """A Sequential or a list of functions in `segments`, of which all but the last are checkpointed.

    Args:
        functions: called one after the other.
        segments: how many parts of nearly equal length.
        input: of the first function.
        use_reentrant: as for `checkpoint`.
        **kwargs: as for `checkpoint`.

    Raises:
        ValueError: there are more segments than functions.
    """
    steps = list(functions)
    if not 1 <= segments <= len(steps):
        raise ValueError(
            f"checkpoint_sequential: expected 1 to {len(steps)} segments, given {segments}"
        )
    size = len(steps) // segments
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(
            _chain(steps[start : start + size]), input, use_reentrant=use_reentrant, **kwargs
        )
    return _chain(steps[size * (segments - 1) :])(input)


def _chain(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return call
