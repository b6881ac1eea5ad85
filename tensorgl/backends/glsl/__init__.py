"""The GLSL backend: a lazy graph, cut into kernels for any device that draws triangles.

It imports no GL library; a `Device` runs its launches. Values come into being at a flush:

    graph.py      nodes that wait, and the walk that turns them into a key
    snapshot.py   the same as values and operands (once for each key)
    schedule.py   which values are realised, and by which kernels; merge.py joins kernels
    codegen.py    a kernel as GLSL; access.py for where it reads; shader.py for text from files
    plan.py       launches, memory and numbers as plain data; memory.py for the pool
    capture.py    a plan that runs again without recording
    rescue.py     devices whose context can be lost
    tuning.py     which variant of a kernel is best on a device; findings.py: the files that say so
    lowering/     how each primitive becomes kernels: a module a family
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.avals import aval as aval_of
from tensorgl.backends.base import Backend, Handle, unsupported
from tensorgl.backends.glsl import lowering
from tensorgl.backends.glsl.capture import LiveFloat, LiveInt, Recording
from tensorgl.backends.glsl.codegen import HEADER, MAPS, Program
from tensorgl.backends.glsl.device import Device
from tensorgl.backends.glsl.graph import Graph, Node, Trace, View, call_of
from tensorgl.backends.glsl.ir import Kernel, kind_of
from tensorgl.backends.glsl.layout import dense_strides, inverse, layout, transformed
from tensorgl.backends.glsl.lowering import ANCHORS, NUMBERS, REWRITES, TABLES, Context
from tensorgl.backends.glsl.memory import Block, Buffer, Pool
from tensorgl.backends.glsl.plan import Plan, make_plan
from tensorgl.backends.glsl.rescue import used_memories
from tensorgl.backends.glsl.snapshot import snapshot
from tensorgl.backends.glsl.tuning import Tuning
from tensorgl.errors import CaptureError, UnsupportedError
from tensorgl.primitives import TABLE, Primitive, copy

__all__ = ["GlslBackend"]

PLANS = 1024
"""Plans that are kept; the one that was not used for longest goes first."""

_STORED = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "u8": np.uint8}


class GlslBackend(Backend):
    """Records calls, and runs them on a device when their values are wanted."""

    name = "gl"

    def __init__(self, device: Device) -> None:
        lowering.load()
        self.device = device
        self.tuning = Tuning.of(device.limits)
        self.pool = Pool(device)
        self.graph = Graph(self._run)
        self._plans: dict[Any, Plan] = {}
        self._tables: dict[str, Node] = {}
        self._programs: dict[str, int] = {}
        self.eager = os.environ.get("TENSORGL_EAGER", "") not in ("", "0")
        self._debug = int(os.environ.get("TENSORGL_DEBUG") or 0)
        self._launches = self._uploads = self._downloads = self._flushes = self._planned = 0

    def bind(
        self, primitive: Primitive, avals: tuple[Aval, ...], params: tuple[Any, ...], out: Any
    ) -> Callable[..., Any]:
        for a in (*avals, *((out,) if isinstance(out, Aval) else out)):
            _check(a)
        if primitive.view:
            return self._view(primitive, avals[0], params)
        name = primitive.name
        if name not in MAPS and name not in ANCHORS and name not in REWRITES:
            raise unsupported(self.name, primitive, avals)
        call = call_of(name, primitive, avals, params, out)
        record = self.graph.recorder(call)
        if not isinstance(out, Aval):
            parts = [
                self.graph.recorder(call_of("part", None, (), k, a)) for k, a in enumerate(out)
            ]

            def run_parts(*handles: Any) -> Any:
                self.graph.make_room(1 + len(parts))  # a flush between them would lose the first
                main = record(*handles)
                return tuple([part(main) for part in parts])

            return run_parts
        if name == "pow" and avals[1].dtype.weak:
            return self._power(record, avals[0], out)
        if name in NUMBERS:
            numbers = NUMBERS[name]
            return lambda *given: record(*numbers(params, *given))
        if name in TABLES:
            table = self._table(name)
            return lambda *handles: record(*handles, table)
        return record

    def _power(self, record: Callable[..., Node], a: Aval, out: Aval) -> Callable[..., Node]:
        """Powers by the usual numbers as products and roots: a fraction of what `pow` costs, and exact."""

        def step(name: str) -> Callable[..., Node]:
            primitive = TABLE[name]
            avals = (a,) * len(primitive.inputs)
            return self.graph.recorder(call_of(name, primitive, avals, (), out))

        mul, same, root = step("mul"), step("copy"), step("sqrt")
        inverse_root, inverse = step("rsqrt"), step("reciprocal")
        usual: dict[float, Callable[[Any], Node]] = {
            1: same,
            2: lambda x: mul(x, x),
            3: lambda x: mul(mul(x, x), x),
        }
        if a.dtype.is_floating_point:
            usual |= {0.5: root, -0.5: inverse_root, -1: inverse}
            usual[-2] = lambda x: inverse(mul(x, x))

        def run(x: Any, exponent: Any) -> Node:
            known = None if isinstance(exponent, LiveFloat | LiveInt) else usual.get(exponent)
            return record(x, exponent) if known is None else known(x)

        return run

    def _table(self, name: str) -> Node:
        """The constants of an op, uploaded when they are first needed."""
        table = self._tables.get(name)
        if table is None:
            values = TABLES[name]()
            table = self.upload(values, aval_of(values.shape, dtypes.int32, None))
            self._tables[name] = table
        return table

    def _view(self, primitive: Primitive, aval: Aval, params: tuple[Any, ...]) -> Any:
        name = primitive.name
        dense = layout(tuple(aval.shape))
        first = transformed(dense, name, params)
        dim = params[0] if name == "narrow" else 0

        def run(x: Any, *numbers: int) -> View:
            if type(x) is Node:
                at, (new, shift), base = dense, first, x
            else:
                at, base = x.layout, x.base
                new, shift = transformed(at, name, params)
                shift += x.offset
            if numbers:
                shift += numbers[0] * at.strides[dim]
            return View(base, new, shift)

        return run

    def upload(self, array: Any, aval: Aval) -> Handle:
        _check(aval)
        if self.graph.recording:
            raise CaptureError(
                "a tensor is made of values from the CPU inside a compiled step, and would stay as it is; "
                "make it outside, or give it to the function as an argument on device 'gl'"
            )
        kind = kind_of(aval.dtype)
        stored = _STORED[kind]
        if aval.dtype.name == "int64" and array.size:
            low, high = int(array.min()), int(array.max())
            if low < -(2**31) or high >= 2**31:
                raise RuntimeError(
                    f"value {low if low < -(2**31) else high} cannot be converted to type int32 without "
                    "overflow: device 'gl' holds int64 in 32 bits; keep this tensor on 'cpu'"
                )
        flat = np.zeros(-(-aval.size // 4) * 4, stored)
        flat[: aval.size] = array.reshape(-1)
        with self.graph.lock:
            self.device.rest(used_memories)
            block = self.pool.take(kind, max(flat.size // 4, 1))
            if aval.size:
                self._uploads += 1
                self.device.write(block.memory, 0, flat.tobytes())
        return self.graph.leaf(aval, Buffer(block))

    def download(self, handle: Handle, aval: Aval) -> Any:
        if type(handle) is View:
            at = handle.layout
            if at.size < handle.base.call.out.size or handle.base.call.out.size == 0:
                handle = self.copied(handle, aval)
            else:
                base = self._read(handle.base)
                steps = tuple(s * base.itemsize for s in at.strides)
                begin = base.reshape(-1)[handle.offset :]
                return np.ndarray(
                    at.shape, base.dtype, np.ascontiguousarray(begin), 0, steps
                ).copy()
        return self._read(handle)

    async def download_async(self, handle: Handle, aval: Aval) -> Any:
        node = self.copied(handle, aval) if type(handle) is View else handle
        if not aval.size:
            return self._read(node)
        with self.graph.lock:
            buffer = self._realised(node)
            self._downloads += 1
        # `buffer` holds the memory until the values are here
        data = await self.device.read_async(buffer.block.memory, buffer.start, -(-aval.size // 4))
        return _values(data, buffer, aval)

    def copied(self, handle: Handle, aval: Aval) -> Node:
        """A pending node with the elements that a handle shows."""
        return self.graph.add(call_of("copy", copy, (aval,), (), aval), (handle,))

    def _read(self, node: Node) -> Any:
        """A node's values as an array of its dtype, in row-major order."""
        with self.graph.lock:
            buffer, aval = self._realised(node), node.call.out
            if aval.size == 0:
                return np.zeros(tuple(aval.shape), aval.dtype.name)
            self._downloads += 1
            data = self.device.read(buffer.block.memory, buffer.start, -(-aval.size // 4))
        return _values(data, buffer, aval)

    def _realised(self, node: Node) -> Buffer:
        """Where a node's value of now lies."""
        if node.buffer is None or node in self.graph.stale:
            self.graph.flush()
        buffer = node.buffer
        assert buffer is not None, node.call
        return buffer

    def assign(self, target: Handle, source: Handle, aval: Aval) -> None:
        if not aval.size:
            return
        if type(source) is View:
            source = self.copied(source, aval)
        if type(target) is Node:
            self.graph.write(target, source)
            return
        base, at = target.base, target.layout
        whole = base.call.out
        if at.dense and at.size == whole.size and not target.offset:
            shown = View(source, layout(tuple(whole.shape)), 0)
            self.graph.write(base, self.copied(shown, whole))
            return
        if inverse(at) is None:
            raise UnsupportedError(
                f"writing through strides {at.strides} of shape {at.shape}: not supported on the gl backend "
                "where elements share memory or interleave; write to a clone()"
            )
        params = at, target.offset % 4 == 0
        call = call_of("update", None, (whole, aval), params, whole)
        self.graph.write(base, self.graph.add(call, (base, source, target.offset)))

    def strides(self, handle: Handle, aval: Aval) -> tuple[int, ...]:
        return dense_strides(tuple(aval.shape)) if type(handle) is Node else handle.layout.strides

    def flush(self) -> None:
        if not self.graph.recording:
            self.graph.flush()

    def synchronize(self) -> None:
        with self.graph.lock:
            self.graph.flush()
            self.device.finish()

    def empty_cache(self) -> None:
        with self.graph.lock:
            self.pool.empty()

    def reset_peak(self) -> None:
        with self.graph.lock:
            self.pool.collect()
            self.pool.peak = self.pool.live
            self.pool.reserved_peak = self.pool.live + self.pool.pooled

    def counters(self) -> dict[str, int]:
        with self.graph.lock:
            self.pool.collect()
        # constants of the backend's own, which no tensor holds
        buffers = [t.buffer for t in self._tables.values()]
        tables = sum(b.block.bytes for b in buffers if b is not None)
        return {
            "launches": self._launches,
            "compiles": len(self._programs),
            "flushes": self._flushes,
            "plans": self._planned,
            "uploads": self._uploads,
            "downloads": self._downloads,
            "bytes_live": self.pool.live - tables,
            "bytes_peak": self.pool.peak - tables,
            "bytes_pooled": self.pool.pooled,
            "bytes_reserved_peak": self.pool.reserved_peak - tables,
        }

    def _run(self, trace: Trace) -> None:
        """Find or make the plan of a trace, run it, and give nodes their buffers."""
        plan = self.plan(trace)
        leaves: list[Any] = [node.buffer for node in trace.leaves]
        self.place(plan, trace, leaves, self.run(plan, leaves, trace.numbers))

    def plan(self, trace: Trace) -> Plan:
        """The plan of a trace, a new one if its key was not seen before."""
        key = (self.eager, self.tuning.number, *trace.key)
        plan = self._plans.pop(key, None)
        if plan is None:
            self._planned += 1
            context = Context(self.tuning, self.eager)
            plan = make_plan(snapshot(trace, context), context, self._compile)
            if len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
        self._plans[key] = plan
        return plan

    def run(self, plan: Plan, leaves: list[Any], numbers: list[Any]) -> list[Block]:
        """Run a plan on leaves' buffers; its blocks."""
        plan.fill(numbers)
        blocks, slots = plan.bind(leaves, self.pool)
        self.start(plan, slots, plan.numbers)
        return blocks

    def start(self, plan: Plan, slots: array[int], numbers: array[int]) -> None:
        """Start a plan's launches."""
        self._flushes += 1
        self._launches += len(plan.about)
        self.device.rest(used_memories)
        if self.observer is None:
            self.device.run(plan.launches, slots, numbers)
        else:
            self.observer(plan.about, self.device.timed(plan.launches, slots, numbers))
        if self._debug:
            error = self.device.error()
            if error:
                raise RuntimeError(f"the driver reports {error}; the last launches were the {plan}")

    @staticmethod
    def place(plan: Plan, trace: Trace, leaves: list[Any], blocks: Any) -> None:
        """Give visible and written nodes the buffers that a run filled."""
        targets = [n for n in trace.written if n.buffer is not None]
        for node, x in zip(targets, plan.written, strict=True):
            node.buffer = x.buffer(leaves, blocks)
        seen = [n for n, v in zip(trace.nodes, trace.visible, strict=True) if v]
        for node, x in zip(seen, plan.outputs, strict=True):
            node.buffer = x.buffer(leaves, blocks)

    def recording(self) -> Recording:
        return Recording(self)

    def _compile(self, kernel: Kernel, program: Program) -> int:
        number = self._programs.get(program.source)
        if number is None:
            if self._debug:
                stored = [v for v in kernel.outputs if v is not None]
                print(f"compile {kernel.template or stored[0].op}: {stored}", file=sys.stderr)
            if self._debug > 1:
                print(program.source, file=sys.stderr)
            size = 4 * (HEADER + len(program.numbers))
            if size > self.device.limits.number_bytes:
                raise UnsupportedError(
                    f"a kernel needs {size} bytes of numbers, and {self.device.limits.renderer} allows "
                    f"{self.device.limits.number_bytes}; read a value in between, or set TENSORGL_EAGER=1"
                )
            number = self.device.compile(
                program.source,
                [kind_of(v.dtype) for v in program.inputs],
                [kind_of(v.dtype) for v in kernel.outputs if v is not None]
                * (kernel.wide if self.device.limits.target == "fragment" else 1),
            )
            self._programs[program.source] = number
        return number


def _values(data: bytes, buffer: Buffer, aval: Aval) -> Any:
    """Texels as an array of a tensor's dtype, in row-major order."""
    shape = tuple(aval.shape)
    flat = np.frombuffer(data, _STORED[kind_of(aval.dtype)])[: aval.size]
    if buffer.order is not None:
        stored = flat.reshape([shape[d] for d in buffer.order])
        flat = stored.transpose([buffer.order.index(d) for d in range(len(shape))])
    return flat.reshape(shape).astype(aval.dtype.name)


def _check(a: Aval) -> None:
    if a.dtype.name == "float64" and not a.dtype.weak:
        raise TypeError(
            "Cannot convert a tensor to float64 on device 'gl', which does not support float64. Please "
            "use float32 instead."
        )
