"""Capture: what a function asked for, as one plan that runs again without recording.

A recording is a flush that remembers which nodes were its inputs, its state and its results. State are
nodes that live on: those that were written to, and those that Python still sees besides the results
(gradients); a replay gives them new buffers. Results are made anew each time.

Numbers that change from step to step arrive during the recording as `LiveFloat` or `LiveInt`, which say
where they came from; their places in the plan are then filled at each replay. They refuse arithmetic,
so that none can go into a number that would stay as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tensorgl.avals import NUMBER
from tensorgl.backends.glsl.graph import Node, Trace, View
from tensorgl.backends.glsl.memory import Buffer
from tensorgl.errors import CaptureError

if TYPE_CHECKING:
    from tensorgl.backends.glsl import GlslBackend

__all__ = ["LiveFloat", "LiveInt", "Recording", "live"]


def _refuse(self: Any, *others: Any) -> NoReturn:
    raise CaptureError(
        "a number that changes from step to step (a learning rate, a step count, a random offset) is "
        "used in Python arithmetic or in a condition inside a compiled step; use it as an operand of a "
        "tensor op"
    )


_ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
)
_REFUSED = (
    *_ARITHMETIC,
    *(f"r{name}" for name in _ARITHMETIC),
    *(
        "rshift",
        "rrshift",
        "neg",
        "pos",
        "abs",
        "index",
        "bool",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
    ),
)


class LiveFloat(float):
    """A float that a step's effect gave; `slot` is its place among all that they gave."""

    slot: int


class LiveInt(int):
    """An int that a step's effect gave; `slot` is its place among all that they gave."""

    slot: int


for _kind, _base in ((LiveFloat, float), (LiveInt, int)):
    for _name in _REFUSED:
        if hasattr(_base, f"__{_name}__"):
            setattr(_kind, f"__{_name}__", _refuse)
    _kind.__hash__ = _base.__hash__  # type: ignore[method-assign]
    NUMBER[_kind] = NUMBER[_base]


def live(number: Any, slot: int) -> Any:
    """A number as one that remembers its place."""
    made = LiveFloat(number) if isinstance(number, float) else LiveInt(number)
    made.slot = slot
    return made


