"""Reductions over dims: sums, products, extremes and where they are, variance and mean.

Each sees its operand as (outer, count, inner) and folds the middle, so that neighbouring invocations
read neighbouring texels. A fold that few invocations would do, or that is long, takes stages: the
first gives parts of each result, of elements that are `parts` apart; the next folds those.

What is wanted together is computed together, by kernels that read their operand twice: var_mean, and
softmax's maximum with its sum of exponentials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import gcd, nan, prod

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.dtypes import dtype

__all__ = ["COMBINE", "LITTLE", "finish", "single"]

INVOCATIONS = 4096
"""How many a launch should have: software rasterisers share out squares of 64 * 64."""
SHORT = 64
"""Up to so many elements a result take one stage, however few invocations that is."""
LONG = 1024
"""More elements a result take another stage, however many invocations the first has."""
LITTLE = 1 << 17
"""Up to so many elements in all are not worth another launch, unless one invocation reads MANY."""
MANY = 8192, 32768
"""On hardware, where one invocation waits for memory, and on software rasterisers, where it does not."""
BLOCK = 16
"""About so many terms are added one after the other."""


@dataclass(frozen=True)
class Fold:
    """A fold of the middle of (outer, count, inner), into `parts` results each instead of one.

    Attributes:
        source: the operand and the dims of the whole reduction.
        numbers: what else the op's templates know, as `#define`s.
    """

    outer: int
    count: int
    inner: int
    parts: int = 1
    source: tuple[Operand, tuple[int, ...]] | None = field(default=None, compare=False)
    numbers: tuple[tuple[str, int | str], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """What a stage gives."""
        return self.outer, self.parts, self.inner

    @property
    def sizes(self) -> tuple[int, ...]:
        """The operand's three dims."""
        return self.outer, self.count, self.inner

    @property
    def form(self) -> str:
        """How a template reads the operand; reduce.fold.glsl says more."""
        if self.inner == self.parts == 1:
            return "ROWS"
        in_texels = self.inner == 1 or self.outer == 1 or self.count * self.inner % 4 == 0
        return "COLUMNS" if in_texels and self.parts * self.inner % 4 == 0 else "LANES"

    @property
    def skew(self) -> int:
        """How far at most behind the beginning of a texel an outer element begins."""
        if self.outer == 1 or self.form == "LANES":
            return 0
        return 4 - gcd(self.count * self.inner, 4)

    def defines(self, context: Context) -> dict[str, int | str]:
        """What reduce.fold.glsl knows."""
        each = self.count * self.inner
        wide = 1 if self.form == "LANES" else 4
        stride = 4 if self.form == "ROWS" else self.parts * self.inner
        count = -(-(each + self.skew) // stride)
        whole = (b for b in range(2 * BLOCK, BLOCK // 2, -1) if count % b == 0)
        block = next(whole, min(count, BLOCK))
        found: dict[str, int | str] = {
            self.form: 1,
            "R": self.count,
            "I": self.inner,
            "G": self.parts,
            "RESULTS": prod(self.shape),
            "COUNT": count,
            "BLOCK": block,
            # llvmpipe unrolls what it can count, and then compiles a storage buffer's load in 3 ms
            "TURNS": f"({block} + min(GRID, 0))" if context.limits.software else block,
            "STEP": stride // wide,
            "STRIDE": stride,
            "LAST": -(-self.outer * each // wide) - 1,
            "PLACE": "ivec4" if self.form == "LANES" else "int",
        }
        if count * stride != each:
            found["MASKED"] = 1
        return found | dict(self.numbers)


def arranged(x: Operand, dim: tuple[int, ...]) -> tuple[Operand, Fold]:
    """The operand with its dims in the order outer, reduced, inner, and its fold.

    Dims are inner if they lie within those that are reduced in memory, and no dim after them is outer.
    """
    sizes, strides = x.shape, x.layout.strides
    kept = [d for d in range(len(sizes)) if d not in dim]
    reduced = sorted(dim, key=lambda d: -strides[d])
    least = min((strides[d] for d in dim if sizes[d] > 1), default=0)
    at = len(kept)
    while at and (sizes[kept[at - 1]] == 1 or strides[kept[at - 1]] < least):
        at -= 1
    runs = kept[:at], reduced, kept[at:]
    outer, count, inner = (prod(sizes[d] for d in run) for run in runs)
    return x.permuted(tuple(d for run in runs for d in run)), Fold(
        outer, count, inner, source=(x, dim)
    )


def _parts(fold: Fold, software: bool) -> int:
    """Into how many parts of each result the next stage folds; 1 if it is the last."""
    count, results = fold.count, fold.outer * fold.inner
    little = results * count <= LITTLE
    if fold.form == "LANES" and replace(fold, parts=4).form == "COLUMNS":
        few, enough = BLOCK, False  # a stage that reads texels saves most of the loads
    else:
        few, enough = SHORT, results >= 4 * INVOCATIONS
    one = little and count * min(results, 4) <= MANY[software]
    if one or count <= few or (count <= LONG and enough):
        return 1
    wanted = max(4 * INVOCATIONS // results, count // SHORT)
    return 1 << max(min(wanted, count // BLOCK), 4).bit_length() - 1


def folded(
    operands: list[Operand],
    fold: Fold,
    context: Context,
    stage: Callable[[list[Operand], Fold], list[Value]],
) -> tuple[list[Operand], Fold]:
    """The operands and the fold of the last stage, after those before it, which `stage` makes."""
    while (parts := _parts(fold, context.limits.software)) > 1:
        fold = replace(fold, parts=parts)
        operands = [v.whole() for v in stage(operands, fold)]
        fold = replace(fold, count=parts, parts=1)
    return operands, fold


def single(d: dtype) -> dtype:
    """What parts of results of a dtype are held in."""
    return dtypes.float32 if d is dtypes.float16 else d


def _is_float(d: dtype) -> bool:
    return d.category == dtypes.FLOAT


def _full(x: float, shape: tuple[int, ...], d: dtype, context: Context) -> Value:
    return context.step("full", [Number(-1, _is_float(d), x)], (), shape, d)


@rewrite("sum", "prod", "amax", "amin", "logaddexp_all")
def reduction(value: Value, context: Context) -> Value:
    """Nothing is folded over no elements or one; else the stages."""
    if isinstance(value.params, Fold) or not value.size:
        return value
    (dim, keepdim), d = value.params, value.dtype
    x = value.operands[0]
    if value.op == "sum":
        found = _exponentials(value, context)
        if found is not None:
            return found
    operand, fold = arranged(x, dim)
    if fold.count == 0:
        if value.op == "sum" and _is_float(d):
            return context.step("sum_of_nothing", [], (), value.shape, d)
        return _full(int(value.op == "prod"), value.shape, d, context)
    if fold.count == 1:
        strides = tuple(s for k, s in enumerate(x.layout.strides) if keepdim or k not in dim)
        op = "copy" if x.value.dtype is d else "cast"
        return context.step(op, [x.through(value.shape, strides)], (d,), value.shape, d)
    operands, fold = folded(
        [operand], fold, context, lambda xs, f: [Value(value.op, xs, f, f.shape, single(d))]
    )
    return Value(value.op, operands, fold, value.shape, d)


@map_op("sum_of_nothing")
def sum_of_nothing(e: Emitter, value: Value, index: Index) -> str:
    """0, but not a constant: compilers think that 0 divided by anything is 0, and a mean is then NaN."""
    return "vec4(min(GRID, 0))"


COMBINE = {
    "sum": ("((a) + (b))", "0", "0"),
    "prod": ("((a) * (b))", "1", "1"),
    "amax": ("op_maximum(a, b)", "-INFINITY_()", "~0x7fffffff"),
    "amin": ("op_minimum(a, b)", "INFINITY_()", "0x7fffffff"),
    "logaddexp_all": ("logaddexp(a, b)", "-INFINITY_()", ""),
}
"""How two terms become one, and what changes nothing, for floats and for integers."""


@anchor("sum", "prod", "amax", "amin", "logaddexp_all", inline=(0,))
def reduce(value: Value, context: Context) -> Kernel:
    """One stage."""
    combine, of_floats, of_integers = COMBINE[value.op]
    defines: dict[str, int | str] = {
        "COMBINE(a, b)": combine,
        "IDENTITY": f"out_vec({of_floats if _is_float(value.dtype) else of_integers})",
        "FINISH(v)": finish(value.dtype),
    }
    return _kernel("reduce", value, [value], context, defines)


def finish(d: dtype) -> str:
    """GLSL for a result `v` as elements of a dtype."""
    return "round16(v)" if d is dtypes.float16 else "(v)"


def _kernel(
    template: str,
    value: Value,
    results: list[Value],
    context: Context,
    defines: dict[str, int | str] | None = None,
) -> Kernel:
    """The kernel of a stage, of one operand, or of two that a stage before it gave."""
    names = "x" if len(value.operands) == 1 else "ab"
    inputs = dict(zip(names, value.operands, strict=True))
    name = template if names == "x" else f"{template}.merge"
    known = value.params.defines(context) | (defines or {})
    return Kernel(results, [*results], name, known, inputs, grid=results[0].texels)


def _pair(op: str, xs: list[Operand], fold: Fold, d: dtype, context: Context) -> list[Value]:
    """The two results of a stage."""
    both = [(fold.shape, d)] * 2
    return context.parts(context.step(op, list(xs), fold, (), d, both))


@rewrite("argmax", "argmin")
def place(value: Value, context: Context) -> Value:
    """The stages; parts know the place and a key of their element."""
    if isinstance(value.params, Fold) or not value.size:
        return value
    dim, d = value.params[0], value.dtype
    operand, fold = arranged(value.operands[0], (dim,))
    if fold.count == 1:
        return _full(0, value.shape, d, context)
    operands, fold = folded(
        [operand], fold, context, lambda xs, f: _pair(f"{value.op}_parts", xs, f, d, context)
    )
    return Value(value.op, operands, fold, value.shape, d)


@anchor("argmax", "argmin", inline=(0,))
def arg(value: Value, context: Context) -> Kernel:
    """The last stage."""
    order = "" if value.op == "argmax" else "~"
    return _kernel("reduce.arg", value, [value], context, {"ORDER": order})


@anchor("argmax_parts", "argmin_parts", inline=(0,))
def arg_parts(value: Value, context: Context) -> Kernel:
    """A stage before the last."""
    order = "" if value.op == "argmax_parts" else "~"
    return _kernel("reduce.arg", value, context.parts(value), context, {"ORDER": order})


@rewrite("var_mean")
def var_mean(value: Value, context: Context) -> Value:
    """The stages; parts know the sum and the sum of squared deviations of their elements."""
    if isinstance(value.params, Fold):
        return value
    dim, correction, keepdim = value.params
    x = value.operands[0]
    d = x.value.dtype
    left = ((k, n) for k, n in enumerate(x.shape) if keepdim or k not in dim)
    shape = tuple(1 if k in dim else n for k, n in left)
    operand, fold = arranged(x, dim)
    both = [(shape, d)] * 2
    if fold.count == 0 and prod(shape):
        found = context.step("var_mean", [x], fold, (), d, both)
        context.parts(found)[:] = [_full(nan, shape, d, context)] * 2
        return found
    degrees = max(fold.count - correction, 0)
    skew = 3 if replace(fold, parts=4).skew else 0
    fold = replace(
        fold,
        numbers=(
            ("TOTAL", fold.count),
            ("SKEW", skew),
            ("VARIANCE(s)", f"(s / {float(degrees)})" if degrees else "(s * INFINITY_())"),
            ("FINISH(v)", finish(d)),
        ),
    )
    if prod(shape):
        operands, fold = folded(
            [operand],
            fold,
            context,
            lambda xs, f: _pair("var_mean", xs, f, dtypes.float32, context),
        )
    else:
        operands = [operand]
    return context.step("var_mean", list(operands), fold, (), d, both)


@anchor("var_mean", inline=(0,))
def moments(value: Value, context: Context) -> Kernel:
    """One stage."""
    return _kernel("var_mean", value, context.parts(value), context)


def _exponentials(value: Value, context: Context) -> Value | None:
    """sum(exp(x - amax(x))) with amax(x), if that is what `value` sums.

    The value that was amax(x) becomes a result of the same kernels, whoever reads it.
    """
    dim, x = value.params[0], value.operands[0]
    if not (x.whole and x.value.op == "exp" and x.value.dtype is dtypes.float32):
        return None
    difference = x.value.operands[0]
    if not (isinstance(difference, Operand) and difference.whole and difference.value.op == "sub"):
        return None
    a, b = difference.value.operands
    if not (isinstance(a, Operand) and isinstance(b, Operand) and b.whole):
        return None
    top = b.value
    if not (top.op == "amax" and isinstance(top.params, Fold) and top.params.source):
        return None
    source, over = top.params.source
    kept = tuple(1 if k in dim else n for k, n in enumerate(a.shape))
    if not (over == dim and _same(a, source) and b.shape == kept and a.shape == x.shape):
        return None
    operand, fold = arranged(a, dim)
    operands, fold = folded(
        [operand], fold, context, lambda xs, f: _pair("sum_exp", xs, f, dtypes.float32, context)
    )
    both = [(top.shape, top.dtype), (value.shape, value.dtype)]
    found = context.step("sum_exp", list(operands), fold, (), value.dtype, both)
    context.parts(found)[0] = top
    top.op, top.operands, top.params = "part", [found.whole()], 0
    return context.parts(found)[1]


def _same(a: Operand, b: Operand) -> bool:
    """Whether two operands surely show the same elements."""
    here = a.value is b.value and a.layout is b.layout and a.shift == b.shift
    return here and a.slot is None and b.slot is None


@rewrite("div")
def ratio(value: Value, context: Context) -> Value:
    """The quotient of two sums over little is one launch: a mean of what counts."""
    if value.dtype is not dtypes.float32:
        return value
    sums: list[Value] = []
    for x in value.operands:
        if not (isinstance(x, Operand) and x.whole):
            return value
        v = x.value
        if v.op == "cast" and v.operands[0].whole and not _is_float(v.operands[0].value.dtype):
            v = v.operands[0].value
        if v.op != "sum":
            return value
        sums.append(v)
    a, b = (v.params for v in sums)
    if not (isinstance(a, Fold) and isinstance(b, Fold)):
        return value
    if a.sizes != b.sizes or prod(a.sizes) > LITTLE or sums[0].size != value.size:
        return value
    total = sums[1]
    parts = [(value.shape, value.dtype), (total.shape, total.dtype)]
    both = context.step("ratio", [v.operands[0] for v in sums], a, (), value.dtype, parts)
    quotient, divisor = context.parts(both)
    context.instead(total, divisor)
    return quotient


@anchor("ratio", inline=(0, 1))
def quotient(value: Value, context: Context) -> Kernel:
    """Both sums, the quotient and what it was divided by."""
    inputs = dict(zip("ab", value.operands, strict=True))
    results = context.parts(value)
    defines = value.params.defines(context)
    defines["TOTAL"] = "" if _is_float(results[1].dtype) else "to_int"
    return Kernel(results, [], "reduce.ratio", defines, inputs, grid=results[0].texels)


@anchor("sum_exp", inline=(0,))
def sum_exp(value: Value, context: Context) -> Kernel:
    """One stage."""
    return _kernel("reduce.exp", value, context.parts(value), context)
