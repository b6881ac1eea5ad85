"""Sorting and searching: argsort, argtopk, argkth, searchsorted.

Everything sorts integer keys in the order of the values (sort.key.glsl), and equal ones by their places, so
that sorts are stable in both directions. Short rows take one launch. Others are cut into runs, each
sorted by itself: in the compute target by a work group; else by counting for each element those
before it, then finding the element of each rank. Then each launch merges runs two at a time. Where
few elements of a long row are wanted, only so many of each run are kept, until there is one run.

Between launches a row is pairs of a key and an index, two a texel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tensorgl import dtypes
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value
from tensorgl.backends.glsl.layout import dense_strides
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite

SMALL = 32
"""Elements of the longest row that one launch sorts."""
LITTLE = 1 << 19
"""Comparisons that this may take, as every texel makes all of its row's."""
GROUP = 2048
"""Elements that a work group of the compute target sorts: they take 16 KiB of its memory."""
COUNTED = 1 << 26, 1 << 23
"""How many comparisons are less than the launches that they save; and so for software."""
SHORTEST, LONGEST = 256, 4096
"""Elements that are sorted by counting at once."""


@dataclass(frozen=True)
class Rows:
    """What a kernel sorts: rows of `n` keys, and what it gives of each run of `run` of them.

    Attributes:
        stride: pairs from one row to the next, if the keys are in pairs; 0 if they are the values.
        flip: 1 if values become keys in descending order.
        first, keep: `keep` elements from rank `first` on are wanted of each run.
        order: None where they are wanted as pairs; else they are the result, of this physical order.
    """

    rows: int
    n: int
    flip: int
    run: int
    stride: int = 0
    first: int = 0
    keep: int = 0
    order: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Elements in memory, those between rows included."""
        return self.rows * (self.stride or self.n)

    @property
    def in_texels(self) -> bool:
        """Whether every run begins at a texel."""
        rows_do = self.rows == 1 or (self.stride or self.n) % 4 == 0
        return rows_do and (self.runs == 1 or self.run % 4 == 0)

    @property
    def runs(self) -> int:
        """Runs of a row."""
        return -(-self.n // self.run)

    @property
    def kept(self) -> int:
        """Elements of a row of the result."""
        last = self.n - (self.runs - 1) * self.run
        return (self.runs - 1) * self.keep + min(self.keep, last)

    @property
    def width(self) -> int:
        """Elements from one row of the result to the next."""
        return self.kept if self.order else self.kept + self.kept % 2

    @property
    def physical(self) -> tuple[int, ...] | None:
        """The result's physical order."""
        return None if self.order is None or self.order == tuple(sorted(self.order)) else self.order

    def defines(self) -> dict[str, int | str]:
        """As the templates name it."""
        return {
            "ROWS": self.rows,
            "N": self.n,
            "FLIP": self.flip,
            "RUN": self.run,
            "RUNS": self.runs,
            "STRIDE": self.stride,
            "FIRST": self.first,
            "KEEP": self.keep,
            "WIDTH": self.width,
            "PAIRS": int(self.stride > 0),
            "PAIR": int(self.order is None),
            "IN_TEXELS": int(self.in_texels),
        }


@rewrite("argsort")
def argsort(value: Value, context: Context) -> Value:
    """All of the order."""
    dim, descending = value.params
    return _ordered(value, context, dim, 0, descending)


@rewrite("argtopk")
def argtopk(value: Value, context: Context) -> Value:
    """The beginning of the order."""
    dim, _, largest = value.params
    return _ordered(value, context, dim, 0, largest)


@rewrite("argkth")
def argkth(value: Value, context: Context) -> Value:
    """One element of the order, counted from its nearer end."""
    dim, k = value.params
    behind = value.operands[0].shape[dim] - 1 - k
    return _ordered(value, context, dim, min(k, behind), behind < k)


def _ordered(value: Value, context: Context, dim: int, first: int, descending: bool) -> Value:
    """The indices of the elements from rank `first` on along a dim, as many as the value has."""
    x: Operand = value.operands[0]
    if not value.size:
        return _zeros(value, context)
    order = (*(d for d in range(len(x.shape)) if d != dim), dim)
    x = x.permuted(order)
    n, keep = x.shape[-1], value.shape[dim]
    count = prod(x.shape[:-1])

    def result(op: str, source: list[Operand], params: Rows | None) -> Value:
        return context.step(op, source, params or (), value.shape, value.dtype)

    if n <= SMALL and count * n**3 <= LITTLE:
        rows = Rows(count, n, int(descending), n, 0, first, keep, order)
        return result("sort_small", [x], rows)
    flip, stride, wanted = int(descending), 0, first + keep
    while n > (run := run_length(count, n, context, wanted)) and 4 * wanted <= run:
        rows = Rows(count, n, flip, run, stride, 0, wanted + wanted % 2)
        x, n, stride = _sorted_runs(x, rows, context), rows.kept, rows.width
    if n <= run:
        rows = Rows(count, n, flip, run, stride, first, keep, order)
        if not in_groups(context):
            return result("sort_place", [x, _ranks(x, rows, context)], rows)
        if count == 1 or keep % 4 == 0:
            return result("sort_runs", [x], rows)
        pairs = Rows(count, n, flip, run, stride, first, keep)
        x = _sorted_runs(x, pairs, context)
        steps = dense_strides(tuple(value.shape[d] for d in order[:-1]))
        strides = [2] * len(order)
        for d, step in zip(order, steps, strict=False):
            strides[d] = 2 * pairs.width * step
        return result("copy", [x.through(value.shape, tuple(strides), 1)], None)
    rows = Rows(count, n, flip, run, stride, 0, run)
    x, run = _merged(_sorted_runs(x, rows, context), rows, n, context)
    rows = Rows(count, n, flip, 2 * run, rows.width, first, keep, order)
    return result("sort_merge", [x], rows)


