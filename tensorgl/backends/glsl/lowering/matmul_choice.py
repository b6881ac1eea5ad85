"""Which kernel makes a product, by its sizes and strides and the device's limits. Pure numbers.

A product is `groups` times `rows` rows of `n` columns; the rows of a group share one matrix b. Kernels:

    matmul                 any dtype and strides, a texel an invocation: for small products
    matmul.rows            R rows (8, 6, 4 or 1) of a texel of columns an invocation
    matmul.tiled.compute   tiles through shared memory: for hardware with the compute target

The last two read 4 x 4 blocks, which is cheap where the texels of memory lie along one of an
operand's dims (`Problem.modes`). An operand of which they do not can be copied first (matmul.pad).
Where rows of the result are no whole texels, where a sum is made in parts so that there is enough to do
at a time, or where render targets are blocks of rows other than those an invocation makes, the result
goes to a scratch (`Blocks`); matmul.collect, or whatever reads the result, finds it there.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Variant
from tensorgl.backends.glsl.layout import dense_strides
from tensorgl.backends.glsl.memory import bucket
from tensorgl.backends.glsl.tuning import Family

__all__ = [
    "ACROSS",
    "ALONG_K",
    "MATMUL",
    "NEITHER",
    "PLAIN",
    "ROWS",
    "TILED",
    "Blocks",
    "Problem",
    "Side",
    "padded",
    "shape_class",
]

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

    @property
    def dots(self) -> bool:
        """Whether elements of the result are sums of products of texels."""
        return self.floats and self.modes == (ALONG_K, ALONG_K)

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


PLAIN, ROWS, TILED = "matmul", "matmul.rows", "matmul.tiled.compute"


def shape_class(p: Problem) -> tuple[int, ...]:
    """Products that are alike: where texels lie, and the sizes' powers of two."""
    return (*p.modes, *(n.bit_length() for n in (p.groups, p.rows, p.n, p.k)))


def kernels(p: Problem, limits: Limits) -> tuple[str, ...]:
    """Those that can make a product."""
    return (PLAIN, ROWS, TILED) if p.floats else (PLAIN,)


def names(p: Problem, limits: Limits) -> dict[str, int]:
    """What the heads of the kernels may ask."""
    a, b = (mode == NEITHER for mode in p.modes)
    sizes = {"GROUPS": p.groups, "ROWS": p.rows, "N": p.n, "K": p.k}
    return sizes | {"MISALIGNED": a + 2 * b}


def padded(c: Variant) -> tuple[bool, bool]:
    """Which operands a choice copies first."""
    pad = c.get("PAD", 0)
    return pad % 2 == 1, pad > 1


def cost(c: Variant, p: Problem, limits: Limits) -> float:
    """What a choice takes, as the time of texel fetches of a busy device.

    A fetch takes as long as 32 multiply-adds, and a launch as long as so many fetches that a small
    product is best made by the plain kernel.
    """
    software, fragment = limits.software, limits.target == "fragment"
    launch = 300_000 if software else 3_000_000
    # Invocations that keep all of a device busy, and the fewest of which time depends. Software
    # shares squares of 64 pixels, or work groups, out to few cores; one alone takes twice as long.
    full = 65536 if not software else 2048 if fragment else 128
    least = full if not software else 128 if fragment else 16

    def shared(work: float, invocations: int) -> float:
        fewer = full / max(invocations, 1)
        return work * max(1, min(2, fewer), fewer * least / full)

    texels = -(-p.lines * p.n // 4)
    if c.kernel == PLAIN:
        return launch + shared(texels * p.k * (3 if p.dots else 8), texels)
    total, chosen = launch, dict(c.values)
    parts, pad = chosen["PARTS"], padded(c)
    for copied, x, n in zip(pad, (p.a, p.b), (p.m, p.n), strict=True):
        batch = prod(g for g, s in zip(p.batch, x.batch, strict=True) if s)
        total += (launch + 1.5 * batch * n * p.k) * copied
    p = p.padded(pad)
    k = -(-p.k // parts)
    if c.kernel == TILED:
        bm, bn, tm, tn = (chosen[name] for name in ("BM", "BN", "TM", "TN"))
        tiles = parts * p.groups * -(-p.rows // bm) * -(-p.n // bn)
        slow = 1 + p.modes.count(NEITHER) / 2
        work = slow * tiles * bm * bn * k / (4 * (tm + tn) / 2)
        total += shared(work, tiles * bm * bn // (tm * tn))
    else:
        r = chosen["R"]
        grid = parts * p.groups * -(-p.rows // r) * p.columns
        whole = p.modes[0] == ALONG_K or (p.modes[0] == ACROSS and r in (4, 8))
        block = r * (1 if whole else 4) + (4 if p.modes[1] else 16) + r / 2
        total += shared(grid * (8 + block * k / 4), grid)
        if fragment and r > 1:  # render targets are copied
            total += r * launch / 16 + texels / 2
    blocks = Blocks.of(c, p, limits)
    if parts > 1:
        total += launch + shared(texels * (parts * (4 if p.n % 4 else 1) + 4), texels)
    elif not blocks.direct:
        total += launch / 2 + shared(texels * (4 if p.n % 4 else 1), texels)
    return total


MATMUL = Family("matmul", shape_class, kernels, names, cost)


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
    def of(c: Variant, p: Problem, limits: Limits) -> Blocks:
        """The blocks of a choice for a product whose operands are copied already."""
        rows, parts = c.get("R", 1), c["PARTS"]
        lines = -(-p.rows // rows)
        block = parts * p.groups * lines * p.columns
        result = p.lines * p.columns
        direct = parts == 1 and p.n % 4 == 0
        if limits.target == "compute":
            return Blocks(False, False, lines, block, parts * result, direct)
        if rows == 1:
            return Blocks(True, False, lines, block, block, direct)
        quads = p.modes[0] == ACROSS and rows != 6
        whole = block % bucket(result, limits.rows)[1] == 0
        if direct and whole and not quads and p.groups == 1:
            return Blocks(True, False, lines, block, result, True)
        while block % (width := bucket(rows * block, limits.rows)[1]):  # planes are whole rows
            block += -block % width
        return Blocks(True, quads, lines, block, rows * block, False)

    def view(self, c: Variant, p: Problem) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Sizes and strides that walk one part of it in the product's order, if such there are."""
        row, rows = 4 * p.columns, c.get("R", 1)
        group = (self.lines if self.planes else p.rows) * row
        if not self.planes:
            return (p.groups, p.rows, p.n), (group, row, 1)
        if p.groups > 1 and rows * self.lines != p.rows:
            return None
        plane = 4 * self.block
        if self.quads:
            sizes = p.groups, rows // 4, self.lines, 4, p.n
            return sizes, (group, 4 * plane, row, plane, 1)
        return (p.groups, rows, self.lines, p.n), (group, plane, row, 1)
