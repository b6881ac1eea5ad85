"""The recorded graph: nodes, edges, and the gradient rules that they apply.

A tensor is a recorded call. A `Node` holds what one call needs for its gradient: edges to the nodes
(or leaf tensors) of its inputs, and those values that its rules name. No node refers to the tensor
that it made, so reference counting frees a graph as soon as nobody looks at it.

This module imports nothing of tensorgl.
"""

# The core is several modules of one design: they see each other's underscored state.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from enum import Enum
from itertools import count, product
from sys import getrefcount
from typing import Any

__all__ = [
    "Memory",
    "Mode",
    "MultiNode",
    "Node",
    "Part",
    "Stage",
    "TensorBase",
    "Vjp",
    "drop_hidden_base",
    "mode",
    "record",
    "share",
]

Rule = Callable[..., Any]
_next_sequence = count().__next__


class Mode(threading.local):
    """Whether this thread records; every thread starts with recording on."""

    grad = True
    inference = False
    anomaly = False  # whether backward looks for NaN
    # Whether leaves get their gradients as soon as they are complete, which costs a look at the whole
    # graph: from the first hook on that is to be called then.
    early = False
    observer: Any = None  # told of each backward: observer(roots, leaves before they get gradients)


mode = Mode()


class Memory:
    """What a tensor shares with its views: a version counter, and weak references to the views."""

    __slots__ = ("limit", "version", "views")

    def __init__(self) -> None:
        self.version = 0
        self.views: list[Any] = []
        self.limit = 8

    def add_view(self, reference: Any) -> None:
        """Remember a view; forget dead ones whenever their number may have doubled."""
        views = self.views
        if len(views) >= self.limit:
            views[:] = [r for r in views if r() is not None]
            self.limit = 2 * len(views) + 8
        views.append(reference)