def sorted_pairs(x: Operand, count: int, n: int, context: Context) -> tuple[Operand, int]:
    """Pairs of a key and an index for rows of integers; and how many pairs after a row the next begins."""
    run = run_length(count, n, context)
    rows = Rows(count, n, 0, run, 0, 0, run)
    x, _ = _merged(_sorted_runs(x, rows, context), rows, 2 * n, context)
    return x, rows.width


def _zeros(value: Value, context: Context) -> Value:
    return context.step("full", [Number(-1, False, 0)], (), value.shape, value.dtype)


def in_groups(context: Context) -> bool:
    """Whether work groups sort runs. Software is slow at the many barriers that this takes."""
    return context.limits.target == "compute" and not context.limits.software


def run_length(rows: int, n: int, context: Context, wanted: int = 0) -> int:
    """How many elements one sort should take on: four times those `wanted` if they are few."""
    if in_groups(context):
        return min(GROUP, 1 << (n - 1).bit_length())
    run = counted_length(rows, n, context.limits.software)
    return max(run, 4 * wanted) if wanted <= SHORTEST else run


def counted_length(rows: int, n: int, software: bool) -> int:
    """How many elements are sorted by counting at once."""
    return max(SHORTEST, min(COUNTED[software] // (rows * n), LONGEST, n))


def sorting_work(rows: int, n: int, software: bool) -> int:
    """About how many loads sorting takes by counting."""
    run = min(counted_length(rows, n, software), n)
    merges = (-(-n // run) - 1).bit_length()
    return rows * n * (run // 8 + 18 * merges)


def _merged(x: Operand, rows: Rows, length: int, context: Context) -> tuple[Operand, int]:
    """Pairs of sorted runs, merged until a run has half of `length` elements; and its length."""
    run, width = rows.run, rows.width
    while 2 * run < length:
        run *= 2
        merge = Rows(rows.rows, rows.n, rows.flip, run, width, 0, run)
        shape = merge.rows * width, 2
        x = context.step("sort_merge", [x], merge, shape, dtypes.int32).whole()
    return x, run


def _sorted_runs(x: Operand, rows: Rows, context: Context) -> Operand:
    """The pairs of each run in order."""
    shape = rows.rows * rows.width, 2
    if in_groups(context):
        return context.step("sort_runs", [x], rows, shape, dtypes.int32).whole()
    ranks = _ranks(x, rows, context)
    return context.step("sort_place", [x, ranks], rows, shape, dtypes.int32).whole()


def _ranks(x: Operand, rows: Rows, context: Context) -> Operand:
    return context.step("sort_rank", [x], rows, (rows.size,), dtypes.int32).whole()


@anchor("sort_small", "sort_rank", "sort_place", "sort_merge")
def sort_by_texels(value: Value, context: Context) -> Kernel:
    """Each invocation a texel of the result."""
    rows: Rows = value.params
    names = ["x", "place"]
    inputs: dict[str, Operand] = dict(zip(names, value.operands, strict=False))
    template = value.op.replace("_", ".")
    order = None if value.op == "sort_rank" else rows.physical
    return Kernel(
        [value], [value], template, rows.defines(), inputs, grid=value.texels, order=order
    )


@anchor("sort_runs")
def sort_runs(value: Value, context: Context) -> Kernel:
    """Each work group a run. One count of groups holds no more than 65535."""
    rows: Rows = value.params
    groups = rows.rows * rows.runs
    across = min(groups, 1 << 15)
    threads = max(1, min(256, rows.run // 2))
    return Kernel(
        [value],
        [value],
        "sort.runs.compute",
        rows.defines() | {"THREADS": threads},
        {"x": value.operands[0]},
        grid=value.texels,
        groups=(across, -(-groups // across), 1),
        order=rows.physical,
    )


@rewrite("searchsorted")
def searchsorted(value: Value, context: Context) -> Value:
    """No element of an empty sequence is below a value."""
    return value if value.operands[0].shape[-1] else _zeros(value, context)


@anchor("searchsorted", inline=(1,))
def bisection(value: Value, context: Context) -> Kernel:
    """Each value by itself."""
    sequence, values = value.operands
    n = sequence.shape[-1]
    defines: dict[str, int | str] = {
        "N": n,
        "SHARED": int(len(sequence.shape) == 1),
        "COLUMNS": value.shape[-1] if value.shape else 1,
        "SIZE": value.size,
        "STEPS": n.bit_length(),
        "RIGHT": int(value.params[0]),
        "FLIP": 0,
    }
    inputs = {"s": sequence, "v": values}
    return Kernel([value], [value], "search", defines, inputs, grid=value.texels)
