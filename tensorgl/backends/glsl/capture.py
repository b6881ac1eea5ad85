"""Capture: what a function asked for, as one plan that runs again without recording.

A recording is a flush that remembers which nodes were its inputs, its state and its results. State are
nodes that live on: those that were written to, and those that Python still sees besides the results
(gradients); a replay gives them new buffers. Results are made anew each time.

Numbers that change from step to step arrive during the recording as `LiveFloat` or `LiveInt`, which say
where they came from; their places in the plan are then filled at each replay. They refuse arithmetic,
so that none can go into a number that would stay as it was.
"""

from __future__ import annotations

from array import array
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NoReturn

from tensorgl.avals import NUMBER
from tensorgl.backends.glsl.graph import Node, Trace, View
from tensorgl.backends.glsl.memory import Buffer
from tensorgl.backends.glsl.plan import as_floats
from tensorgl.errors import CaptureError

if TYPE_CHECKING:
    from tensorgl.backends.glsl import GlslBackend

__all__ = ["LiveFloat", "LiveInt", "Recording", "live"]


KEPT_TEXELS = 256
"""Results as small as this, losses, stay in memory between replays even if nobody keeps them."""


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
        if graph.pending:
            graph.flush()
        return [self._leaf(h, a) for h, a in zip(fresh, avals, strict=True)]

    def _leaf(self, handle: Any, aval: Any) -> Node:
        graph = self.backend.graph
        base, offset = (handle.base, handle.offset) if isinstance(handle, View) else (handle, 0)
        if base.buffer is None:
            graph.flush()  # waits for another thread, which has taken what was pending
        buffer = base.buffer
        assert buffer is not None, base.call
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
                backend.place(plan, trace, leaves, backend.run(plan, leaves, trace.numbers))
            return captured
        finally:
            backend.graph.lock.release()


