"""Cuts a snapshot into kernels.

A value is either realised (it gets memory) or inlined into the kernels that read it. Going backward
from the outputs, each value learns which kernels read it:

* an anchor (matmul, a reduction, …) is always a kernel of its own; where only one elementwise chain of
  its size reads it, the chain's end is stored instead: its epilogue;
* a map that one kernel reads is inlined there, if the kernel has room and reads its elements once;
* a map that several kernels read is inlined in each if it is cheap, else realised; so is the end of a chain
  of maps that alone read an anchor, which has to be stored anyway.

Then kernels of one level (none reads another) that store maps of one size are merged.
Without fusion (`TENSORGL_EAGER=1`) every value is realised.
"""

from __future__ import annotations

from collections.abc import Container

from tensorgl.backends.glsl.codegen import MAPS
from tensorgl.backends.glsl.ir import MOVING, ONCE, Kernel, Operand, Value
from tensorgl.backends.glsl.lowering import ANCHORS, READS, WANTED, Context
from tensorgl.backends.glsl.merge import merged
from tensorgl.backends.glsl.place import flat_cat
from tensorgl.backends.glsl.snapshot import Snapshot
from tensorgl.errors import UnsupportedError

__all__ = ["frontier", "schedule"]

ROOM = 64
"""Operations that one kernel may inline; writing them takes some Python frames each."""
CHEAP = 4
"""Operations of an expression that may be computed again in each kernel that reads it."""
LIGHT = 2
"""The same where an anchor reads each element many times, as a product does."""
PLACES = 4, 16
"""At how many places one kernel may compute an expression, and one that is cheap: x[1:] - x[:-1] computes
x at two, and in a chain of such each doubles the places of those before it."""

_DEAR = frozenset(["uniform", "normal", "bernoulli", "randint", "erfinv", "lgamma", "polygamma"])
_FREE = frozenset(["full", "copy", "cast", "part", "arange", "flip", "where", "pad", "matmul_view"])


def schedule(shot: Snapshot, context: Context) -> list[Kernel]:
    """The kernels that realise the outputs, in an order in which they can run."""
    cut = _Cut(shot, context)
    cut.decide()
    return cut.built() if context.eager else merged(cut.built(), context)