class Recording:
    """What `compile` needs of a backend: lays arguments out, then records from `begin` on."""

    live = staticmethod(live)

    def __init__(self, backend: GlslBackend) -> None:
        self.backend = backend
        self._arguments: list[Node] = []

    def arguments(self, handles: list[Any], avals: list[Any]) -> list[Node]:
        """Each argument as a realised node of its own, on the memory that it is in if possible."""
        graph = self.backend.graph
        fresh: list[Any] = []
        for handle, aval in zip(handles, avals, strict=True):
            if isinstance(handle, View) and not (handle.layout.dense and handle.offset % 4 == 0):
                handle = self.backend.copied(handle, aval)
            fresh.append(handle)
        graph.flush()
        return [self._leaf(h, a) for h, a in zip(fresh, avals, strict=True)]

    def _leaf(self, handle: Any, aval: Any) -> Node:
        graph = self.backend.graph
        base, offset = (handle.base, handle.offset) if isinstance(handle, View) else (handle, 0)
        buffer = base.buffer
        assert buffer is not None, "arguments have been flushed"
        if not offset:
            return graph.leaf(aval, buffer)
        if buffer.order is None:
            return graph.leaf(aval, Buffer(buffer.block, buffer.start + offset // 4))
        node = self.backend.copied(handle, aval)
        graph.flush()
        return node

    def begin(self, arguments: list[Node]) -> None:
        """Record from here on; nothing runs."""
        self._arguments = arguments
        self.backend.graph.lock.acquire()  # other threads wait with their flushes
        self.backend.graph.recording = True

    def covers(self, handles: list[Any]) -> bool:
        """Whether something was asked for since `begin`, and these handles are this backend's."""
        return bool(self.backend.graph.pending) and all(isinstance(h, Node | View) for h in handles)

    def abandon(self) -> None:
        """Go on as if nothing were recorded; what was asked for is still pending."""
        self.backend.graph.recording = False
        self.backend.graph.lock.release()

    def finish(self, results: list[Any]) -> Captured:
        """Run what was recorded once. `results` are handles that the function returned."""
        backend = self.backend
        backend.graph.recording = False
        try:
            with backend.graph.taken() as trace:
                plan = backend.plan(trace)
                captured = Captured(backend, plan, trace, self._arguments, results)
                leaves: list[Any] = [node.buffer for node in trace.leaves]
                backend.place(plan, trace, leaves, backend.start(plan, leaves, trace.numbers))
            return captured
        finally:
            backend.graph.lock.release()


class Captured:
    """A plan and what it reads and fills.

    `leaves` are nodes, or None where argument `arguments[k]` goes.
    """

    def __init__(
        self,
        backend: GlslBackend,
        plan: Any,
        trace: Trace,
        arguments: list[Node],
        results: list[Any],
    ) -> None:
        self.backend = backend
        self.plan = plan
        place = {node: k for k, node in enumerate(trace.leaves)}
        self.arguments = [place.get(node, -1) for node in arguments]
        self.leaves: list[Node | None] = list(trace.leaves)
        for k in self.arguments:
            if k >= 0:
                self.leaves[k] = None
        buffers = [node.buffer for node in trace.leaves]
        self.traits = [b.traits for b in buffers if b is not None]
        self.begins = [b.start for b in buffers if b is not None]
        self.numbers = list(trace.numbers)
        self.live = [
            (k, x.slot) for k, x in enumerate(trace.numbers) if type(x) in (LiveFloat, LiveInt)
        ]
        self.starts = trace.starts
        self.written = [node for node in trace.written if node.buffer is not None]
        seen = [n for n, v in zip(trace.nodes, trace.visible, strict=True) if v]
        output = {node: k for k, node in enumerate(seen)}
        bases = [(x.base if isinstance(x, View) else x) for x in results]
        mine = set(bases)
        self.state = [(node, k) for node, k in output.items() if node not in mine]
        # Of a result that is made anew only its aval is kept, not the first one's memory.
        self.results: list[tuple[int | None, Any, Any]] = [
            (output.get(base), base.call.out if base in output else base, _shown(x))
            for base, x in zip(bases, results, strict=True)
        ]

    def reads(self, handle: Any) -> bool:
        """Whether the plan depends on what was in this memory before it."""
        return (handle.base if isinstance(handle, View) else handle) in self.leaves

    def fits(self, arguments: list[Any]) -> bool:
        """Whether state and arguments are laid out as they were when the plan was made."""
        for k, buffer in enumerate(self._buffers(arguments)):
            if buffer.traits is not self.traits[k] or (buffer.start == 0) != (self.begins[k] == 0):
                return False
        return True

    def _buffers(self, arguments: list[Any]) -> list[Any]:
        buffers: list[Any] = [None if n is None else n.buffer for n in self.leaves]
        for k, node in zip(self.arguments, arguments, strict=True):
            if k >= 0:
                buffers[k] = node.buffer
        return buffers

    def replay(self, arguments: list[Any], values: list[Any]) -> list[Any]:
        """Run the plan again on these arguments' nodes and the effects' numbers; new result handles."""
        with self.backend.graph.lock:
            return self._replay(arguments, values)

    def _replay(self, arguments: list[Any], values: list[Any]) -> list[Any]:
        backend, plan = self.backend, self.plan
        leaves = self._buffers(arguments)
        numbers = self.numbers
        for k, slot in self.live:
            numbers[k] = values[slot]
        if self.starts:
            numbers = list(numbers)
            for k, leaf in self.starts:
                numbers[k] += 4 * (leaves[leaf].start - self.begins[leaf])
        blocks = backend.start(plan, leaves, numbers)
        for node, x in zip(self.written, plan.written, strict=True):
            node.buffer = x.buffer(leaves, blocks)
        for node, k in self.state:
            node.buffer = plan.outputs[k].buffer(leaves, blocks)
        made: dict[int, Node] = {}
        handles: list[Any] = []
        for k, node, shown in self.results:
            if k is not None:
                if k not in made:
                    buffer = plan.outputs[k].buffer(leaves, blocks)
                    made[k] = backend.graph.leaf(node, buffer)
                node = made[k]
            handles.append(node if shown is None else View(node, *shown))
        return handles


def _shown(handle: Any) -> Any:
    """What a view shows of its base: layout and offset; None for a base itself."""
    return (handle.layout, handle.offset) if isinstance(handle, View) else None