class Captured:
    """A plan, what it reads and what it fills.

    Replays take turns with two sets of memory for the state that they write: each reads what the other
    wrote. As long as nobody else keeps or changes that state, nothing has to be looked up anew.

    Attributes:
        leaves: nodes that the plan reads, at places `slots`; arguments: (slot, place among the
            arguments) of what else it reads.
        state: nodes that get other memory, and where the plan says that it is; `late` are those that
            share it with what the plan reads or with a result, and so have to look at each replay.
        results: of each handle that the function returned: its output, or the node that it is; what a
            view shows of it.
        fresh, lasting: places of the blocks of results and of state.
    """

    def __init__(
        self,
        backend: GlslBackend,
        plan: Any,
        trace: Trace,
        arguments: list[Node],
        returned: list[Any],
    ) -> None:
        self.backend = backend
        self.plan = plan
        given = {node: k for k, node in enumerate(arguments)}
        every: list[tuple[int, Node, Any]] = [
            (k, node, node.buffer) for k, node in enumerate(trace.leaves)
        ]
        self.count = len(every)
        self.slots = [k for k, node, _ in every if node not in given]
        self.leaves = [node for _, node, _ in every if node not in given]
        self.arguments = [(k, given[node]) for k, node, _ in every if node in given]
        self.layouts = [(b.traits, b.start == 0) for _, _, b in every]
        plan.fill(trace.numbers)
        self.numbers = plan.numbers[:]
        slots = {k: x.slot for k, x in enumerate(trace.numbers) if type(x) in (LiveFloat, LiveInt)}
        self.floats = [(at, slots[k]) for at, k in plan.floats if k in slots]
        self.ints = [(at, slots[k]) for at, k in plan.ints if k in slots]
        starts = dict(trace.starts)
        shifts = [(at, starts[k], trace.numbers[k]) for at, k in plan.ints if k in starts]
        self.starts = [(at, k, number - 4 * every[k][2].start) for at, k, number in shifts]
        bases = [(x.base if isinstance(x, View) else x) for x in returned]
        seen = [n for n, v in zip(trace.nodes, trace.visible, strict=True) if v]
        output = dict(zip(seen, plan.outputs, strict=True))
        # Of a result that is made anew only its aval is kept, not the first one's memory.
        self.results: list[tuple[Any, Any, Any]] = [
            (output.get(base), base.call.out if base in output else base, _shown(x))
            for base, x in zip(bases, returned, strict=True)
        ]
        mine = set(bases)
        written = [node for node in trace.written if node.buffer is not None]
        state = [
            *zip(written, plan.written, strict=True),
            *((node, x) for node, x in output.items() if node not in mine),
        ]
        results = [x for x, _, _ in self.results if x is not None]
        self.fresh = sorted({x.place for x in results if not x.leaf})
        self.state = [(n, x) for n, x in state if not x.leaf and x.place not in self.fresh]
        self.late = [(n, x) for n, x in state if x.leaf or x.place in self.fresh]
        self.aliased = any(x.leaf for x in (*results, *(x for _, x in self.late)))
        self.lasting = sorted({x.place for _, x in self.state})
        self.temporary: list[Any] = []
        self.turns: list[_Turn | None] = [None, None]
        self.next = 0
        backend.pool.holders.add(self)

    def reads(self, handle: Any) -> bool:
        """Whether the plan depends on what was in this memory before it."""
        return (handle.base if isinstance(handle, View) else handle) in self.leaves

    def fits(self, arguments: list[Any]) -> bool:
        """Whether state and arguments are laid out as they were when the plan was made."""
        turn, state = self.turns[self.next], [n.buffer for n in self.leaves]
        buffers = [(k, arguments[place].buffer) for k, place in self.arguments]
        if turn is None or turn.reads != state:
            buffers += zip(self.slots, state, strict=True)
        for k, buffer in buffers:
            traits, at_start = self.layouts[k]
            if buffer.traits is not traits or (buffer.start == 0) is not at_start:
                return False
        return True

    def replay(self, arguments: list[Any], values: list[Any]) -> list[Any]:
        """Run the plan again on these arguments' nodes and the effects' numbers; new result handles."""
        with self.backend.graph.lock:
            return self._replay(arguments, values)

    def _replay(self, arguments: list[Any], values: list[Any]) -> list[Any]:
        backend = self.backend
        state = [n.buffer for n in self.leaves]
        turn, other = self.turns[self.next], self.turns[1 - self.next]
        if turn is None or not turn.is_free(other):
            turn = self.turns[self.next] = self._turn()
        if turn.reads != state:
            self._read(turn, state)
        self.next = 1 - self.next
        numbers, floats, slots = turn.numbers, turn.floats, turn.slots
        for at, slot in self.floats:
            floats[at] = values[slot]
        for at, slot in self.ints:
            numbers[at] = values[slot]
        if self.arguments:
            starts = {k: arguments[place].buffer.start for k, place in self.arguments}
            for at, k, shift in self.starts:
                if k in starts:
                    numbers[at] = shift + 4 * starts[k]
            for k, place in self.arguments:
                slots[k] = arguments[place].buffer.block.memory
        blocks: dict[int, Any] = {}
        for k, place in enumerate(self.fresh):
            block = turn.results[k]
            if block is None or getrefcount(block) != _UNUSED:
                block = backend.pool.take(*self.plan.blocks[place])
                slots[self.count + place] = block.memory
                turn.results[k] = block if block.texels <= KEPT_TEXELS else None
            blocks[place] = block
        backend.start(self.plan, slots, numbers)
        for node, buffer in turn.writes:
            node.buffer = buffer
        leaves: dict[int, Any] = {}
        if self.aliased:
            leaves.update(zip(self.slots, state, strict=True))
        for k, place in self.arguments:
            leaves[k] = arguments[place].buffer
        for node, x in self.late:
            node.buffer = x.buffer(leaves, blocks)
        return self._handles(leaves, blocks)

    def _turn(self) -> _Turn:
        """A new set of memory."""
        take, keys = self.backend.pool.take, self.plan.blocks
        if not self.temporary:
            ours = {*self.lasting, *self.fresh}
            self.temporary = [None if k in ours else take(*key) for k, key in enumerate(keys)]
        turn = _Turn(self.numbers, self.temporary)
        blocks = self.temporary.copy()
        for k in self.lasting:
            blocks[k] = take(*keys[k])
        turn.results = [None] * len(self.fresh)
        turn.slots = array("i", [0] * self.count)
        turn.slots.extend([0 if b is None else b.memory for b in blocks])
        turn.writes = [(node, x.buffer((), blocks)) for node, x in self.state]
        turn.blocks = [blocks[k] for k in self.lasting]
        return turn

    def _read(self, turn: _Turn, state: list[Any]) -> None:
        """Let a turn read this state."""
        turn.reads = state
        leaves = dict(zip(self.slots, state, strict=True))
        for k, buffer in leaves.items():
            turn.slots[k] = buffer.block.memory
        for at, k, shift in self.starts:
            if k in leaves:
                turn.numbers[at] = shift + 4 * leaves[k].start

    def _handles(self, leaves: dict[int, Any], blocks: dict[int, Any]) -> list[Any]:
        """The results of a replay."""
        made: dict[Any, Node] = {}
        handles: list[Any] = []
        for output, node, shown in self.results:
            if output is not None:
                if output not in made:
                    buffer = output.buffer(leaves, blocks)
                    made[output] = self.backend.graph.leaf(node, buffer)
                node = made[output]
            handles.append(node if shown is None else View(node, *shown))
        return handles

    def release(self) -> None:
        """Give back what is kept between replays; the next one takes it anew."""
        self.temporary = []
        self.turns = [None, None]


