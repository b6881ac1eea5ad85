"""Merges kernels of maps: fewer launches, and operands that are read once for several results."""

from __future__ import annotations

from tensorgl.backends.glsl.ir import MOVING, Kernel, Operand, Value
from tensorgl.backends.glsl.lowering import Context
from tensorgl.backends.glsl.place import flat_cat

__all__ = ["merged"]


SMALL = 4096
"""Texels up to which a launch costs more than its work."""


class _Group:
    """Kernels that run as one. Its level is above those of all that it reads."""

    __slots__ = ("kernel", "level", "reads")

    def __init__(self, kernel: Kernel, level: int, reads: set[Value]) -> None:
        self.kernel = kernel
        self.level = level
        self.reads = reads

    def take(self, other: _Group) -> None:
        """Add the outputs of another group of maps of its size."""
        self.kernel.outputs += other.kernel.outputs
        self.reads |= other.reads
        self.reads -= set(self.kernel.outputs)


def merged(kernels: list[Kernel], context: Context) -> list[Kernel]:
    """The kernels with maps of one size and level joined, ordered by level.

    A map joins the maps whose results it reads element by element if all else that it reads is of
    lower levels (so an optimizer's moments and parameters become one kernel); failing that, a map of its
    level and size with which it shares an operand, or any if they are small.
    """
    owner: dict[Value, _Group] = {}
    groups: list[_Group] = []
    for kernel in kernels:
        reads = _reads(kernel, owner)
        group = _Group(kernel, 0, set(reads))
        below = {id(owner[v]): owner[v] for v in reads if v in owner}.values()
        top = max((g.level for g in below), default=-1)
        group.level = top + 1
        direct = [g for g in below if g.level == top]
        target = None
        if kernel.template is None:
            straight = all(reads[v] for v in reads if v in owner and owner[v].level == top)
            if direct and straight and all(_fits(g, group, context) for g in direct):
                target = _joined(direct, group, groups, owner, context)
            if target is None:
                for g in groups:
                    if g.level != group.level or not _fits(g, group, context):
                        continue
                    if kernel.grid <= SMALL or not g.reads.isdisjoint(group.reads):
                        target = g
                        break
        if target is not None:
            target.take(group)
            group = target
        else:
            groups.append(group)
        for v in kernel.outputs:
            if v is not None:
                owner[v] = group
    groups.sort(key=lambda g: g.level)
    return [g.kernel for g in groups]


def _joined(
    direct: list[_Group],
    group: _Group,
    groups: list[_Group],
    owner: dict[Value, _Group],
    context: Context,
) -> _Group | None:
    """The groups of `direct` as one that has room for `group`, or None."""
    count = sum(len(g.kernel.outputs) for g in direct) + 1
    reads = set[Value]().union(group.reads, *(g.reads for g in direct))
    if count > context.limits.draw_buffers or len(reads) + count > context.limits.inputs:
        return None
    first = direct[0]
    for other in direct[1:]:
        first.take(other)
        groups.remove(other)
        for v in other.kernel.outputs:
            owner[v] = first
    return first


def _fits(a: _Group, b: _Group, context: Context) -> bool:
    """Whether two groups of maps can be one kernel."""
    x, y = a.kernel, b.kernel
    if x.template is not None or y.template is not None or x.grid != y.grid:
        return False
    first, second = x.outputs[0], y.outputs[0]
    if flat_cat(first) or flat_cat(second):
        return False  # `place` may do without a kernel for it
    if first.size != second.size or first.order != second.order:
        return False
    if first.order is not None and first.shape != second.shape:
        return False
    outputs = len(x.outputs) + len(y.outputs)
    limits = context.limits
    return outputs <= limits.draw_buffers and len(a.reads | b.reads) + outputs <= limits.inputs


def _reads(kernel: Kernel, owner: dict[Value, _Group]) -> dict[Value, bool]:
    """What a kernel reads from memory, and whether only element by element."""
    found: dict[Value, bool] = {}
    stack: list[tuple[Value, bool]] = [
        (v, kernel.template is None) for v in kernel.outputs if v is not None
    ]
    starts = {v for v, _ in stack}
    for x in kernel.inputs.values():
        if x.value in owner or x.value.leaf is not None:
            found[x.value] = False
        else:
            stack.append((x.value, False))
    seen: set[tuple[Value, bool]] = set()
    results = set(kernel.results)
    while stack:
        value, aligned = stack.pop()
        if (value, aligned) in seen or value in results:
            continue
        seen.add((value, aligned))
        for x in value.operands:
            if not isinstance(x, Operand):
                continue
            same = aligned and x.whole and value.size == x.value.size and value.op not in MOVING
            if x.value in owner or x.value.leaf is not None:
                found[x.value] = found.get(x.value, True) and same
            elif x.value not in starts:
                stack.append((x.value, same))
    return found
