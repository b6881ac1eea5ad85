"""Writing at indices: put, put_add, scatter, scatter_add, scatter_reduce.

A shader can't write where it likes, and sums have to be the same every time: so every element of the
result looks for what was sent to it. Three ways:

* few indices: an expression;
* else every texel looks at all indices, in parts that are combined afterwards if there are many;
* where that is too much work, the indices are sorted first, so that those of an element follow
  each other (scatter.sorted.glsl).

Of duplicates the last one counts, as for numpy; sums are taken in blocks in the order of the indices.
A shader can raise no error: an index out of range is sent nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value, vec
from tensorgl.backends.glsl.layout import dense_strides
from tensorgl.backends.glsl.lowering import READS, Context, anchor, rewrite
from tensorgl.backends.glsl.lowering.sorting import sorted_pairs, sorting_work

FEW = 8
"""Indices that an expression can look at."""
BLOCK = 256
"""Terms that are summed one by one; sums of blocks are summed then."""
PART = 4096
"""Indices that a part looks at, where there are many."""
SOME = 1 << 22, 1 << 18
"""Loads that are not worth a second launch; and so for software."""
SEARCHES = 1 << 23, 1 << 20
"""Loads of bisections that are not worth a launch for a table of what they find; and so for software."""


@dataclass(frozen=True)
class Scatter:
    """out[a, n, b] = x[a, n, b] combined with source[a, k, b] of all k whose index is n.

    Attributes:
        reduce: "sum", "prod", "amax" or "amin"; "" if the last source is written.
        shared: there is one index for each k; else one for each a, k, b.
        wrap: negative indices count from the end.
        parts: how many parts of the k have a result of their own.
    """

    reduce: str
    a: int
    n: int
    b: int
    k: int
    shared: bool
    wrap: bool
    parts: int = 1

    @property
    def size(self) -> int:
        """Elements of the result."""
        return self.a * self.n * self.b

    @property
    def listed(self) -> bool:
        """Whether the indices of four neighbours are the same, and begin at a texel."""
        whole = self.b == 1 and self.n % 4 == 0 and (self.k % 4 == 0 or self.a == 1)
        return self.shared or whole

    @property
    def one(self) -> bool:
        """Whether four neighbours take the same element of the source, if they take any."""
        return self.b == 1 and (self.n % 4 == 0 or self.a == 1) and bool(self.reduce)

    def work(self, software: bool) -> int:
        """About how many loads there are if every texel looks at all indices.

        Software loads sources before it knows whether they count: all its lanes take all branches.
        """
        texels = self.b % 4 == 0
        loads = 0.25 if self.listed else 1 if texels else 4
        if software and self.reduce:
            loads += 1 if texels or self.one else 4
        return int(self.size / 4 * self.k * loads)

    @property
    def blocks(self) -> int:
        """Blocks of indices, if sums of them are made first; else 0."""
        return -(-self.k // BLOCK) if self.k > PART and self.reduce else 0

    def defines(self, d: dtypes.dtype) -> dict[str, int | str]:
        """As the templates name it, for a result of dtype `d`."""
        combine, of_floats, of_integers = _COMBINE[self.reduce]
        identity = of_floats if d.category == dtypes.FLOAT else of_integers
        return {
            "N": self.n,
            "B": self.b,
            "K": self.k,
            "SIZE": self.size,
            "SHARED": int(self.shared),
            "SET": int(not self.reduce),
            "BLOCK": BLOCK,
            "BLOCKS": self.blocks,
            "COMBINE(a, b)": combine,
            "IDENTITY": f"out_vec({identity})",
            "FINISH(v)": _finish(d),
        }


_COMBINE = {
    "": ("(b)", "0.0", "0"),
    "sum": ("((a) + (b))", "0.0", "0"),
    "prod": ("((a) * (b))", "1.0", "1"),
    "amax": ("op_maximum(a, b)", "-INFINITY_()", "~0x7fffffff"),
    "amin": ("op_minimum(a, b)", "INFINITY_()", "0x7fffffff"),
}
"""How two terms become one, and what changes nothing, for floats and for integers."""
_STEPS = {"sum": "add", "prod": "mul", "amax": "maximum", "amin": "minimum"}
"""The elementwise primitive that combines two results."""


def _finish(d: dtypes.dtype) -> str:
    """A result of dtype `d`, as memory that is narrower than a shader's numbers holds it."""
    if d is dtypes.float16:
        return "round16(v)"
    if d is dtypes.bool:
        return "to_bool(v)"
    if d is dtypes.uint8:
        return "((v) & 255)"
    bits = 8 * (4 - d.itemsize)
    return f"(((v) << {bits}) >> {bits})" if d.itemsize < 4 else "(v)"


@rewrite("put", "put_add")
def put(value: Value, context: Context) -> Value:
    """The same index for all that lies before and behind the dim."""
    x, index, source = value.operands
    dim, wrap = value.params
    reduce = "sum" if value.op == "put_add" else ""
    return _scattered(value, context, dim, reduce, [x, index, source], True, wrap)


