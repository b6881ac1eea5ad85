"""The lazy graph: what was asked for and not yet done, as one list in order of asking.

A `Node` is one tensor's memory and, until it is realised, the call that will fill it; a `View` shows
a node's memory through strides. Nodes go into `pending` as they are made. Their values come into
being when somebody looks (`Graph.flush`): the walk over the list gives every value a number, and a
key that is equal whenever the same work is asked for again, Python numbers and buffers aside; the
plan for a key is made once.

Memory is written as pure values are renamed: a write is an entry in the list, after which the
target's number is the source's. So buffers never change once filled, and sharing them is safe.

Recording takes no lock: a node is appended at once. A flush takes one, so that threads do not
flush at the same time.

What must exist after a flush is what Python still sees: nodes with more references than the list,
the pending calls and the views that only those hold. The rest never leaves its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from sys import getrefcount
from threading import RLock
from typing import Any

from tensorgl.avals import Aval
from tensorgl.backends.glsl.layout import Layout
from tensorgl.backends.glsl.memory import Buffer
from tensorgl.errors import CaptureError
from tensorgl.primitives import Primitive

__all__ = ["Call", "Graph", "Node", "Trace", "View", "call_of"]

PENDING_LIMIT = 4096
"""Nodes that may wait; more are flushed, so that a loop that looks at nothing stays bounded."""


class Call:
    """What a node computes but for its operands. Made by `call_of` only; compare by identity."""

    __slots__ = ("avals", "name", "out", "params", "primitive")

    def __init__(
        self,
        name: str,
        primitive: Primitive | None,
        avals: tuple[Aval, ...],
        params: Any,
        out: Any,
    ) -> None:
        self.name = name
        self.primitive = primitive
        self.avals = avals
        self.params = params
        self.out = out

    def __repr__(self) -> str:
        return f"{self.name}{list(self.avals)} -> {self.out}"


_calls: dict[Any, Call] = {}


def call_of(name: str, primitive: Any, avals: tuple[Aval, ...], params: Any, out: Any) -> Call:
    """The one call of this description. `out` is None for a write and a tuple for several results."""
    key = (name, avals, params, out)
    known = _calls.get(key)
    if known is None:
        known = _calls[key] = Call(name, primitive, avals, params, out)
    return known


class Node:
    """A tensor's memory. `buffer` is None while it is pending."""

    __slots__ = ("buffer", "call", "epoch", "index", "srcs", "uses")
    srcs: tuple[Any, ...]
    buffer: Buffer | None
    epoch: object
    index: int
    uses: int

    def __init__(self, call: Call, srcs: tuple[Any, ...], buffer: Buffer | None = None) -> None:
        self.call = call
        self.srcs = srcs
        self.buffer = buffer
        self.epoch = None


class View:
    """A node's memory through strides, from `offset` elements on."""

    __slots__ = ("base", "epoch", "layout", "offset", "uses")
    epoch: object
    uses: int

    def __init__(self, base: Node, layout: Layout, offset: int) -> None:
        self.base = base
        self.layout = layout
        self.offset = offset
        self.epoch = None


WRITE = Call("write", None, (), (), None)
LEAF = "leaf"


class Trace:
    """One flush's walk: the key, and what changes between flushes of one key.

    `leaves` are realised nodes in order of first use, numbered -1, -2, …; pending nodes are numbered
    by their place. `numbers` are Python numbers and starts of views, in order; `starts` pairs those that
    contain where a leaf begins in its block with the leaf's place. `visible` has a byte
    for each pending node; `written` maps nodes that were written to their value's number.
    """

    __slots__ = ("key", "leaves", "nodes", "numbers", "starts", "visible", "written")

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.key: list[Any] = []
        self.leaves: list[Node] = []
        self.numbers: list[Any] = []
        self.starts: list[tuple[int, int]] = []
        self.visible = bytearray(len(nodes))
        self.written: dict[Node, int] = {}


