"""Matmul: operands as strides of flat memory, the choice of a kernel, and its launches.

A product is `groups` times `rows` rows of `n` columns; the rows of a group share one matrix b. Kernels:

    matmul                 any dtype and strides, a texel an invocation: for small products
    matmul.rows            R rows (8, 4 or 1) of a texel of columns an invocation
    matmul.tiled.compute   tiles through shared memory: for hardware with the compute target

The last two read 4 x 4 blocks, which is cheap where the texels of memory lie along one of an
operand's dims (`Problem.modes`). An operand of which they do not can be copied first (matmul.pad).
Where rows of the result are no whole texels, where a sum is made in parts so that there is enough to do
at a time, or where render targets are blocks of rows other than those an invocation makes, the result
goes to a scratch (`Blocks`); matmul.collect, or whatever reads the result, finds it there.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index, physical
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value
from tensorgl.backends.glsl.layout import dense_strides, layout
from tensorgl.backends.glsl.lowering import Context, anchor, rewrite
from tensorgl.backends.glsl.memory import bucket

__all__ = ["TUNED", "Choice", "Problem", "choose", "shape_class"]

NEITHER, ALONG_K, ACROSS = 0, 1, 2


class Side(NamedTuple):
    """An operand's strides: along the batch, along m (of a) or n (of b), along k."""

    batch: tuple[int, ...]
    across: int
    k: int
    aligned: bool  # its first element begins a texel


