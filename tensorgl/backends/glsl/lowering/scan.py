"""Scans along one dim: running sums, products, logarithms of sums of exponentials, extremes' places.

A short dim takes one launch. A longer one is cut into blocks: what each block comes to is a reduction,
the scan of these is a scan, and a last launch scans each block on from what comes before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.backends.glsl.lowering.reduction import COMBINE, LITTLE, finish, single

SHORT = {"ROWS": 256, "COLUMNS": 32, "LANES": 32}
"""Elements along the dim that one launch scans, twice as many of little; each reads those before it."""
BLOCK = {"ROWS": 64, "COLUMNS": 16, "LANES": 16}
"""Elements of a block; up to four times as many where that saves two launches."""


@dataclass(frozen=True)
class Scan:
    """A scan of the middle of (outer, count, inner), in blocks of `block` elements."""

    outer: int
    count: int
    inner: int
    block: int

    @property
    def form(self) -> str:
        """How a template reads the operand; scan.prefix.glsl says more."""
        if self.inner == 1 and (self.outer == 1 or self.count % 4 == 0):
            return "ROWS"
        return "LANES" if self.inner % 4 else "COLUMNS"


_TOTAL = {
    "cumsum": "sum",
    "cumprod": "prod",
    "logcumsumexp": "logaddexp_all",
    "running_max": "amax",
}
"""The reduction that gives the last element of each scan."""


@rewrite(*_TOTAL)
def scan(value: Value, context: Context) -> Value:
    """Blocks, and the scan of what they come to, where the dim is long."""
    if isinstance(value.params, Scan) or not value.size:
        return value
    (dim,), x, d = value.params, value.operands[0], value.dtype
    shape, strides = x.shape, x.layout.strides
    outer, count, inner = shape[:dim], shape[dim], shape[dim + 1 :]
    if count == 1:
        return context.step("copy" if x.value.dtype is d else "cast", [x], (d,), value.shape, d)
    whole = Scan(prod(outer), count, prod(inner), count + -count % 4)
    least, most = BLOCK[whole.form], SHORT[whole.form]
    if count <= (2 * most if value.size <= LITTLE else most):
        return Value(value.op, [x], whole, value.shape, d)
    size = next((n for n in (least, 2 * least, 4 * least) if (count - 1) // n <= most), least)
    blocks = (count - 1) // size  # but for the last, after which nothing comes
    step = strides[dim]
    cut = x.through(
        (*outer, blocks, size, *inner), (*strides[:dim], step * size, step, *strides[dim + 1 :])
    )
    totals = context.step(
        _TOTAL[value.op], [cut], ((dim + 1,), False), (*outer, blocks, *inner), single(d)
    )
    before = context.step(value.op, [totals.whole()], (dim,), totals.shape, single(d))
    last = Scan(whole.outer, count, whole.inner, size)
    return Value(value.op, [x, before.whole()], last, value.shape, d)


@anchor(*_TOTAL)  # each element is read often: only what is cheap is computed again
def scanned(value: Value, context: Context) -> Kernel:
    """A scan within blocks."""
    scan = value.params
    combine, of_floats, of_integers = COMBINE[_TOTAL[value.op]]
    is_float = value.dtype.category == dtypes.FLOAT
    defines = {
        scan.form: 1,
        "R": scan.count,
        "I": scan.inner,
        "B": scan.block,
        "LAST": value.size - 1,
        "COMBINE(a, b)": combine,
        "IDENTITY": f"out_vec({of_floats if is_float else of_integers})",
        "FINISH(v)": finish(value.dtype),
    }
    inputs: dict[str, Operand] = {"x": value.operands[0]}
    if len(value.operands) == 1:
        return Kernel([value], [value], "scan", defines, inputs, grid=value.texels)
    inputs["before"] = value.operands[1]
    return Kernel([value], [value], "scan.blocks", defines, inputs, grid=value.texels)


@rewrite("cumargmax", "cumargmin")
def place(value: Value, context: Context) -> Value:
    """Where the running maximum of the elements' keys was last seen: a running maximum of places."""
    (dim,), x, d = value.params, value.operands[0], value.dtype
    if not value.size or x.shape[dim] == 1:
        return context.step("full", [Number(-1, False, 0)], (), value.shape, d)
    sign = "" if value.op == "cumargmax" else "~"
    key = context.step("order_key", [x], (sign,), x.shape, dtypes.int64).whole()
    top = context.step("running_max", [key], (dim,), x.shape, dtypes.int64).whole()
    seen = context.step("place_where", [key, top], (dim,), x.shape, dtypes.int64).whole()
    return context.step("running_max", [seen], (dim,), value.shape, d)


@map_op("order_key")
def order_key(e: Emitter, value: Value, index: Index) -> str:
    """An integer in the order of an element, or in reverse; that of NaN is greater than all others."""
    x, (sign,) = e.operand(value, 0, index), value.params
    if value.operands[0].value.dtype.category != dtypes.FLOAT:
        return f"{sign}{x}"
    return f"select(ivec4(is_nan({x})), ivec4(0x7fffffff), {sign}ordered_bits({x}))"


@map_op("place_where")
def place_where(e: Emitter, value: Value, index: Index) -> str:
    """The place along a dim where two operands are equal, else 0."""
    a, b = (e.operand(value, k, index) for k in range(2))
    whole = index.reshaped(value.shape) if index.order is None else index
    place = e.digits(whole)[value.params[0]]
    return f"ivec4({place}) * ivec4(equal({a}, {b}))"
