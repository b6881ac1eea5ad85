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

from functools import lru_cache
from math import prod
from typing import NamedTuple

from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.layout import dense_strides
from tensorgl.backends.glsl.memory import bucket

__all__ = [
    "ACROSS",
    "ALONG_K",
    "NEITHER",
    "PLAIN",
    "ROWS",
    "TILED",
    "TUNED",
    "Blocks",
    "Choice",
    "Problem",
    "Side",
    "choose",
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
MAX_LAYERS = 1 << 16
"""Counts of work groups stay below it in the y and z directions."""

TUNED: dict[tuple[int, ...], Choice] = {}
"""What measurements on this device found best, by `shape_class`."""


def shape_class(p: Problem) -> tuple[int, ...]:
    """Products that are alike: where texels lie, and the sizes' powers of two."""
    return (*p.modes, *(n.bit_length() for n in (p.groups, p.rows, p.n, p.k)))


def choose(p: Problem, limits: Limits) -> Choice:
    """The kernel for a product and its parameters: as measured, else the cheapest by estimate."""
    if not p.floats:
        return Choice(PLAIN)
    return TUNED.get(shape_class(p)) or _cheapest(p, limits)


@lru_cache(maxsize=1024)
def _cheapest(p: Problem, limits: Limits) -> Choice:
    misaligned = p.modes[0] == NEITHER, p.modes[1] == NEITHER
    pads = {(False, False), misaligned}
    parts = [1]
    while parts[-1] < MAX_PARTS and p.k >= 2 * MIN_PART * parts[-1]:
        parts.append(2 * parts[-1])
    compute = limits.target == "compute"
    most = 6 if not compute and limits.draw_buffers in (6, 7) else 8
    wide = [r for r in (most, 4, 1) if compute or r <= limits.draw_buffers]
    found = [Choice(ROWS, r, n, pad=pad) for r in wide for n in parts for pad in pads]
    if compute and not limits.software:
        tiles = [t for t in TILES if p.rows > t[0] // 2 and p.n > t[1] // 2 and p.k > t[2]]
        layers = [n for n in parts if n * p.groups < MAX_LAYERS]
        found += [Choice(TILED, 1, n, t, pad) for t in tiles for n in layers for pad in pads]
    return min([Choice(PLAIN), *found], key=lambda c: cost(c, p, limits))


def cost(c: Choice, p: Problem, limits: Limits) -> float:
    """What a choice takes, as the time of texel fetches of a busy device.

    A fetch takes as long as 32 multiply-adds, and a launch as long as so many fetches that a small
    product is best made by the plain kernel.
    """
    software, fragment = limits.software, limits.target == "fragment"
    launch = 300_000 if software else 3_000_000
    # Invocations that keep all of a device busy, and the fewest of which time depends. Software
    # shares squares of 64 pixels, or work groups, out to few cores; one alone takes twice as long.
    full = 65536 if not software else 4096 if fragment else 128
    least = full if not software else 128 if fragment else 16

    def shared(work: float, invocations: int) -> float:
        fewer = full / max(invocations, 1)
        return work * max(1, min(2, fewer), fewer * least / full)

    texels = -(-p.lines * p.n // 4)
    if c.kernel == PLAIN:
        return launch + shared(texels * p.k * (3 if p.dots else 8), texels)
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
        whole = p.modes[0] == ALONG_K or (p.modes[0] == ACROSS and c.rows in (4, 8))
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
        quads = p.modes[0] == ACROSS and c.rows != 6
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
