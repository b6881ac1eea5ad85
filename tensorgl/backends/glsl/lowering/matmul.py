"""Matmul: its operands as strides of flat memory, and its launches. matmul_choice.py says which."""

from __future__ import annotations

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index, physical
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value
from tensorgl.backends.glsl.layout import dense_strides, layout
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.backends.glsl.lowering.matmul_choice import (
    ACROSS,
    MATMUL,
    NEITHER,
    PLAIN,
    TILED,
    Blocks,
    Problem,
    Side,
    padded,
)
from tensorgl.backends.glsl.tuning import interface

__all__ = ["problem"]


def problem(a: Operand, b: Operand, batch: tuple[int, ...], floats: bool) -> Problem:
    """The product of operands of dims (batch, m, k) and (batch, n, k)."""
    return Problem(batch, a.shape[-2], b.shape[-2], a.shape[-1], _side(a), _side(b), floats)


def _side(x: Operand) -> Side:
    strides = _strides(x)
    if strides is None:  # it will be copied
        return Side(tuple(4 * (s > 0) for s in x.layout.strides[:-2]), 1, 1, False)
    *batch, across, k = strides
    return Side(tuple(batch), across, k, x.aligned)


def _strides(x: Operand) -> tuple[int, ...] | None:
    """Its strides in memory; None if its order there has none for each dim."""
    if x.value.order is None:
        return x.layout.strides
    if x.slot is not None or x.shift:
        return None
    found: list[int] = []
    for pair in zip(x.shape, x.layout.strides, strict=True):
        digits = physical((pair,), x.value.shape, x.value.order)
        if digits is None or len(digits) != 1:
            return None
        found.append(digits[0][1])
    return tuple(found)