class _Cut:
    """The decisions about one snapshot, taken in reverse order of the values."""

    def __init__(self, shot: Snapshot, context: Context) -> None:
        self.shot = shot
        self.context = context
        self.eager = context.eager
        self.roots: dict[Value, Value | None] = {}  # realised value -> the anchor whose end it is
        self.ends: dict[Value, Value] = {}  # a result of several -> what is stored instead of it
        # The roots whose kernels contain a user of the value.
        self.readers: dict[Value, set[Value]] = {}
        # Inlined, and element i of the root needs its element i only.
        self.aligned: set[Value] = set()
        self.room: dict[Value, int] = {}  # operations that a root's kernel may still inline
        self.reads: dict[Value, set[Value]] = {}  # what a root's kernel reads, as far as is decided
        self.costs: dict[Value, int] = {}
        self.inputs = {v: _inputs(v) for v in shot.values}
        # An anchor reads their elements many times, in its own order.
        self.strict: set[Value] = set()
        self.places: dict[Value, int] = {}  # inlined value -> at how many places it is computed

    def decide(self) -> None:
        """Realised or inlined, for each value."""
        for value in self.shot.values:
            self.costs[value] = self._cost(value)
        for value in reversed(self.shot.values):
            if value.leaf is not None:
                continue
            if value.op in ANCHORS:
                self._place_anchor(value)
            elif value.op == "part":
                self._place_part(value)
            elif value.op in MAPS:
                self._place_map(value)
            else:
                raise UnsupportedError(
                    f"{value.op}: not supported for {value.dtype.name} on the gl backend; move the "
                    "operands with .cpu()"
                )

    def _cost(self, value: Value) -> int:
        """Operations to compute one element from memory and from anchors."""
        if value.leaf is not None or value.op in ANCHORS or value.op == "part":
            return 0
        own = 20 if value.op in _DEAR else 0 if value.op in _FREE else 1
        if value.op in READS:
            own = 2 * READS[value.op](value)
        return min(own + sum(self.costs[v] for v in self.inputs[value]), 1000)

    def _users(self, value: Value) -> tuple[set[Value], bool, bool]:
        """Roots that read a value; whether all need its element i for theirs; whether some read it often."""
        readers: set[Value] = set()
        aligned, often = True, False
        together = apart = 0
        for user in dict.fromkeys(value.users):
            anchor = ANCHORS.get(user.op)
            readers |= self.readers[user]
            if anchor is not None:
                aligned = False
                apart += 1
                places = [k for k, x in enumerate(user.operands) if isinstance(x, Operand)]
                mine = [k for k in places if user.operands[k].value is value]
                if any(k not in anchor.inline for k in mine):
                    often = True
                    self.strict.add(value)
                continue
            inside = user in self.roots or user in self.aligned
            if user in self.strict and user not in self.roots:
                self.strict.add(value)
            count = READS[user.op](user) if user.op in READS else 1
            for x in user.operands:
                if isinstance(x, Operand) and x.value is value:
                    if not x.whole or user.size != value.size or user.op in MOVING:
                        inside = False
                        reads = count * user.size
                        often = often or (user.op not in ONCE and reads > 2 * value.size)
                        apart += count * self.places.get(user, 1)
                    else:
                        together = max(together, self.places.get(user, 1))
            aligned = aligned and inside
        self.places[value] = together + apart
        return readers, aligned, often

    def _realise(self, value: Value, anchor: Value | None) -> None:
        self.roots[value] = anchor
        self.places[value] = 1
        self.readers[value] = {value}
        self.reads.setdefault(value, set()).update(self.inputs[value])

    def _place_part(self, value: Value) -> None:
        """One result of several: like an anchor, but what ends it may read nothing else from this flush.

        Else that could wait for another result of the same kernel.
        """
        main = value.operands[0].value
        readers, aligned, _ = self._users(value)
        if not value.visible and aligned and len(readers) == 1 and not self.eager:
            end = next(iter(readers))
            others = self.reads[end] - {value}
            if self.roots.get(end, value) is None and all(v.leaf is not None for v in others):
                self.roots[end] = main
                self.ends[value] = end
                self.readers[value] = readers
                return
        self._realise(value, main)
        self.ends[value] = value

    def _place_anchor(self, value: Value) -> None:
        parts = [u for u in value.users if u.op == "part"]
        if parts:
            end = self.ends[parts[0]]
            self.readers[value] = {end}
            self.reads[end] = self.inputs[value] | (self.reads[end] - set(parts) - {value})
            return
        readers, aligned, _ = self._users(value)
        if not value.visible and aligned and len(readers) == 1 and not self.eager:
            end = next(iter(readers))
            needs = self.inputs[value] | (self.reads[end] - {value})
            room = len(needs) <= self.context.limits.inputs - 2
            if self.roots.get(end, value) is None and room:
                self.roots[end] = value
                self.readers[value] = readers
                self.reads[end] = needs
                return
        self._realise(value, value)

    def _place_map(self, value: Value) -> None:
        readers, aligned, often = self._users(value)
        inline = not value.visible and not self.eager and not flat_cat(value)
        few, most = PLACES
        if len(readers) > 1 or often or self.places[value] > few:
            inline = inline and self.costs[value] <= CHEAP and self.places[value] <= most
        if len(readers) > 1:
            inline = inline and not self._ends_chain(value)
        if value in self.strict:
            inline = inline and self.costs[value] <= LIGHT and _straight(value)
        needs = self.inputs[value]
        limit = self.context.limits.inputs - 2
        for root in readers:
            full = len(self.reads[root] | needs) - 1 > limit and not flat_cat(root)
            if full or self.room.get(root, ROOM) < 1:
                inline = False
        if not inline:
            self._realise(value, None)
            return
        self.readers[value] = readers
        if aligned:
            self.aligned.add(value)
        for root in readers:
            self.room[root] = self.room.get(root, ROOM) - 1
            self.reads[root].discard(value)
            self.reads[root] |= needs

    def _ends_chain(self, value: Value) -> bool:
        """Whether a chain of maps leads from an anchor to a value, and nobody else sees what is between."""
        while True:
            found = [x for x in value.operands if isinstance(x, Operand) and x.value.leaf is None]
            if len(found) != 1 or value.op in MOVING or value.op in READS:
                return False
            below, users = found[0].value, found[0].value.users
            if (
                below.visible
                or below.size != value.size
                or not found[0].whole
                or set(users) != {value}
            ):
                return False
            if below.op in ANCHORS:
                return True
            value = below

    def built(self) -> list[Kernel]:
        """A kernel for each root, operands' kernels first; lowerings may add some before theirs."""
        kernels: list[Kernel] = []
        done: set[Value] = set()
        orders = self._wanted()
        for value in self.shot.values:
            if value not in self.roots or value in done:
                continue
            anchor = self.roots[value]
            if anchor is None or not value.size:
                kernel = Kernel([], [value], grid=value.texels)
                value.order = orders[value] if value in orders else self._order(value)
            else:
                kernel = ANCHORS[anchor.op].lower(anchor, self.context)
                if anchor.users and anchor.users[0].op == "part":
                    kernel.outputs = [self.ends.get(v) for v in kernel.results]
                else:
                    kernel.outputs = [value]
                value.order = kernel.order
                kernels += self.context.take_kernels()
            done.update(v for v in kernel.outputs if v is not None)
            kernels.append(kernel)
        return kernels

    def _wanted(self) -> dict[Value, tuple[int, ...] | None]:
        """The orders of maps that anchors want to read, and of maps that can be one kernel with those."""
        orders: dict[Value, tuple[int, ...] | None] = {}
        for value, anchor in self.roots.items():
            if anchor is not None or value.visible:
                continue
            wants = [
                WANTED.get(u.op, _row_major)(u, k)
                for u in value.users
                if u.op in ANCHORS
                for k, x in enumerate(u.operands)
                if isinstance(x, Operand) and x.value is value and k not in ANCHORS[u.op].inline
            ]
            if not wants:
                continue
            beside = [u for v in self.inputs[value] for u in v.users]
            for other in (value, *beside):
                if self.roots.get(other, other) is None and other.shape == value.shape:
                    orders.setdefault(other, wants[0])
        return orders

    def _order(self, value: Value) -> tuple[int, ...] | None:
        """The physical order of a map: that of the first operand of its shape that is not row-major.

        Without an operand of its shape it is that of one whose windows it sees, or the other way round.
        """
        operands = [x for x in frontier(value, self.roots.keys()) if x.whole]
        alike = [x for x in operands if x.shape == value.shape]
        if not alike:
            rank, lead = len(value.shape), value.shape[:2]
            alike = [x for x in operands if len(x.shape) == rank and x.shape[:2] == lead]
        return next((x.value.order for x in alike if x.value.order is not None), None)


def _straight(value: Value) -> bool:
    """Whether texel i of a value needs texel i of its operands, or one element, and no search for it."""
    if value.op in MOVING or value.op in READS or value.op == "matmul_view":
        return False
    operands = [x for x in value.operands if isinstance(x, Operand)]
    return all(x.whole or x.layout.size == 1 for x in operands)


def _row_major(value: Value, k: int) -> None:
    """What an anchor wants that does not say."""
    return


def _inputs(value: Value) -> set[Value]:
    return {x.value for x in value.operands if isinstance(x, Operand)}


def frontier(root: Value, realised: Container[Value]) -> list[Operand]:
    """The operands through which an expression reads memory, each once."""
    found: dict[Operand, None] = {}
    stack, seen = [root], {root}
    while stack:
        for x in stack.pop().operands:
            if not isinstance(x, Operand):
                continue
            if x.value in realised or x.value.leaf is not None:
                found[x] = None
            elif x.value not in seen:
                seen.add(x.value)
                stack.append(x.value)
    return list(found)