class Graph:
    """The pending list and the walk over it."""

    def __init__(self, run: Callable[[Trace], None]) -> None:
        """`run` makes or finds the plan of a trace, runs it and gives the visible nodes buffers."""
        self.lock = RLock()
        self.pending: list[Node] = []
        self.recording = False
        self.stale: set[Node] = set()  # realised nodes that a pending entry writes to
        self._run = run

    def recorder(self, call: Call) -> Callable[..., Node]:
        """A function from operands to a new pending node of this call: the way of every op."""
        pending = self.pending

        def record(*srcs: Any) -> Node:
            if len(pending) >= PENDING_LIMIT and not self.recording:
                self.flush()
            node = Node(call, srcs)
            pending.append(node)
            return node

        return record

    def make_room(self, count: int) -> None:
        """Flush now if so many nodes more would make that necessary."""
        if len(self.pending) + count > PENDING_LIMIT and not self.recording:
            self.flush()

    def add(self, call: Call, srcs: tuple[Any, ...]) -> Node:
        """A new pending node."""
        return self.recorder(call)(*srcs)

    def leaf(self, aval: Aval, buffer: Buffer) -> Node:
        """A realised node."""
        return Node(call_of(LEAF, None, (), (), aval), (), buffer)

    def write(self, target: Node, source: Node) -> None:
        """From here on `target` has the value that `source` has now."""
        self.add(WRITE, (target, source))
        self.stale.add(target)

    def flush(self) -> None:
        """Bring into being what Python can see, and forget how it was made."""
        with self.lock:
            if self.recording:
                raise CaptureError(
                    "the value of a tensor is read inside a compiled step (.item(), .numpy(), print, "
                    "float(), or an `if` on a tensor); return the tensor and read it outside, or take "
                    "this part out of the function given to compile"
                )
            if self.pending:
                with self.taken() as trace:
                    self._run(trace)

    @contextmanager
    def taken(self) -> Generator[Trace]:
        """What is pending, to be run inside; if that fails it is pending again.

        Other threads may ask for more meanwhile, which waits for the next flush. Nothing that they
        can see is left out of this one: they hold references.
        """
        nodes = self.pending[:]
        del self.pending[: len(nodes)]
        stale, self.stale = self.stale, set()
        try:
            yield self.walk(nodes)
        except BaseException:
            self.pending[:0] = nodes
            self.stale |= stale
            raise
        for node in nodes:
            node.srcs = ()

    def clear(self) -> None:
        """Forget the pending calls."""
        for node in self.pending:
            node.srcs = ()
        self.pending.clear()
        self.stale.clear()

    def walk(self, nodes: list[Node]) -> Trace:
        """Number the values, find out who is visible, and build the key. Only `nodes` holds the nodes."""
        trace = Trace(nodes)
        key, leaves, numbers, written = trace.key, trace.leaves, trace.numbers, trace.written
        views: list[View] = []
        # No earlier walk had it; the trace itself would hold its leaves in a cycle.
        epoch = object()
        for place, node in enumerate(nodes):
            call = node.call
            key.append(call)
            for s in node.srcs:
                kind = type(s)
                if kind is Node:
                    base = s
                elif kind is View:
                    base = s.base
                    if s.epoch is not epoch:
                        s.epoch = epoch
                        s.uses = 0
                        views.append(s)
                        if base.epoch is epoch:
                            base.uses += 1
                    s.uses += 1
                else:
                    numbers.append(s)
                    continue
                if base.epoch is not epoch:  # not in the list before this place: it is realised
                    base.epoch = epoch
                    leaves.append(base)
                    base.index = -len(leaves)
                    base.uses = 0
                    buffer = base.buffer
                    assert buffer is not None, call
                    key.append(base.call)
                    key.append(buffer.traits)
                if kind is Node:
                    base.uses += 1
                    key.append(base.index)
                    offset = 0
                else:
                    key.append(s.layout)
                    key.append(base.index)
                    offset = s.offset
                if base.index < 0:
                    start = leaves[-base.index - 1].buffer.start  # type: ignore[union-attr]
                    if start:
                        offset += 4 * start
                        trace.starts.append((len(numbers), -base.index - 1))
                if offset:
                    numbers.append(offset)
                    key.append(offset & 3)
                else:
                    key.append(None)
            if call is WRITE:
                target, source = node.srcs
                target.index = source.index
                if target not in written:
                    target.uses += 2  # the dictionary's own, and that of `stale`
                written[target] = target.index
            else:
                node.index = place
                node.epoch = epoch
                node.uses = 0
        node = s = base = target = source = None  # they would count as references
        for view in views:
            if getrefcount(view) > _REFERENCES + view.uses:
                view.base.uses = -1
        # Not with `enumerate`, which holds a reference of its own.
        trace.visible = bytearray(
            [n.epoch is epoch and getrefcount(n) > _REFERENCES + n.uses for n in nodes]
        )
        key.append(bytes(trace.visible))
        return trace


def _references() -> int:
    """How many references a loop over a list sees of an object that only the list holds.

    Python versions differ in which references of the running frame they count.
    """
    objects = [object()]
    for x in objects:
        return getrefcount(x)
    raise AssertionError


_REFERENCES = _references()