def _memory(x: Operand) -> Operand:
    """Its memory from its start on, as one dim."""
    value, order = x.value, x.value.order
    if order is None:
        return x.through((-(-value.size // 4) * 4,), (1,))
    logical = dense_strides(value.shape)
    sizes, strides = (tuple(s[d] for d in order) for s in (value.shape, logical))
    return Operand(value, layout(sizes, strides))


def operands(value: Value) -> tuple[Operand, Operand, tuple[int, ...]]:
    """A matmul's operands with dims (batch, m, k) and (batch, n, k), and the sizes of the batch.

    The batch has three dims, or more where strides do not allow it. A product with a vector on the
    right is made as its transpose, whose elements lie the same.
    """
    a, b = value.operands
    last = len(b.shape) - 1
    b = b.permuted((*range(last - 1), last, last - 1))
    if b.shape[-2] == 1:
        a, b = b, a
    sizes = value.shape[:-2]
    strides = [_expanded(x, sizes) for x in (a, b)]
    dims: list[tuple[int, int, int]] = []
    for n, s, t in zip(sizes, *strides, strict=True):
        if n == 1:
            continue
        if dims and dims[-1][1:] == (n * s, n * t):
            dims[-1] = dims[-1][0] * n, s, t
        else:
            dims.append((n, s, t))
    m, row = a.shape[-2], a.layout.strides[-2]
    if len(dims) == 1 and dims[0][2] == 0 and (m == 1 or dims[0][1] == m * row):
        m, row, dims = m * dims[0][0], dims[0][1] if m == 1 else row, []
    dims = [(1, 0, 0)] * (3 - len(dims)) + dims
    batch = tuple(n for n, _, _ in dims)
    a = a.through((*batch, m, a.shape[-1]), (*(s for _, s, _ in dims), row, a.layout.strides[-1]))
    b = b.through((*batch, *b.shape[-2:]), (*(t for _, _, t in dims), *b.layout.strides[-2:]))
    return a, b, batch


def _expanded(x: Operand, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Its strides along the result's batch: 0 where it is broadcast."""
    own = zip(x.shape[:-2], x.layout.strides[:-2], strict=True)
    return (0,) * (len(sizes) - len(x.shape) + 2) + tuple(s if n > 1 else 0 for n, s in own)


@rewrite("matmul")
def matmul(value: Value, context: Context) -> Value:
    """Divide a product into steps; one that is made by the plain kernel stays what it is."""
    if not value.size:
        return value
    floats = value.dtype.category == dtypes.FLOAT
    wide = dtypes.float32 if floats else dtypes.int32
    if value.dtype.itemsize < wide.itemsize:
        sums = context.step("matmul", value.operands, (), value.shape, wide)
        return context.step("cast", [sums.whole()], (value.dtype,), value.shape, value.dtype)
    a, b, batch = operands(value)
    if not a.shape[-1]:
        zero = Number(-1, floats, 0)
        return context.step("full", [zero], (), value.shape, value.dtype)
    if len(batch) > 3:
        return context.step(
            "matmul",
            [_copied(x, value, context) for x in value.operands],
            (),
            value.shape,
            value.dtype,
        )
    p = problem(a, b, batch, floats)
    c = context.choose(MATMUL, p)
    if c.kernel == PLAIN:
        return value
    pad = padded(c)
    pair = [_rows_at_texels(x, context) if copy else x for x, copy in zip((a, b), pad, strict=True)]
    p = p.padded(pad)
    blocks = Blocks.of(c, p, context.limits)
    if blocks.direct:
        return context.step("matmul_blocks", pair, (c, batch, blocks), value.shape, value.dtype)
    scratch = context.step(
        "matmul_blocks", pair, (c, batch, blocks), (4 * blocks.texels,), dtypes.float32
    )
    walk = blocks.view(c, p) if c["PARTS"] == 1 else None
    if walk is None:
        params = c, p, blocks
        return context.step("matmul_collect", [scratch.whole()], params, value.shape, value.dtype)
    return context.step(
        "matmul_view", [scratch.whole().through(*walk)], (), value.shape, value.dtype
    )


def _copied(x: Operand, value: Value, context: Context) -> Operand:
    """A copy with all of the result's batch."""
    shape = (*value.shape[:-2], *x.shape[-2:])
    strides = (*_expanded(x, value.shape[:-2]), *x.layout.strides[-2:])
    return context.step("copy", [x.through(shape, strides)], (), shape, x.value.dtype).whole()


def _rows_at_texels(x: Operand, context: Context) -> Operand:
    """A copy whose last dim begins at texels."""
    once = _once(x)
    shape = *once.shape[:-1], -(-x.shape[-1] // 4) * 4
    return _again(context.step("matmul_pad", [once], (), shape, x.value.dtype).whole(), x)


def _once(x: Operand) -> Operand:
    """An operand without the repetitions of its broadcast dims."""
    strides = x.layout.strides
    batch = (n if s else 1 for n, s in zip(x.shape[:-2], strides[:-2], strict=True))
    return x.through((*batch, *x.shape[-2:]), strides)


def _again(copy: Operand, x: Operand) -> Operand:
    """A copy of `_once(x)`, perhaps with longer rows, in the shape of x."""
    sizes, strides = copy.shape[:-2], copy.layout.strides
    batch = (s if n > 1 else 0 for n, s in zip(sizes, strides[:-2], strict=True))
    return copy.through(x.shape, (*batch, *strides[-2:]))


@anchor("matmul")
def plain(value: Value, context: Context) -> Kernel:
    """The plain kernel."""
    a, b, batch = operands(value)
    p, inputs = _bound(a, b, batch, value, context)
    defines: dict[str, int | str] = {**_sizes(p), "SIZE": value.size, "DOTS": int(p.dots)}
    return Kernel([value], [value], PLAIN, defines, inputs, value.texels)


@anchor("matmul_blocks")
def in_blocks(value: Value, context: Context) -> Kernel:
    """A kernel of blocks. The operands may lie otherwise than was known when it was chosen."""
    c, batch, blocks = value.params
    a, b = value.operands
    p, inputs = _bound(a, b, batch, value, context)
    a_mode, b_mode = p.modes
    rows, parts = c.get("R", 1), c["PARTS"]
    tiled = interface(c.kernel) == TILED
    neighbours = tiled or blocks.quads or (rows > 1 and not blocks.planes)
    if a_mode == ACROSS and not neighbours:
        a_mode = NEITHER  # an invocation's rows are in different texels
    step = parts * c.get("BK", 4)
    part = -(-p.k // step) * (step // parts)  # a whole number of blocks
    defines: dict[str, int | str] = {
        **_sizes(p),
        "A_MODE": a_mode,
        "B_MODE": b_mode,
        "N4": p.columns,
        "GROUPS": p.groups,
        "ROWS": p.rows,
        "KP": part,
        **dict(c.values),
    }
    if tiled:
        defines["THREADS"] = c["BM"] * c["BN"] // (c["TM"] * c["TN"])
        groups = -(-p.n // c["BN"]), -(-p.rows // c["BM"]), parts * p.groups
        return Kernel([value], [value], c.kernel, defines, inputs, blocks.texels, groups=groups)
    lines = blocks.lines
    line, lane, half = (rows, 1, 4)
    if blocks.planes:
        line, lane, half = (4, 1, 4 * lines) if blocks.quads else (1, lines, 4 * lines)
    defines |= {
        "PLANES": int(blocks.planes),
        "BLOCK": blocks.block,
        "LINES": lines,
        "TEXELS": blocks.texels,
        "ROW_LINE": line,
        "ROW_LANE": lane,
        "ROW_HALF": half,
        "LAST": parts * p.groups * lines * p.columns - 1,
    }
    return Kernel([value], [value], c.kernel, defines, inputs, blocks.block, wide=rows)


@anchor("matmul_collect")
def collect(value: Value, context: Context) -> Kernel:
    """The sum of a scratch's parts, in the product's order."""
    c, p, blocks = value.params
    defines: dict[str, int | str] = {
        "SIZE": value.size,
        "N": p.n,
        "N4": p.columns,
        "GROUPS": p.groups,
        "ROWS": p.rows,
        "PARTS": c["PARTS"],
        "QUADS": int(blocks.quads),
        "LINES": blocks.lines if blocks.planes else p.rows,
        "BLOCK": blocks.block,
    }
    inputs = {"p": value.operands[0]}
    return Kernel([value], [value], "matmul.collect", defines, inputs, value.texels)


@map_op("matmul_view")
def view(e: Emitter, value: Value, index: Index) -> str:
    """A scratch's elements, in the product's order."""
    x = value.operands[0]
    if index.order is not None:
        steps = dense_strides(value.shape)
        places = [f"{d} * {s}" for d, s in zip(e.digits(index), steps, strict=True)]
        scalar = index.form == "scalar"
        place = e.let("int" if scalar else "ivec4", " + ".join(places))
        index = Index("scalar" if scalar else "lanes", place, x.shape)
    return e.load(x, index)


@anchor("matmul_pad", inline=(0,))
def pad(value: Value, context: Context) -> Kernel:
    """A copy whose last dim begins at texels."""
    x = value.operands[0]
    defines: dict[str, int | str] = {"J": x.shape[-1], "J4": value.shape[-1] // 4}
    return Kernel([value], [value], "matmul.pad", defines, {"x": x}, value.texels)


def _bound(
    a: Operand, b: Operand, batch: tuple[int, ...], value: Value, context: Context
) -> tuple[Problem, dict[str, Operand]]:
    """The product as it is in memory, and the inputs of its kernel."""
    a, b = (_again(context.realised(_once(x)), x) if _strides(x) is None else x for x in (a, b))
    p = problem(a, b, batch, value.dtype.category == dtypes.FLOAT)
    return p, {"a": _memory(a), "b": _memory(b)}


def _sizes(p: Problem) -> dict[str, int | str]:
    """Sizes and strides, as the kernels name them."""
    defines: dict[str, int | str] = {
        "M": p.m,
        "N": p.n,
        "K": p.k,
        "G1": p.batch[1],
        "G2": p.batch[2],
    }
    defines |= {"A_M": p.a.across, "A_K": p.a.k, "B_N": p.b.across, "B_K": p.b.k}
    for name, x in (("A", p.a), ("B", p.b)):
        defines |= {f"{name}_G{k}": s for k, s in enumerate(x.batch)}
    return defines
