"""From a trace of pending nodes to values: the graph that the scheduler cuts into kernels."""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.backends.glsl.graph import WRITE, Node, Trace, View
from tensorgl.backends.glsl.ir import Number, Operand, Value
from tensorgl.backends.glsl.layout import layout
from tensorgl.backends.glsl.lowering import Context

__all__ = ["Snapshot", "snapshot"]

_TESTS = frozenset(["eq", "ne", "lt", "le"])


class Snapshot:
    """The values of one flush.

    Attributes:
        values: all of them, operands before users.
        leaves: the realised ones, by number.
        outputs: for each pending node that Python sees, its place and its value.
        written: the value of each realised node that is written to, in the trace's order.
    """

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.leaves: list[Value] = []
        self.outputs: list[tuple[int, Value]] = []
        self.written: list[Value] = []


def snapshot(trace: Trace, context: Context) -> Snapshot:
    """Build the values; what nobody needs is left out."""
    shot = Snapshot()
    by_node: dict[Node, Value] = {}
    numbers = 0
    for node in trace.leaves:
        shot.leaves.append(_leaf(node, len(shot.leaves)))
        by_node[node] = shot.leaves[-1]
    for node in trace.nodes:
        call = node.call
        if call.name == "part":
            by_node[node] = context.parts(by_node[node.srcs[0]])[call.params]
            continue
        operands: list[Any] = []
        for k, s in enumerate(node.srcs):
            if isinstance(s, Node | View):
                operand, took = _operand(s, by_node, numbers, trace.leaves)
                numbers += took
                operands.append(operand)
            else:
                operands.append(Number(numbers, _takes_float(call, k)))
                numbers += 1
        if call is WRITE:
            by_node[node.srcs[0]] = by_node[node.srcs[1]]
            continue
        out = call.out
        if isinstance(out, Aval):
            value = context.step(call.name, operands, call.params, tuple(out.shape), out.dtype)
        else:
            parts = [(tuple(a.shape), a.dtype) for a in out]
            value = context.step(call.name, operands, call.params, (), out[0].dtype, parts)
        by_node[node] = value
    for place, node in enumerate(trace.nodes):
        if trace.visible[place]:
            shot.outputs.append((place, by_node[node]))
    shot.written = [by_node[node] for node in trace.written if node.buffer is not None]
    for value in (*(v for _, v in shot.outputs), *shot.written):
        value.visible = True
    shot.values = _needed(shot)
    return shot


def _leaf(node: Node, number: int) -> Value:
    assert node.buffer is not None
    out = node.call.out
    value = Value("leaf", [], (), tuple(out.shape), out.dtype, number)
    _, value.width, value.order = node.buffer.traits
    return value


def _operand(
    s: Node | View, by_node: dict[Node, Value], numbers: int, leaves: list[Node]
) -> tuple[Operand, int]:
    """What a source shows, and how many numbers its start took: as in `Graph.walk`."""
    if isinstance(s, Node):
        base, at, offset = s, layout(tuple(s.call.out.shape)), 0
    else:
        base, at, offset = s.base, s.layout, s.offset
    value = by_node[base]
    if value.leaf is not None:
        buffer = leaves[value.leaf].buffer
        assert buffer is not None
        offset += 4 * buffer.start
    if not offset:
        return Operand(value, at), 0
    return Operand(value, at, numbers, offset % 4 == 0), 1


def _takes_float(call: Any, k: int) -> bool:
    """Whether a number at place k is used as a float: as the tensors beside it, or as the result."""
    avals: tuple[Aval, ...] = call.avals
    if call.name in _TESTS:
        beside = next((a.dtype for a in avals if not a.dtype.weak), call.out.dtype)
        return beside.category == dtypes.FLOAT
    if call.name in _INTEGER_NUMBERS:
        return False
    out = call.out.dtype if isinstance(call.out, Aval) else call.out[0].dtype
    return out.category == dtypes.FLOAT


_INTEGER_NUMBERS = frozenset(
    ["uniform", "normal", "bernoulli", "randint", "narrow", "narrow_backward", "update"]
)
"""Calls whose numbers are integers, whatever their result is."""


def _needed(shot: Snapshot) -> list[Value]:
    """Every value that an output needs, operands first, with its users."""
    order: dict[Value, None] = {}
    inputs: dict[Value, list[Value]] = {}  # of those that were met
    stack = [*(v for _, v in shot.outputs), *shot.written]
    stack.reverse()
    while stack:
        value = stack[-1]
        known = inputs.get(value)
        if known is None:
            known = [x.value for x in value.operands if isinstance(x, Operand)]
            inputs[value] = known
            stack += [x for x in known if x not in order]
            continue
        stack.pop()
        if value not in order:
            order[value] = None
            for x in known:
                x.users.append(value)
    return list(order)