class Problem(NamedTuple):
    """A product by sizes and strides. The batch has three dims."""

    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a: Side
    b: Side
    floats: bool

    @property
    def groups(self) -> int:
        """How many matrices b there are."""
        return prod(self.batch) if any(self.b.batch) else 1

    @property
    def rows(self) -> int:
        """Rows of the result that share one b."""
        return prod(self.batch) // self.groups * self.m

    @property
    def lines(self) -> int:
        """Rows of the result."""
        return prod(self.batch) * self.m

    @property
    def columns(self) -> int:
        """Texels of a row of the result, the last perhaps not full."""
        return -(-self.n // 4)

    @property
    def modes(self) -> tuple[int, int]:
        """Along what the texels of a and of b lie."""
        a = _mode(self.a, self.m, self.k)
        if a == ACROSS and self.rows != self.m and self.m % 4:
            a = NEITHER  # four rows would be of two matrices
        return a, _mode(self.b, self.n, self.k)

    def padded(self, pad: tuple[bool, bool]) -> Problem:
        """The same with copies of one or both operands, whose texels lie along k."""
        a, b = (
            _padded(self.batch, x, n, self.k) if copied else x
            for copied, x, n in zip(pad, (self.a, self.b), (self.m, self.n), strict=True)
        )
        return self._replace(a=a, b=b)


def _mode(x: Side, across: int, k: int) -> int:
    if not x.aligned or any(s % 4 for s in x.batch):
        return NEITHER
    if x.k == 1 and k > 1 and (x.across % 4 == 0 or across == 1):
        return ALONG_K
    if x.across == 1 and across > 1 and (x.k % 4 == 0 or k == 1):
        return ACROSS
    return NEITHER


def _padded(batch: tuple[int, ...], x: Side, across: int, k: int) -> Side:
    sizes = tuple(n if s else 1 for n, s in zip(batch, x.batch, strict=True))
    pitch = -(-k // 4) * 4
    steps = dense_strides((*sizes, across, pitch))[:-2]
    return Side(tuple(s if n > 1 else 0 for n, s in zip(sizes, steps, strict=True)), pitch, 1, True)


class Choice(NamedTuple):
    """How a product is made.

    Attributes:
        kernel: "matmul", "matmul.rows" or "matmul.tiled.compute".
        rows: that an invocation of matmul.rows makes.
        parts: into which the sum is divided.
        tile: BM, BN, BK, TM, TN of matmul.tiled.
        pad: which operands are copied first.
    """

    kernel: str
    rows: int = 1
    parts: int = 1
    tile: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    pad: tuple[bool, bool] = (False, False)


PLAIN, ROWS, TILED = "matmul", "matmul.rows", "matmul.tiled.compute"
TILES = ((128, 128, 16, 8, 8), (128, 64, 16, 8, 4), (64, 64, 16, 4, 4), (32, 32, 16, 4, 4))
MIN_PART, MAX_PARTS = 32, 1024

TUNED: dict[tuple[int, ...], Choice] = {}
"""What measurements on this device found best, by `shape_class`."""


def shape_class(p: Problem) -> tuple[int, ...]:
    """Products that are alike: where texels lie, and the sizes' powers of two."""
    return (*p.modes, *(n.bit_length() for n in (p.groups, p.rows, p.n, p.k)))


def choose(p: Problem, limits: Limits) -> Choice:
    """The kernel for a product and its parameters: as measured, else the cheapest by estimate."""
    if not p.floats:
        return Choice(PLAIN)
    tuned = TUNED.get(shape_class(p))
    if tuned is not None:
        return tuned
    misaligned = p.modes[0] == NEITHER, p.modes[1] == NEITHER
    pads = {(False, False), misaligned}
    parts = [1]
    while parts[-1] < MAX_PARTS and p.k >= 2 * MIN_PART * parts[-1]:
        parts.append(2 * parts[-1])
    wide = [r for r in (8, 4, 1) if limits.target == "compute" or r <= limits.draw_buffers]
    found = [Choice(ROWS, r, n, pad=pad) for r in wide for n in parts for pad in pads]
    if limits.target == "compute" and not limits.software:
        found += [Choice(TILED, 1, n, t, pad) for t in TILES for n in parts for pad in pads]
    return min([Choice(PLAIN), *found], key=lambda c: cost(c, p, limits))


def cost(c: Choice, p: Problem, limits: Limits) -> float:
    """What a choice takes, as the time of texel fetches of a busy device.

    A fetch takes as long as 32 multiply-adds, and a launch as long as so many fetches that a small
    product is best made by the plain kernel.
    """
    software, fragment = limits.software, limits.target == "fragment"
    launch = 40_000 if software else 600_000
    # Invocations that keep all of a device busy. Software shares out squares of 64 pixels, or work
    # groups, to few cores: alone, one of them is not much slower.
    full = 65536 if not software else 8192 if fragment else 128
    idle = 3 if software else full

    def shared(work: float, invocations: int) -> float:
        return work * max(1, min(idle, full / max(invocations, 1)))

    texels = -(-p.lines * p.n // 4)
    if c.kernel == PLAIN:
        return launch + shared(texels * p.k * (3 if _dots(p) else 8), texels)
    total = launch
    for copied, x, n in zip(c.pad, (p.a, p.b), (p.m, p.n), strict=True):
        batch = prod(g for g, s in zip(p.batch, x.batch, strict=True) if s)
        total += (launch + 1.5 * batch * n * p.k) * copied
    p = p.padded(c.pad)
    k = -(-p.k // c.parts)
    if c.kernel == TILED:
        bm, bn, _, tm, tn = c.tile
        tiles = c.parts * p.groups * -(-p.rows // bm) * -(-p.n // bn)
        slow = 1 + p.modes.count(NEITHER) / 2
        work = slow * tiles * bm * bn * k / (4 * (tm + tn) / 2)
        total += shared(work, tiles * bm * bn // (tm * tn))
    else:
        grid = c.parts * p.groups * -(-p.rows // c.rows) * p.columns
        whole = p.modes[0] == ALONG_K or (p.modes[0] == ACROSS and c.rows > 1)
        block = c.rows * (1 if whole else 4) + (4 if p.modes[1] else 16) + c.rows / 2
        total += shared(grid * (8 + block * k / 4), grid)
        if fragment and c.rows > 1:  # render targets are copied
            total += c.rows * launch / 8 + texels / 2
    blocks = Blocks.of(c, p, limits)
    if c.parts > 1:
        total += launch + shared(texels * (c.parts * (4 if p.n % 4 else 1) + 4), texels)
    elif not blocks.direct:
        total += launch / 2 + shared(texels * (4 if p.n % 4 else 1), texels)
    return total


def _dots(p: Problem) -> bool:
    return p.floats and p.modes == (ALONG_K, ALONG_K)


class Blocks(NamedTuple):
    """Where a kernel leaves its result.

    Without `planes` as [part, group, row, column]. With them result r of invocation t is texel
    r * block + t, and an invocation is a [part, group, line, column]: its R rows are line + r * lines, or,
    if they are `quads`, four neighbours, and four that lie 4 * lines further.
    """

    planes: bool
    quads: bool
    lines: int
    block: int
    texels: int
    direct: bool  # it is the product's row-major memory

    @staticmethod
    def of(c: Choice, p: Problem, limits: Limits) -> Blocks:
        """The blocks of a choice for a product whose operands are copied already."""
        lines = -(-p.rows // c.rows)
        block = c.parts * p.groups * lines * p.columns
        result = p.lines * p.columns
        direct = c.parts == 1 and p.n % 4 == 0
        if limits.target == "compute":
            return Blocks(False, False, lines, block, c.parts * result, direct)
        if c.rows == 1:
            return Blocks(True, False, lines, block, block, direct)
        quads = p.modes[0] == ACROSS
        whole = block % bucket(result, limits.rows)[1] == 0
        if direct and whole and not quads and p.groups == 1:
            return Blocks(True, False, lines, block, result, True)
        while block % (width := bucket(c.rows * block, limits.rows)[1]):  # planes are whole rows
            block += -block % width
        return Blocks(True, quads, lines, block, c.rows * block, False)

    def view(self, c: Choice, p: Problem) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Sizes and strides that walk one part of it in the product's order, if such there are."""
        row = 4 * p.columns
        group = (self.lines if self.planes else p.rows) * row
        if not self.planes:
            return (p.groups, p.rows, p.n), (group, row, 1)
        if p.groups > 1 and c.rows * self.lines != p.rows:
            return None
        plane = 4 * self.block
        if self.quads:
            sizes = p.groups, c.rows // 4, self.lines, 4, p.n
            return sizes, (group, 4 * plane, row, plane, 1)
        return (p.groups, c.rows, self.lines, p.n), (group, plane, row, 1)


def problem(a: Operand, b: Operand, batch: tuple[int, ...], floats: bool) -> Problem:
    """The product of operands of dims (batch, m, k) and (batch, n, k)."""
    return Problem(batch, a.shape[-2], b.shape[-2], a.shape[-1], _side(a), _side(b), floats)


def _side(x: Operand) -> Side:
    strides = _strides(x)
    if strides is None:  # it will be copied
        return Side((4,) * (len(x.shape) - 2), 1, 1, False)
    return Side(strides[:-2], *strides[-2:], x.aligned)


def _strides(x: Operand) -> tuple[int, ...] | None:
    """Its strides in memory; None if its order there has none for each dim."""
    if x.value.order is None:
        return x.layout.strides
    if x.slot is not None or x.shift:
        return None
    found: list[int] = []
    for pair in zip(x.shape, x.layout.strides, strict=True):
        digits = physical((pair,), x.value.shape, x.value.order)
        if digits is None or len(digits) > 1:
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
    a, b, batch = operands(value)
    floats = value.dtype.category == dtypes.FLOAT
    if not a.shape[-1] and value.size:
        zero = Number(-1, floats, 0)
        return context.step("full", [zero], (), value.shape, value.dtype)
    if len(batch) > 3:
        return context.step("matmul", [_copied(x, value, context) for x in value.operands], (), value.shape, value.dtype)
    p = problem(a, b, batch, floats)
    c = choose(p, context.limits)
    if c.kernel == PLAIN or not value.size:
        return value
    pair = [_rows_at_texels(x, context) if copy else x for x, copy in zip((a, b), c.pad, strict=True)]
    p = p.padded(c.pad)
    blocks = Blocks.of(c, p, context.limits)
    if blocks.direct:
        return context.step("matmul_blocks", pair, (c, batch, blocks), value.shape, value.dtype)
    scratch = context.step("matmul_blocks", pair, (c, batch, blocks), (4 * blocks.texels,), dtypes.float32)
    walk = blocks.view(c, p) if c.parts == 1 else None
    if walk is None:
        params = c, p, blocks
        return context.step("matmul_collect", [scratch.whole()], params, value.shape, value.dtype)
    return context.step("matmul_view", [scratch.whole().through(*walk)], (), value.shape, value.dtype)


def _copied(x: Operand, value: Value, context: Context) -> Operand:
    """A copy with all of the result's batch."""
    shape = (*value.shape[:-2], *x.shape[-2:])
    strides = (*_expanded(x, value.shape[:-2]), *x.layout.strides[-2:])
    return context.step("copy", [x.through(shape, strides)], (), shape, value.dtype).whole()


def _rows_at_texels(x: Operand, context: Context) -> Operand:
    """A copy whose last dim begins at texels."""
    strides = x.layout.strides
    own = tuple(n if s else 1 for n, s in zip(x.shape[:-2], strides[:-2], strict=True))
    sizes = *own, *x.shape[-2:]
    pitch = -(-x.shape[-1] // 4) * 4
    copy = context.step(
        "matmul_pad", [x.through(sizes, strides)], (), (*sizes[:-1], pitch), x.value.dtype
    ).whole()
    steps = tuple(s if n > 1 else 0 for n, s in zip(own, copy.layout.strides, strict=False))
    return copy.through(x.shape, (*steps, pitch, 1))


@anchor("matmul")
def plain(value: Value, context: Context) -> Kernel:
    """The plain kernel."""
    a, b, batch = operands(value)
    p, inputs = _bound(a, b, batch, value, context)
    defines: dict[str, int | str] = {**_sizes(p), "SIZE": value.size, "DOTS": int(_dots(p))}
    return Kernel([value], [value], PLAIN, defines, inputs, value.texels)


@anchor("matmul_blocks")
def in_blocks(value: Value, context: Context) -> Kernel:
    """A kernel of blocks. The operands may lie otherwise than was known when it was chosen."""
    c, batch, blocks = value.params
    p, inputs = _bound(*value.operands, batch, value, context)
    a_mode, b_mode = p.modes
    if a_mode == ACROSS and (c.rows == 1 or blocks.planes) and not blocks.quads:
        a_mode = NEITHER  # its rows are no neighbours
    unit = c.tile[2] or 4
    part = -(-(-(-p.k // c.parts)) // unit) * unit
    defines: dict[str, int | str] = {
        **_sizes(p),
        "A_MODE": a_mode,
        "B_MODE": b_mode,
        "N4": p.columns,
        "GROUPS": p.groups,
        "ROWS": p.rows,
        "KP": part,
    }
    if c.kernel == TILED:
        bm, bn, bk, tm, tn = c.tile
        tile = {"BM": bm, "BN": bn, "BK": bk, "TM": tm, "TN": tn, "THREADS": bm * bn // (tm * tn)}
        groups = -(-p.n // bn), -(-p.rows // bm), c.parts * p.groups
        return Kernel(
            [value], [value], TILED, {**defines, **tile}, inputs, blocks.texels, groups=groups
        )
    lines = blocks.lines
    line, lane, half = (c.rows, 1, 4)
    if blocks.planes:
        line, lane, half = (4, 1, 4 * lines) if blocks.quads else (1, lines, 4 * lines)
    defines |= {
        "R": c.rows,
        "PLANES": int(blocks.planes),
        "BLOCK": blocks.block,
        "LINES": lines,
        "TEXELS": blocks.texels,
        "ROW_LINE": line,
        "ROW_LANE": lane,
        "ROW_HALF": half,
        "LAST": c.parts * p.groups * lines * p.columns - 1,
    }
    return Kernel([value], [value], ROWS, defines, inputs, blocks.block, wide=c.rows)


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
        "PARTS": c.parts,
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
    if index.order is None:
        return e.load(x, index)
    steps = dense_strides(value.shape)
    terms = " + ".join(f"{d} * {s}" for d, s in zip(e.digits(index), steps, strict=True))
    form = "scalar" if index.form == "scalar" else "lanes"
    place = e.let("int" if form == "scalar" else "ivec4", terms)
    return e.load(x, Index(form, place, x.shape))


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
    a, b = (context.realised(x) if _strides(x) is None else x for x in (a, b))
    p = problem(a, b, batch, value.dtype.category == dtypes.FLOAT)
    return p, {"a": _memory(a), "b": _memory(b)}


def _sizes(p: Problem) -> dict[str, int | str]:
    """Sizes and strides, as the kernels name them."""
    defines: dict[str, int | str] = {"M": p.m, "N": p.n, "K": p.k, "G1": p.batch[1], "G2": p.batch[2]}
    defines |= {"A_M": p.a.across, "A_K": p.a.k, "B_N": p.b.across, "B_K": p.b.k}
    for name, x in (("A", p.a), ("B", p.b)):
        defines |= {f"{name}_G{k}": s for k, s in enumerate(x.batch)}
    return defines