class _Turn:
    """Memory for one of two replays that take turns.

    Attributes:
        reads: the buffers that the plan's leaves must have.
        writes: nodes that get other buffers, and these.
        blocks: those of `writes`.
        temporary: those of values within the step, which both turns share. Held here too, as a request
            for memory may have `release` give everything else back.
        results: blocks of small results, which are used again if nobody has kept them.
        slots, numbers: what the device gets; `floats` are the numbers seen as such.
    """

    def __init__(self, numbers: array[int], temporary: list[Any]) -> None:
        self.temporary = temporary
        self.reads: list[Any] = []
        self.numbers = numbers[:]
        self.floats = as_floats(self.numbers)
        self.slots = array("i")
        self.writes: list[tuple[Any, Any]] = []
        self.blocks: list[Any] = []
        self.results: list[Any] = []
        self._others: list[Any] | None = None
        self._expected: list[int] = []

    def is_free(self, other: _Turn | None) -> bool:
        """Whether nobody but the two turns refers to what this one wrote the last time."""
        if other is None:
            return False
        if self._others is not other.reads:
            self._others = other.reads
            alone = _counts([(None, object())], [])[0]
            self._expected = [
                *(alone + sum(x is b for x in other.reads) for _, b in self.writes),
                *(_counts([], [object()])[0] + self._users(block) for block in self.blocks),
            ]
        return _counts(self.writes, self.blocks) == self._expected

    def _users(self, block: Any) -> int:
        """How many of this turn's buffers lie in a block."""
        return len({id(b) for _, b in self.writes if b.block is block})


def _counts(writes: list[tuple[Any, Any]], blocks: list[Any]) -> list[int]:
    """How often each buffer and each block is referred to, this look included."""
    counts = [getrefcount(b) for _, b in writes]
    counts += [getrefcount(x) for x in blocks]
    return counts


def _unused() -> int:
    """The count of references to what is in one list and in a variable that looks at it."""
    blocks = [object()]
    block = blocks[0]
    return getrefcount(block)


_UNUSED = _unused()


def _shown(handle: Any) -> Any:
    """What a view shows of its base: layout and offset; None for a base itself."""
    return (handle.layout, handle.offset) if isinstance(handle, View) else None