class TensorBase:
    """The state of a tensor. `Tensor` adds its constructor and its methods."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_aval",  # shape, dtype and device
        "_base",  # the tensor whose memory a view shows, or None
        "_data",  # the backend's handle
        "_grad",
        "_hooks",  # of a leaf; those of other tensors sit on their node
        "_memory",  # None until there is a view or an in-place write
        "_node",  # the recorded call that made it; None for a leaf
        "_requires_grad",
        "_view",  # how to get here from _base: (primitive, params, _view of its input)
    )
    _aval: Any
    _base: Any
    _data: Any
    _grad: Any
    _hooks: Any
    _memory: Memory | None
    _node: Node | None
    _requires_grad: bool
    _view: Any


def make_tensor(data: Any, aval: Any) -> Any:
    """Wrap a backend handle and an aval; `tensor.py` puts the class Tensor here."""
    raise RuntimeError("tensorgl.tensor has not been imported")


OUT, SHAPE, INDEX = "out", "shape", "i"
FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they "
    "have already been freed). Specify retain_graph=True if you need to backward through the graph "
    "a second time."
)


def revived(data: Any, memory: Memory, version: int, aval: Any, node: Node | None) -> Any:
    """The saved result of a call as a tensor with that history (None: it has none)."""
    check_version(aval, memory, version)
    out = make_tensor(data, aval)
    out._memory = memory
    out._node, out._requires_grad = node, node is not None
    return out


class Results:
    """The saved results of a call, each of which is revived, and checked, as it is read."""

    def __init__(self, saved: list[Any]) -> None:
        self._saved = saved

    def __getitem__(self, index: int) -> Any:
        return revived(*self._saved[index])


_BITS: dict[Any, int] = {0: 8, 1: 4, 2: 2, OUT: 1}
# By those bits: whether to keep input 0, 1, 2 and the output; None to keep nothing, which costs least.
_KEPT = tuple(kept if any(kept) else None for kept in product((False, True), repeat=4))


class Vjp:
    """The gradient rules of one op: for each input, a function of `g` and of what it names.

    A rule's parameters say what it needs, and only that is saved: an input or a parameter of the op
    by name, `out` (the result), `shape` (of the input it differentiates), and, for ops of any number
    of inputs, `i` (which input) with the rule given as `inputs`.
    """

    __slots__ = ("name", "rules", "saves", "variadic")

    def __init__(
        self, name: str, inputs: tuple[str, ...], params: tuple[str, ...], rules: dict[str, Rule]
    ) -> None:
        self.name = name
        self.variadic = "inputs" in rules
        known: dict[str, Any] = {n: k for k, n in enumerate(inputs)}
        known |= {n: -k - 1 for k, n in enumerate(params)}  # negative: a parameter
        known |= {OUT: OUT, SHAPE: SHAPE, INDEX: INDEX}
        self.rules: dict[Any, tuple[Rule, tuple[Any, ...]]] = {}
        for target, rule in rules.items():
            code = rule.__code__
            wanted = code.co_varnames[1 : code.co_argcount]
            unknown = [w for w in (*wanted, target) if w not in known]
            if unknown:
                raise TypeError(f"defvjp: {name} has no {unknown}; it has {[*inputs, *params]}")
            position = INDEX if self.variadic else known[target]
            self.rules[position] = rule, tuple(known[w] for w in wanted)
        # What must be kept when the inputs in a bit mask need a gradient (up to three inputs).
        x, y, z = (self._wanted(k) for k in range(3))
        masks = (0, x, y, x | y, z, x | z, y | z, x | y | z)
        self.saves = tuple(_KEPT[wanted] for wanted in masks)

    def _wanted(self, position: int) -> int:
        """What the rule of an input needs kept, as bits."""
        bits = 0
        for name in self.rules[position][1] if position in self.rules else ():
            bits |= _BITS.get(name, 0)
        return bits


class Node:
    """One recorded call.

    `edges` has, for each input, the node that made it, or the leaf tensor itself, or None where no
    gradient is wanted; `saved` the values that the rules name, in the order of the inputs.
    """

    __slots__ = (
        "__weakref__",
        "_aval",
        "edges",
        "hooks",
        "out",
        "params",
        "saved",
        "seq",
        "versions",
        "vjp",
    )

    def __init__(
        self,
        vjp: Vjp,
        edges: tuple[Any, ...],
        saved: tuple[Any, ...],
        params: tuple[Any, ...],
        aval: Any,
        out: TensorBase | None = None,
    ) -> None:
        self.vjp = vjp
        self.edges = edges
        self.saved: tuple[Any, ...] | None = saved
        self.params = params
        self._aval = aval
        self.seq = _next_sequence()
        self.hooks: Any = None
        self.versions: Any = None
        for t in saved:  # most tensors are never written to, and have no Memory
            if t is not None and isinstance(t, TensorBase) and t._memory is not None:
                self.versions = tuple(
                    t._memory.version if isinstance(t, TensorBase) and t._memory else 0
                    for t in saved
                )
                break
        if out is None:
            self.out = None
        else:
            if out._memory is None:
                out._memory = Memory()
            self.out = (out._data, out._memory, out._memory.version)

    def name(self) -> str:
        """PyTorch's name for the node: `MulBackward0`."""
        name = self.vjp.name
        if name[0].isupper():  # one that is no op's
            return name
        return "".join(w.capitalize() for w in name.split("_")) + "Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes (or leaf tensors) that the gradient goes to, as PyTorch gives them."""
        return tuple((e, 0) for e in self.edges)

    def add_hook(self, hook: Callable[..., Any], stage: Stage) -> Handle:
        """Call `hook` at a stage of backward; a result that is not None replaces the gradient."""
        if self.hooks is None:
            self.hooks = {}
        return Handle(self.hooks, (stage, hook))

    def register_prehook(self, hook: Callable[[tuple[Any, ...]], Any]) -> Handle:
        """Call `hook(grad_outputs)` before this node runs; a tuple that it returns replaces them."""

        def on_outputs(g: Any) -> Any:
            result = hook((g,))
            return None if result is None else result[0]

        return self.add_hook(on_outputs, Stage.PRE)

    def register_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(grad_inputs, grad_outputs)` after this node ran; a result replaces the first."""
        return self.add_hook(hook, Stage.POST)

    def release(self) -> None:
        """Drop what was saved; if that was a tensor, a second backward raises PyTorch's error."""
        if self.out is not None:
            self.saved = self.out = None
        for t in self.saved or ():
            if t is not None and isinstance(t, TensorBase):
                self.saved = None
                break

    def backward(self, g: Any, wanted: Container[int] | None = None) -> list[Any]:
        """The gradient for each edge; None where none is wanted (`wanted`: ids of edges, or all)."""
        if self.saved is None:
            raise RuntimeError(FREED)
        rules = self.vjp.rules
        grads: list[Any] = []
        for k, edge in enumerate(self.edges):
            rule = rules.get(INDEX if self.vjp.variadic else k)
            if edge is None or rule is None or (wanted is not None and id(edge) not in wanted):
                grads.append(None)
                continue
            function, names = rule
            grads.append(function(g, *[self._value(w, k, edge) for w in names]))
        return grads

    def _value(self, wanted: Any, k: int, edge: Any) -> Any:
        if wanted is SHAPE:
            return edge._aval.shape
        if wanted is OUT:
            return self._output()
        if wanted is INDEX:
            return k
        assert self.saved is not None
        if wanted < 0:
            return self.params[-wanted - 1]
        value = self.saved[wanted]
        if isinstance(value, TensorBase) and value._memory is not None:
            expected: int = self.versions[wanted] if self.versions else 0
            check_version(value._aval, value._memory, expected)
        return value

    def _output(self) -> Any:
        """The result of the call, as a tensor with this node as its history."""
        assert self.out is not None
        return revived(*self.out, self._aval, self)


class MultiNode(Node):
    """A recorded call of several results. Its gradient is a list, with None where none arrived."""

    __slots__ = ("count", "outs")

    def register_prehook(self, hook: Callable[[tuple[Any, ...]], Any]) -> Handle:
        """Call `hook(grad_outputs)` before this node runs; a tuple that it returns replaces them."""

        def on_outputs(g: list[Any]) -> Any:
            result = hook(tuple(g))
            return None if result is None else list(result)

        return self.add_hook(on_outputs, Stage.PRE)

    def set_outputs(self, outs: Sequence[TensorBase], save: bool) -> None:
        """Make the results those of this call, each with a Part as its node."""
        self.count = len(outs)
        self.outs: list[Any] = []
        for index, out in enumerate(outs):
            if save and out._memory is None:
                out._memory = Memory()
            part = None
            if out._aval.dtype.is_floating_point:
                part = Part(self, index, out._aval)
                out._node, out._requires_grad = part, True
            if save:
                self.outs.append((out._data, out._memory, out._memory.version, out._aval, part))  # type: ignore[union-attr]

    def release(self) -> None:
        """Drop what was saved."""
        if self.outs:
            self.saved = None
            self.outs = []
        super().release()

    def _output(self) -> Any:
        return Results(self.outs)


_part = Vjp("part", (), (), {})


class Part(Node):
    """One result of a MultiNode: the engine puts its gradient into the other's list, at `index`."""

    __slots__ = ("index",)

    def __init__(self, source: MultiNode, index: int, aval: Any) -> None:
        super().__init__(_part, (source,), (), (), aval)
        self.index = index

    def name(self) -> str:
        """That of the call."""
        return self.edges[0].name()

    def register_prehook(self, hook: Callable[[tuple[Any, ...]], Any]) -> Handle:
        """Of the whole call, as PyTorch has one node for all results."""
        return self.edges[0].register_prehook(hook)

    def register_hook(self, hook: Callable[..., Any]) -> Handle:
        """Of the whole call, as PyTorch has one node for all results."""
        return self.edges[0].register_hook(hook)


class Stage(Enum):
    """When a hook runs, and on what."""

    TENSOR = "before the gradient is given out as that of a tensor, on that gradient"
    RETAIN = "after those, to keep what they made of it"
    PRE = "if the node runs, before it, on the gradients of its results"
    POST = "after the node ran, or the leaf got its gradient"


class Handle:
    """What `register_hook` returns; `remove()` takes the hook away."""

    _next_id = count().__next__

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self.id = Handle._next_id()
        self._hooks = hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def record(vjp: Vjp, inputs: Sequence[Any], params: tuple[Any, ...], out: Any) -> None:
    """Make `out` (one tensor or a tuple) the recorded result of a call of `vjp`'s op.

    `inputs` are tensors, numbers or None, of which at least one requires a gradient.
    """
    edges = tuple(
        (t._node or t) if isinstance(t, TensorBase) and t._requires_grad else None for t in inputs
    )
    if vjp.variadic:
        active = [vjp.rules[INDEX]]
    else:
        active = [vjp.rules[k] for k, e in enumerate(edges) if e is not None and k in vjp.rules]
    if not active:
        return
    wanted = {w for _, names in active for w in names}
    saved = tuple(
        t if k in wanted or not isinstance(t, TensorBase) else None for k, t in enumerate(inputs)
    )
    if isinstance(out, TensorBase):
        out._node = Node(vjp, edges, saved, params, out._aval, out if OUT in wanted else None)
        out._requires_grad = True
    else:
        MultiNode(vjp, edges, saved, params, None).set_outputs(out, OUT in wanted)


def share(g: TensorBase) -> None:
    """Note that somebody may keep `g`, so that no leaf takes it as its own `grad`."""
    if g._memory is None:
        g._memory = Memory()


def drop_hidden_base(t: TensorBase) -> None:
    """Make a view of what nobody else can see no view: an op whose last step was one made it."""
    if t._base is not None and getrefcount(t._base) == 2:  # the tensor's, and that of this call
        t._base = t._view = None


def check_version(aval: Any, memory: Memory | None, expected: int) -> None:
    """Raise PyTorch's error if a saved tensor was written to since it was at version `expected`."""
    version = 0 if memory is None else memory.version
    if version != expected:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [tensorgl.{aval.dtype.title}Tensor {list(aval.shape)}] is at version "
            f"{version}; expected version {expected} instead. Hint: write to a clone, or use the "
            "out-of-place form of the op."
        )
