"""Where the time goes: every op on the CPU and every launch on the GPU, as PyTorch's `torch.profiler`.

    with tensorgl.profiler.profile(record_shapes=True) as prof:
        step()
    print(prof.key_averages().table(sort_by="gpu_time_total", row_limit=10))
    prof.export_chrome_trace("trace.json")

A launch's time is what the device's timer query says. While a profile runs, each flush waits for its
launches, so that totals are longer than without it; the times of the launches themselves are not.
On a lazy backend the CPU time of an op is that of recording it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from tensorgl import dispatch
from tensorgl.backends import loaded
from tensorgl.backends.base import Backend

__all__ = ["EventList", "FunctionEvent", "ProfilerActivity", "profile", "record_function"]

_running: list[profile] = []


class ProfilerActivity(Enum):
    """What is profiled: ops on the CPU, launches on the GPU."""

    CPU = "cpu"
    GPU = CUDA = "gpu"


class FunctionEvent:
    """One op, launch or named range; as `key_averages` gives it, the sum of those of one name.

    Attributes:
        name: the op's or kernel's name.
        ops: what a launch does, fused.
        device: "cpu" or "gpu".
        start: in microseconds since the profile began.
        cpu_time_total, gpu_time_total: in microseconds.
        self_cpu_time_total: without the ranges and ops within it.
        bytes: what a launch reads and writes.
        input_shapes: of an op's operands, or of a launch's result.
        count: how many were summed.
    """

    def __init__(self, name: str, device: str, start: float, duration: float) -> None:
        self.name = self.key = name
        self.device = device
        self.start = start
        self.cpu_time_total = duration if device == "cpu" else 0.0
        self.gpu_time_total = duration if device == "gpu" else 0.0
        self.self_cpu_time_total = self.cpu_time_total
        self.ops: tuple[str, ...] = ()
        self.bytes = 0
        self.input_shapes: Any = ()
        self.count = 1

    @property
    def cpu_time(self) -> float:
        """Mean CPU time in microseconds."""
        return self.cpu_time_total / self.count

    @property
    def gpu_time(self) -> float:
        """Mean GPU time in microseconds."""
        return self.gpu_time_total / self.count

    device_time_total = cuda_time_total = property(lambda self: self.gpu_time_total)

    def add(self, other: FunctionEvent) -> None:
        """Add another event of the same name."""
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.gpu_time_total += other.gpu_time_total
        self.bytes += other.bytes

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent {self.name}: {self.count} calls, cpu {_duration(self.cpu_time_total)}, "
            f"gpu {_duration(self.gpu_time_total)}>"
        )


class EventList(list[FunctionEvent]):
    """Events, and the ways to look at them."""

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_name_column_width: int = 40
    ) -> str:
        """The events as text, a line each.

        Args:
            sort_by: an attribute of the events, such as "cpu_time_total" or "gpu_time_total", which
                "cuda_time_total" and "device_time_total" mean too; the greatest first. None: as they are.
            row_limit: how many lines at most.
            max_name_column_width: longer names are cut.

        Raises:
            ValueError: the events have no such attribute.
        """
        rows: list[FunctionEvent] = list(self)
        if sort_by is not None:
            if rows and not hasattr(rows[0], sort_by):
                raise ValueError(f"table: events cannot be sorted by {sort_by!r}")
            rows.sort(key=lambda e: -getattr(e, sort_by))
        cpu = sum(e.self_cpu_time_total for e in self)
        gpu = sum(e.gpu_time_total for e in self)
        head = ["Name", "Self CPU %", "Self CPU", "CPU total", "GPU %", "GPU total", "GPU avg"]
        head += ["MiB", "GB/s", "Calls", "Shape", "Ops"]
        lines = [head]
        for e in rows[:row_limit]:
            rate = e.bytes / e.gpu_time_total / 1e3 if e.gpu_time_total and e.bytes else None
            lines.append(
                [
                    _cut(e.name, max_name_column_width),
                    _percent(e.self_cpu_time_total, cpu),
                    _duration(e.self_cpu_time_total),
                    _duration(e.cpu_time_total),
                    _percent(e.gpu_time_total, gpu),
                    _duration(e.gpu_time_total),
                    _duration(e.gpu_time),
                    f"{e.bytes / 2**20:.2f}" if e.bytes else "",
                    f"{rate:.1f}" if rate else "",
                    str(e.count),
                    str(list(e.input_shapes)) if e.input_shapes else "",
                    _cut(" ".join(e.ops), 60),
                ]
            )
        widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
        rule = "  ".join("-" * w for w in widths)
        left = {0, len(head) - 1, len(head) - 2}
        text = [
            "  ".join(
                x.ljust(w) if k in left else x.rjust(w)
                for k, (x, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        total = [f"Self CPU time total: {_duration(cpu) or '0 us'}"]
        total.append(f"GPU time total: {_duration(gpu) or '0 us'}")
        return "\n".join([rule, text[0], rule, *text[1:], rule, *total])

    def total_average(self) -> FunctionEvent:
        """The sum of all events."""
        total = FunctionEvent("Total", "cpu", 0.0, 0.0)
        total.count = 0
        for e in self:
            total.add(e)
        return total

    def __str__(self) -> str:
        return self.table()


class profile:
    """Records every op and launch while it is entered.

    Args:
        activities: a set of ProfilerActivity; both if not given.
        record_shapes: keep operands' shapes of ops (launches have theirs always).
        on_trace_ready: called with this profile at its end.
        schedule, profile_memory, with_stack, with_flops: PyTorch's; they have no effect, and every step is
            recorded.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], Any] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
    ) -> None:
        self._activities = set(activities or ProfilerActivity)
        self._shapes = record_shapes
        self._ready = on_trace_ready
        self._events: list[FunctionEvent] = []
        self._inner: list[float] = []  # time spent in what is within each open range
        self._steps = 0
        self._begin = self._gpu_end = 0.0

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        if self._ready is not None and error[0] is None:
            self._ready(self)

    def start(self) -> None:
        """Begin to record.

        Raises:
            RuntimeError: another profile is running.
        """
        if _running:
            raise RuntimeError("profile: another profile is already running; end it first")
        for backend in loaded():
            backend.flush()
        _running.append(self)
        self._begin = time.perf_counter()
        if ProfilerActivity.GPU in self._activities:
            Backend.observer = self._launched
        if ProfilerActivity.CPU in self._activities:
            dispatch.observe(self._watched)

    def stop(self) -> None:
        """Run what is pending, and stop recording."""
        for backend in loaded():
            backend.synchronize()
        dispatch.observe(None)
        Backend.observer = None
        _running.clear()

    def step(self) -> None:
        """Mark the end of a training step."""
        now = self._now()
        self._events.append(FunctionEvent(f"ProfilerStep#{self._steps}", "mark", now, 0.0))
        self._steps += 1

    def events(self) -> EventList:
        """Every op, launch and range, in the order in which they ended."""
        return EventList(e for e in self._events if e.device != "mark")

    def key_averages(self, group_by_input_shape: bool = False) -> EventList:
        """The sums of the events of one name, or of one name and shape."""
        sums: dict[Any, FunctionEvent] = {}
        for e in self.events():
            shapes = str(e.input_shapes) if group_by_input_shape else ""
            key = e.name, e.device, e.ops, shapes
            known = sums.get(key)
            if known is None:
                known = sums[key] = FunctionEvent(e.name, e.device, e.start, 0.0)
                known.ops = e.ops
                known.count = 0
                if group_by_input_shape or e.device == "gpu":
                    known.input_shapes = e.input_shapes
            known.add(e)
        return EventList(sums.values())

    def export_chrome_trace(self, path: str) -> None:
        """Write a file for chrome://tracing or Perfetto: the CPU and the GPU as two rows."""
        rows = {"cpu": (0, "CPU"), "gpu": (1, "GPU"), "mark": (0, "CPU")}
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "thread_name", "pid": 0, "tid": t, "args": {"name": name}}
            for t, name in ((0, "CPU"), (1, "GPU"))
        ]
        for e in self._events:
            entry: dict[str, Any] = {
                "name": e.name,
                "cat": "kernel" if e.device == "gpu" else "cpu_op",
                "pid": 0,
                "tid": rows[e.device][0],
                "ts": e.start,
            }
            if e.device == "mark":
                entry |= {"ph": "i", "s": "g"}
            else:
                arguments: dict[str, Any] = {"shape": str(list(e.input_shapes))}
                if e.device == "gpu":
                    arguments |= {"ops": list(e.ops), "bytes": e.bytes}
                duration = e.cpu_time_total or e.gpu_time_total
                entry |= {"ph": "X", "dur": duration, "args": arguments}
            events.append(entry)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)

    def _now(self) -> float:
        return (time.perf_counter() - self._begin) * 1e6

    def _launched(self, launches: Any, nanoseconds: list[int]) -> None:
        """A flush: its launches, and the time that each took."""
        at = max(self._now() - sum(nanoseconds) / 1e3, self._gpu_end)
        for launch, ns in zip(launches, nanoseconds, strict=True):
            event = FunctionEvent(launch.name, "gpu", at, ns / 1e3)
            event.ops, event.bytes, event.input_shapes = launch.ops, launch.bytes, launch.shape
            self._events.append(event)
            at += ns / 1e3
        self._gpu_end = at

    def _watched(self, name: str, avals: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel that notes its time."""
        shapes = tuple([tuple(a.shape) for a in avals]) if self._shapes else ()

        def timed(*handles: Any) -> Any:
            with self._range(name, shapes):
                return run(*handles)

        return timed

    def _range(self, name: str, shapes: Any = ()) -> _Range:
        return _Range(self, name, shapes)


class _Range:
    """Times what happens while it is entered, without what other ranges within it take."""

    def __init__(self, owner: profile, name: str, shapes: Any) -> None:
        self._owner = owner
        self._name = name
        self._shapes = shapes

    def __enter__(self) -> None:
        self._owner._inner.append(0.0)
        self._start = self._owner._now()

    def __exit__(self, *error: object) -> None:
        owner = self._owner
        duration = owner._now() - self._start
        inner = owner._inner.pop()
        if owner._inner:
            owner._inner[-1] += duration
        event = FunctionEvent(self._name, "cpu", self._start, duration)
        event.self_cpu_time_total = duration - inner
        event.input_shapes = self._shapes
        owner._events.append(event)


class record_function:
    """A named range of a profile: `with record_function("data"): …`; nothing without a profile."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        self._range = _running[0]._range(self.name) if _running else None
        if self._range is not None:
            self._range.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._range is not None:
            self._range.__exit__(*error)


def _duration(microseconds: float) -> str:
    if not microseconds:
        return ""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f} {unit}"
    return f"{microseconds:.1f} us"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if part and whole else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