@rewrite("scatter", "scatter_add", "scatter_reduce")
def scatter(value: Value, context: Context) -> Value:
    """An index for each element of a part of the source."""
    x, index, source = value.operands
    dim: int = value.params[0]
    reduces: dict[str, str] = {"scatter": "", "scatter_add": "sum"}
    reduce = reduces[value.op] if value.op in reduces else value.params[1]
    source = source.through(index.shape, source.layout.strides)
    steps = [s if n > 1 else 0 for n, s in zip(index.shape, index.layout.strides, strict=True)]
    shared = not any(steps[:dim] + steps[dim + 1 :])  # as an index that was expanded is
    if shared:
        index = index.through((index.shape[dim],), (steps[dim],))
    part = tuple(n if d == dim else source.shape[d] for d, n in enumerate(x.shape))
    if part == x.shape:
        return _scattered(value, context, dim, reduce, [x, index, source], shared, False)
    inside = Value(value.op, [], (), part, value.dtype)
    corner = x.through(part, x.layout.strides)
    changed = _scattered(inside, context, dim, reduce, [corner, index, source], shared, False)
    operands = [x, changed.whole()]
    return context.step("scatter_corner", operands, (), value.shape, value.dtype)


def _scattered(
    value: Value,
    context: Context,
    dim: int,
    reduce: str,
    operands: list[Operand],
    shared: bool,
    wrap: bool,
) -> Value:
    """What has the value's shape and dtype: x with the source sent along a dim."""
    x, index, source = operands
    k = index.layout.size if shared else index.shape[dim]
    if not value.size or not source.layout.size:
        return context.step("copy", [x], (), value.shape, value.dtype)
    shape = value.shape
    s = Scatter(reduce, prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :]), k, shared, wrap)

    if k <= FEW:
        return context.step("scatter_few", operands, (s, dim), shape, value.dtype)
    rows = 1 if shared else s.a * s.b
    software = context.limits.software
    enough = SOME[software] + sorting_work(rows, k, software)
    if s.work(software) > enough or (k > 2 * PART and not reduce):
        return _sorted(value, context, dim, s, operands)
    if k > 2 * PART:
        return _in_parts(value, context, s, operands)
    return context.step("scatter_loop", operands, s, shape, value.dtype)


