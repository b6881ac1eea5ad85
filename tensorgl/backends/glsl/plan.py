"""A plan: a flush as plain data. Launches, the memory they need, and where numbers go.

Made once for each key; a run takes blocks from the pool, fills in the numbers, and hands the device one list
of launches. Temporary values whose lives do not overlap share a block.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

from tensorgl.backends.glsl.codegen import HEADER, Program, build
from tensorgl.backends.glsl.device import COPY, KERNEL, LOCAL
from tensorgl.backends.glsl.ir import Kernel, Number, Value, kind_of
from tensorgl.backends.glsl.lowering import Context
from tensorgl.backends.glsl.memory import Block, Buffer, Pool, bucket
from tensorgl.backends.glsl.place import place
from tensorgl.backends.glsl.schedule import schedule
from tensorgl.backends.glsl.snapshot import Snapshot

__all__ = ["Launch", "Output", "Plan", "as_floats", "make_plan"]


class Launch(NamedTuple):
    """What a person wants to know of one launch."""

    name: str
    ops: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    bytes: int  # read and written


class Output(NamedTuple):
    """Where a value lies after a run: leaf or block number, first texel, physical order."""

    leaf: bool
    place: int
    start: int
    order: tuple[int, ...] | None

    def buffer(self, leaves: Any, blocks: Any) -> Buffer:
        """It after a run."""
        return (
            leaves[self.place] if self.leaf else Buffer(blocks[self.place], self.start, self.order)
        )


MAX_GROUPS = 65535
"""In a direction; every driver allows so many."""


class Plan:
    """Launches over slots: the leaves' memories first, then those of the blocks.

    Attributes:
        launches: the list for `Device.run`.
        blocks: (kind, texels, width) of each block that a run takes.
        numbers: every kernel's numbers, those that change still zero.
        floats, ints: (place in `numbers`, place among a flush's numbers) of those that change.
        outputs, written: where the visible and the written values are.
        about: a description of each launch but copies, in order.
    """

    def __init__(self) -> None:
        self.launches = array("i")
        self.blocks: list[tuple[str, int, int]] = []
        self.numbers = array("i")
        self.floats: list[tuple[int, int]] = []
        self.ints: list[tuple[int, int]] = []
        self.outputs: list[Output] = []
        self.written: list[Output] = []
        self.about: list[Launch] = []
        self._float_view: Any = None

    def __str__(self) -> str:
        lines = [f"plan of {len(self.about)} launches, {len(self.blocks)} blocks"]
        lines += [
            f"  {k:3} {x.name:28} {x.dtype} {list(x.shape)}  {', '.join(x.ops)}"
            for k, x in enumerate(self.about)
        ]
        return "\n".join(lines)

    def fill(self, numbers: Sequence[Any]) -> None:
        """Put a flush's numbers into their places."""
        floats = self._float_view
        if floats is None:
            floats = self._float_view = as_floats(self.numbers)
        for at, number in self.floats:
            floats[at] = numbers[number]
        for at, number in self.ints:
            self.numbers[at] = numbers[number]

    def bind(self, leaves: Sequence[Buffer], pool: Pool) -> tuple[list[Block], array[int]]:
        """Take blocks; these, of which the caller keeps those of the outputs, and the slots' memories."""
        take = pool.take
        blocks = [take(kind, texels, width) for kind, texels, width in self.blocks]
        slots = array("i", [b.block.memory for b in leaves])
        slots.extend([b.memory for b in blocks])
        return blocks, slots


def as_floats(numbers: array[int]) -> Any:
    """The same memory as floats; while this is alive the array cannot grow."""
    return memoryview(numbers).cast("B").cast("f")


def make_plan(shot: Snapshot, context: Context, compile: Callable[[Kernel, Program], int]) -> Plan:
    """Schedule a snapshot, write and compile its kernels, and lay out memory."""
    return _Maker(shot, context, compile).plan


class _Maker:
    def __init__(self, shot: Snapshot, context: Context, compile: Callable[..., int]) -> None:
        self.plan = Plan()
        self.limits = context.limits
        self.slots: dict[Value, int] = {v: k for k, v in enumerate(shot.leaves)}
        self.leaves = len(shot.leaves)
        self.constants: list[tuple[int, int]] = []
        kernels = place(schedule(shot, context), self.limits)
        stored = {v for k in kernels for v in k.outputs if v is not None}
        realised = stored | {_home(v) for v in stored} | set(shot.leaves)
        for v in realised:
            if v.leaf is None:
                v.width = bucket(_home(v).texels, self.limits.rows)[1]
        kept = {_home(v) for v in (*(v for _, v in shot.outputs), *shot.written)}
        programs = [build(k, realised, self.limits) if k.grid else None for k in kernels]
        last = {_home(v): n for n, p in enumerate(programs) if p is not None for v in p.inputs}
        for n, kernel in enumerate(kernels):
            for v in kernel.outputs:
                if v is not None and last.get(_home(v), n) <= n:
                    last[_home(v)] = n
        self.free: dict[tuple[str, int, int], list[int]] = {}
        self.read: set[int] = set()
        self.wrote: dict[int, Value] = {}
        for n, (kernel, program) in enumerate(zip(kernels, programs, strict=True)):
            planes = self.outputs(kernel)
            if program is not None:
                self.launch(kernel, program, compile(kernel, program), planes)
            for slot, key in planes:
                self.free.setdefault(key, []).append(slot)
            if program is not None:
                touched = {_home(v) for v in (*program.inputs, *kernel.outputs) if v is not None}
                for v in sorted(touched, key=lambda v: self.slots[v]):
                    if v.leaf is None and v not in kept and last[v] == n:
                        self.free.setdefault(self.key(v), []).append(self.slots[v])
        for at, constant in self.constants:
            self.plan.numbers[at] = constant
        self.plan.outputs = [self.output(v) for _, v in shot.outputs]
        self.plan.written = [self.output(v) for v in shot.written]

    def key(self, v: Value) -> tuple[str, int, int]:
        size, width = bucket(v.texels, self.limits.rows)
        return kind_of(v.dtype), size, width

    def take(self, key: tuple[str, int, int]) -> int:
        """A slot for a block of this key: one whose value is dead, or a new one."""
        waiting = self.free.get(key)
        if waiting:
            return waiting.pop()
        self.plan.blocks.append(key)
        return self.leaves + len(self.plan.blocks) - 1

    def outputs(self, kernel: Kernel) -> list[tuple[int, tuple[str, int, int]]]:
        """Give the outputs slots; slots and keys of the planes of a wide kernel's one output."""
        for v in kernel.outputs:
            if v is not None:
                whole = _home(v)
                if whole not in self.slots:
                    self.slots[whole] = self.take(self.key(whole))
                self.slots[v] = self.slots[whole]
        if kernel.wide == 1 or self.limits.target == "compute":
            return []
        kind, _, width = self.key(kernel.outputs[0])
        key = kind, -(-kernel.grid // width) * width, width
        return [(self.take(key), key) for _ in range(kernel.wide)]

    def launch(self, kernel: Kernel, program: Program, number: int, planes: list[Any]) -> None:
        """Append a kernel, and the copies of its planes."""
        plan = self.plan
        stored = [v for v in kernel.outputs if v is not None]
        outputs = [slot for slot, _ in planes] or [self.slots[v] for v in stored]
        inputs = [self.slots[v] for v in program.inputs]
        offset = self.numbers(kernel, program, max(stored[0].width, 1))
        owners = [_home(v) for v in stored] if not planes else [stored[0]] * len(outputs)
        barrier = self.hazard(inputs, dict(zip(outputs, owners, strict=True)))
        start = _start(stored[0])
        plan.launches.extend(
            [KERNEL, number, offset, kernel.grid, start, *_groups(kernel), barrier, len(outputs)]
        )
        plan.launches.extend([len(inputs), *outputs, *inputs])
        target = stored[0]
        for r, slot in enumerate(outputs if planes else ()):
            start = r * kernel.grid
            texels = min(kernel.grid, target.texels - start)
            if texels > 0:
                plan.launches.extend([COPY, slot, 0, self.slots[target], start, texels])
        plan.about.append(_about(kernel, program, self.slots))

    def hazard(self, inputs: list[int], outputs: dict[int, Value]) -> int:
        """1 if a launch must wait for those since the last barrier; and note what it touches.

        Kernels that write pieces of one value do not touch the same texels.
        """
        barrier = not (self.read.isdisjoint(outputs) and self.wrote.keys().isdisjoint(inputs))
        for slot, owner in outputs.items():
            barrier = barrier or self.wrote.get(slot, owner) is not owner
        if barrier:
            self.read.clear()
            self.wrote.clear()
        self.read.update(inputs)
        self.wrote.update(outputs)
        return int(barrier)

    def numbers(self, kernel: Kernel, program: Program, width: int) -> int:
        """Append a kernel's numbers; where they begin, in bytes."""
        plan = self.plan
        align = self.limits.number_alignment // 4
        plan.numbers.extend([0] * (-len(plan.numbers) % align))
        offset = len(plan.numbers)
        stored = next(v for v in kernel.outputs if v is not None)
        plan.numbers.extend([kernel.grid, _start(stored), width.bit_length() - 1, 0])
        for k, number in enumerate(program.numbers):
            place = offset + HEADER + k
            if isinstance(number, tuple):
                self.constants.append((place, number[0]))
            elif isinstance(number, Number):
                (plan.floats if number.float else plan.ints).append((place, number.slot))
            else:
                plan.ints.append((place, number))
        count = len(program.numbers)
        plan.numbers.extend([0] * (count + -count % 4))
        return 4 * offset

    def output(self, v: Value) -> Output:
        if v.leaf is not None:
            return Output(True, v.leaf, 0, None)
        return Output(False, self.slots[v] - self.leaves, _start(v), v.order)


def _home(v: Value) -> Value:
    """The value in whose memory a value lies."""
    return v if v.home is None else v.home[0]


def _start(v: Value) -> int:
    return 0 if v.home is None else v.home[1]


def _about(kernel: Kernel, program: Program, memory: Container[Value]) -> Launch:
    stored = [v for v in kernel.outputs if v is not None]
    ops: dict[str, None] = {}
    stack: list[Value] = [*stored, *(x.value for x in kernel.inputs.values())]
    seen = set[Value]()
    while stack:
        v = stack.pop()
        if v in seen or (v in memory and v not in stored):
            continue
        seen.add(v)
        if v.op != "part":
            ops[v.op] = None
        stack += [x.value for x in v.operands if not isinstance(x, Number)]
    moved = sum(v.size * min(v.dtype.itemsize, 4) for v in (*program.inputs, *stored))
    names = tuple(reversed(ops))
    name = kernel.template or "_".join(names[:3]) or "map"
    return Launch(name, names, stored[0].shape, stored[0].dtype.name, moved)


def _groups(kernel: Kernel) -> tuple[int, int, int]:
    """Counts of work groups, where they are not the usual ones."""
    local = int(kernel.defines.get("LOCAL", LOCAL))
    if local == LOCAL:
        return kernel.groups
    count = -(-kernel.grid // local)
    rows = -(-count // MAX_GROUPS)
    return -(-count // rows), rows, 1