def _in_parts(value: Value, context: Context, s: Scatter, operands: list[Operand]) -> Value:
    """Results of parts of the indices, then these as one."""
    x, index, source = operands
    wide = dtypes.float32 if value.dtype.category == dtypes.FLOAT else dtypes.int32
    parts = -(-s.k // PART)
    s = replace(s, parts=parts)
    step = -(-s.size // 4) * 4
    found = context.step("scatter_loop", [source, index, source], s, (parts, step), wide).whole()
    shown = found.through((parts, s.size), (step, 1))
    total = context.step(s.reduce, [shown], ((0,), False), (s.size,), wide).whole()
    total = total.through(value.shape, dense_strides(value.shape))
    op = _STEPS[s.reduce]
    if value.dtype is wide:
        return context.step(op, [x, total], (), value.shape, wide)
    first = context.step("cast", [x], (wide,), value.shape, wide).whole()
    last = context.step(op, [first, total], (), value.shape, wide).whole()
    return context.step("cast", [last], (value.dtype,), value.shape, value.dtype)


def _sorted(value: Value, context: Context, dim: int, s: Scatter, operands: list[Operand]) -> Value:
    """The indices in order, where each element's begin if many elements want to know, then the result."""
    x, index, source = operands
    if s.wrap:
        wrapped = context.step("scatter_wrapped", [index], s.n, index.shape, dtypes.int32)
        index = wrapped.whole()
    rows = 1
    if not s.shared:
        rows = s.a * s.b
        index = index.permuted((*(d for d in range(len(index.shape)) if d != dim), dim))
    pairs, stride = sorted_pairs(index, rows, s.k, context)
    starts = blocks = pairs
    lanes = 1 if s.shared and s.b % 4 == 0 else 4
    table = s.size // 4 * lanes * 2 * s.k.bit_length() > SEARCHES[context.limits.software]
    if table:
        ends = [Number(-1, False, 0), Number(-1, False, 1)]
        each = context.step("arange", ends, (), (s.n + 1,), dtypes.int32).whole()
        each = each.through((rows, s.n + 1), (0, 1))
        keys = pairs.through((rows, s.k), (2 * stride, 2))
        found = context.step("searchsorted", [keys, each], (False,), each.shape, dtypes.int32)
        starts = found.whole()
    params = s, stride, table
    if s.blocks:
        wide = dtypes.float32 if value.dtype.category == dtypes.FLOAT else dtypes.int32
        shape = s.a, s.blocks, s.b
        blocks = context.step("scatter_blocks", [pairs, source], params, shape, wide).whole()
    operands = [x, pairs, starts, blocks, source]
    return context.step("scatter_segments", operands, params, value.shape, value.dtype)


@anchor("scatter_loop", inline=(0,))
def scatter_loop(value: Value, context: Context) -> Kernel:
    """Every texel looks at all indices."""
    s: Scatter = value.params
    defines = s.defines(value.dtype) | {
        "WRAP": s.n if s.wrap else 0,
        "LIST": int(s.listed),
        "ONE": int(s.one),
        "PARTS": s.parts,
        "PART": PART if s.parts > 1 else s.k,
        "STEP": -(-s.size // 4) * 4,
    }
    return _kernel(value, "scatter.loop", "x index source", defines)


@anchor("scatter_segments", inline=(0,))
def scatter_segments(value: Value, context: Context) -> Kernel:
    """Every texel looks at the indices that are its own."""
    s, stride, table = value.params
    defines = s.defines(value.dtype) | {"STRIDE": stride, "STARTS": int(table)}
    return _kernel(value, "scatter.segments", "x pairs starts blocks source", defines)


@anchor("scatter_blocks")
def scatter_blocks(value: Value, context: Context) -> Kernel:
    """A term for each block of indices."""
    s, stride, _ = value.params
    defines = s.defines(value.dtype) | {"STRIDE": stride, "SIZE": value.size}
    return _kernel(value, "scatter.blocks", "pairs source", defines)


def _kernel(value: Value, template: str, names: str, defines: dict[str, int | str]) -> Kernel:
    inputs: dict[str, Operand] = dict(zip(names.split(), value.operands, strict=True))
    return Kernel([value], [value], template, defines, inputs, grid=value.texels)


@map_op("scatter_wrapped")
def scatter_wrapped(e: Emitter, value: Value, index: Index) -> str:
    """Indices with negative ones counted from the end."""
    found = e.operand(value, 0, index)
    return f"{found} + (({found} >> 31) & {value.params})"


@map_op("scatter_few")
def scatter_few(e: Emitter, value: Value, index: Index) -> str:
    """Index by index: is it this element's?"""
    s, dim = value.params
    _, chosen, source = value.operands
    at = index.reshaped(value.shape) if index.order is None else index
    place = e.digits(at)[dim]
    kind, behind = vec(value.dtype), len(value.shape) - dim - 1
    steps = source.layout.strides
    along = steps[dim : len(steps) - behind]
    across = (*steps[:dim], 0, *steps[len(steps) - behind :])
    here = (0,) * len(value.shape)
    if not s.shared:
        here = tuple(0 if d == dim else n for d, n in enumerate(chosen.layout.strides))
    found = e.operand(value, 0, index)
    for k in range(s.k):
        where = [k] if not s.shared else _coordinates(k, chosen.shape)
        own = (chosen.layout.strides[dim],) if not s.shared else chosen.layout.strides
        shift = sum(c * n for c, n in zip(where, own, strict=True))
        wanted = e.load(chosen.through(value.shape, here, shift), at)
        if s.wrap:
            wanted = e.let("ivec4", f"{wanted} + (({wanted} >> 31) & {s.n})")
        hit = e.let("ivec4", f"ivec4(equal({wanted}, ivec4({place})))")
        shift = sum(c * n for c, n in zip(where, along, strict=True))
        term = e.load(source.through(value.shape, across, shift), at)
        if s.reduce:
            term = e.let(kind, f"op_{_STEPS[s.reduce]}({found}, {term})")
        found = e.let(kind, f"op_where({hit}, {term}, {found})")
    return found


READS["scatter_few"] = lambda value: value.params[0].k


def _coordinates(k: int, shape: tuple[int, ...]) -> list[int]:
    """The coordinates of the k-th element."""
    found: list[int] = []
    for n in reversed(shape):
        k, rest = divmod(k, n)
        found.insert(0, rest)
    return found


@map_op("scatter_corner")
def scatter_corner(e: Emitter, value: Value, index: Index) -> str:
    """The second operand as far as it goes, which begins where the first one does."""
    part = value.operands[1]
    at = index.reshaped(value.shape) if index.order is None else index
    at = e.element(at)
    kind = "int" if at.form == "scalar" else "ivec4"
    inside, place = "", ""
    for digit, n, whole in zip(e.digits(at), part.shape, value.shape, strict=True):
        if n < whole:
            test = f"ivec4(lessThan(ivec4({digit}), ivec4({n})))"
            inside = f"{inside} & {test}" if inside else test
            digit = f"min({digit}, {n - 1})"
        place = e.let(kind, f"{place} * {n} + {digit}" if place else digit)
    old = e.operand(value, 0, index)
    new = e.load(part, Index(at.form, place, part.shape))
    return f"op_where({e.let('ivec4', inside)}, {new}, {old})"
