"""Movement on gl gives what it gives on cpu, to the bit, and reads whole texels where it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
import tensorgl.nn.functional as F
from tensorgl import primitives as p
from tensorgl.backends import install
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.device import COPY
from tensorgl.backends.glsl.layout import inverse, layout
from tensorgl.dispatch import calln
from tests.backends.glsl.both import launches, same, values
from tests.backends.glsl.programs import STEPS, run
from tests.backends.glsl.validation import TextDevice, limits
from tests.gl import GL, TARGETS, use

on_gl = pytest.mark.usefixtures("gl_target")


def reads_and_writes(launches: Any, slots: Any) -> Iterator[tuple[set[int], set[int]]]:
    """The memories of each kernel in a list of launches; device.py says what is in one."""
    at = 0
    while at < len(launches):
        if launches[at] == COPY:
            at += 6
            continue
        outputs, inputs = launches[at + 9 : at + 11]
        middle = at + 11 + outputs
        memories = [slots[k] for k in launches[at + 11 : middle + inputs]]
        yield set(memories[outputs:]), set(memories[:outputs])
        at = middle + inputs


SHAPES = [(1,), (5,), (8,), (4, 3), (3, 8), (2, 3, 8), (2, 3, 2, 3, 4), (7, 130), (0, 4)]


@on_gl
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
class TestEveryDim:
    """Each primitive along each dim, of a dense operand and of one with its dims reversed."""

    def check(self, function: Any, shape: tuple[int, ...], dtype: str) -> None:
        x = values(*shape, dtype=dtype)
        for d in range(len(shape)):
            same(lambda t, d=d: function(t, d), x)
            same(lambda t, d=d: function(t.permute(*reversed(range(t.ndim))), d), x)

    def test_flip(self, shape: tuple[int, ...], dtype: str) -> None:
        self.check(lambda t, d: t.flip(d), shape, dtype)
        self.check(lambda t, d: t.flip(tuple({0, d})), shape, dtype)

    @pytest.mark.parametrize("widths", [(0, 0), (1, 2), (4, 4), (0, 3)], ids=str)
    def test_pad(self, shape: tuple[int, ...], dtype: str, widths: tuple[int, int]) -> None:
        self.check(lambda t, d: F.pad(t, (0, 0) * (t.ndim - 1 - d) + widths, value=1), shape, dtype)

    def test_cat(self, shape: tuple[int, ...], dtype: str) -> None:
        self.check(lambda t, d: tg.cat([t, t.flip(0), t], d), shape, dtype)

    def test_adjoint_of_narrow(self, shape: tuple[int, ...], dtype: str) -> None:
        self.check(
            lambda t, d: calln(p.narrow_backward, (t, 2), (d, t.shape[d] + 5, False)), shape, dtype
        )


@on_gl
def test_large() -> None:
    x = values(1500, 2001)
    same(lambda t: t.flip(1), x)
    same(lambda t: F.pad(t, (1, 2, 3, 4)), x)
    same(lambda t: tg.cat([t, t[:, :1000]], 1), x)
    same(lambda t: _with(t, (slice(1, None, 2), slice(3, 1999))), x)


@on_gl
class TestPad:
    def test_several_dims_at_once(self) -> None:
        for shape in [(3, 4, 5), (2, 8, 4)]:
            same(lambda t: F.pad(t, (1, 2, 0, 3, 4, 0), value=7), values(*shape))
            same(lambda t: F.pad(t, (4, 4, 0, 0, 1, 1)), values(*shape))

    def test_the_number_is_of_the_dtype(self) -> None:
        same(lambda t: F.pad(t, (1, 1), value=0.1), values(4, dtype="float16"))
        same(lambda t: F.pad(t, (1, 1), value=float("-inf")), values(4))

    def test_of_nothing(self) -> None:
        same(lambda t: F.pad(t, (2, 3), value=5), values(4, 0))
        same(lambda t: F.pad(t.flip(1), (2, 3, 1, 0)) * 2, values(0, 3))

    def test_of_a_number_that_changes_is_compiled_once(self, gl_target: str) -> None:
        x = tg.ones(6, device="gl")
        F.pad(x, (1, 2), value=1.0).cpu()
        compiles = use(gl_target).counters()["compiles"]
        assert F.pad(x, (1, 2), value=3.0).cpu().tolist() == [3, 1, 1, 1, 1, 1, 1, 3, 3]
        assert use(gl_target).counters()["compiles"] == compiles


@on_gl
class TestCat:
    @pytest.mark.parametrize("count", [13, 40, 300])
    @pytest.mark.parametrize("size", [3, 4])
    def test_of_more_operands_than_a_kernel_can_read(self, count: int, size: int) -> None:
        parts = [values(2, size, seed=k) for k in range(count)]
        same(lambda *ts: tg.cat(ts, 0), *parts)
        same(lambda *ts: tg.cat(ts, 1), *parts)
        same(lambda *ts: tg.cat([t + 1 for t in ts], 1) * 2, *parts)

    def test_of_numbers_takes_no_memory(self) -> None:
        x = tg.ones(4000, device="gl")

        def steps() -> Any:
            pieces = [tg.full((100,), float(k), device="gl") for k in range(40)]
            return x * tg.cat(pieces)

        assert launches(steps) == 1
        np.testing.assert_array_equal(steps().cpu().numpy(), np.repeat(np.arange(40.0), 100))

    def test_of_numbers_and_tensors(self) -> None:
        def joined(t: Any) -> Any:
            numbers = [tg.full((n,), 2.5, device=t.device) for n in (8, 2)]
            return tg.cat([t[:4], numbers[0], t[-4:], numbers[1], numbers[1] + t[:2]])

        same(joined, values(20))
        same(joined, values(20, dtype="float16"))

    def test_of_pieces_without_elements(self) -> None:
        same(lambda t: tg.cat([t[:, :0], t, t[:, :0], t], 1), values(3, 5))
        same(lambda t: tg.cat([t[:0], t[:0]]), values(3, 5))
        same(lambda t: tg.cat([t[:, :0], t[:, :0]], 1).sum(1), values(3, 5))

    @pytest.mark.parametrize("n", [4, 64])
    def test_of_pieces_that_read_each_other(
        self, n: int, gl_target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No kernel draws to a texture that it reads: WebGL refuses that, and others may give anything."""
        device, lists = use(gl_target).device, []

        def joined(t: Any) -> Any:
            a = t.cumsum(0)
            b = a @ t
            return tg.cat([x.reshape(-1) for x in (t @ t, a, b, b.cumsum(1))])

        def run(launches: Any, slots: Any, numbers: Any) -> None:
            lists.append((launches, slots))
            type(device).run(device, launches, slots, numbers)

        monkeypatch.setattr(device, "run", run)
        same(joined, values(n, n) // 4)
        found = [
            memories for launches, slots in lists for memories in reads_and_writes(launches, slots)
        ]
        assert len(found) >= 4
        if gl_target == "fragment":
            assert all(reads.isdisjoint(writes) for reads, writes in found)

    def test_of_expressions_is_one_launch(self) -> None:
        x = tg.tensor(values(8, 64), device="gl")

        def rotated() -> Any:
            first, second = x.chunk(2, -1)
            return tg.cat((-second.sin(), first.cos()), -1) * x

        assert launches(rotated) == 1

    def test_a_chain_is_cut_into_kernels_of_bounded_length(self) -> None:
        def rolled(t: Any) -> Any:
            for _ in range(24):
                t = t.roll(1, 0)
            return t

        same(rolled, values(100))


@on_gl
class TestUnfold:
    @pytest.mark.parametrize(
        ("length", "size", "step"), [(10, 3, 1), (11, 3, 2), (13, 2, 5), (9, 9, 1), (300, 16, 4)]
    )
    def test_adjoint(self, length: int, size: int, step: int) -> None:
        windows = (length - size) // step + 1

        def folded(g: Any) -> Any:
            return calln(p.unfold_backward, (g * 2,), (1, length, step)).relu() + 1

        same(folded, values(3, windows, size))
        same(folded, values(2, windows, 3, size, dtype="int64"))

    def test_float16_is_added_up_as_float32(self) -> None:
        g = np.full((1, 3, 2), 0.1, np.float16)
        out = calln(p.unfold_backward, (tg.tensor(g, device="gl"),), (1, 4, 1))
        exact = np.float32(np.float16(0.1)) * np.float32([[1, 2, 2, 1]])
        np.testing.assert_array_equal(out.cpu().numpy(), exact.astype(np.float16))


def _diagonals(t: Any) -> None:
    t[:4, :4].diagonal(1).copy_(t[:4, :4].diagonal(-1))
    t.diagonal().fill_(3)


def _rows_one_by_one(t: Any) -> None:
    for k in range(t.shape[0]):
        t[k] = t[-1 - k] + k


WRITES: dict[str, Any] = {
    "rows": lambda t: t[1:3].copy_(t[3:5] * 2),
    "column": lambda t: t[:, 1].fill_(7),
    "every other row": lambda t: t[1::2].copy_(t[0] + 1),
    "every other column": lambda t: t[:, ::2].copy_(t[:, :1] + 1),
    "block": lambda t: t[1:4, 2:6:2].add_(1),
    "element": lambda t: t[2, 3].fill_(9),
    "transposed": lambda t: t.t()[1:3, 2:4].copy_(t[:2, :2]),
    "flat": lambda t: t.view(-1)[5:17].copy_(t.view(-1)[20:32]),
    "windows": lambda t: t.unfold(0, 2, 2).mul_(2),
    "nothing": lambda t: t[:0].fill_(1),
    "diagonals": _diagonals,
    "rows one by one": _rows_one_by_one,
}


@on_gl
class TestWrites:
    @pytest.mark.parametrize("write", WRITES)
    @pytest.mark.parametrize("shape", [(6, 8), (7, 7), (9, 12)], ids=str)
    @pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8"])
    def test_into_a_view(self, write: str, shape: tuple[int, int], dtype: str) -> None:
        def written(t: Any) -> Any:
            t = t.clone()
            WRITES[write](t)
            return t

        same(written, values(*shape, dtype=dtype))

    def test_into_dims_that_do_not_follow_each_other(self) -> None:
        def written(t: Any) -> Any:
            t = t.clone()
            t.diagonal(dim1=0, dim2=2).fill_(1)
            t.permute(2, 0, 1)[1:3] = 5
            t[:, 1] = t[:, 0]
            return t

        for shape in [(3, 4, 5), (4, 4, 4), (3, 6, 8)]:
            same(written, values(*shape))

    def test_where_rows_begin_is_no_part_of_the_kernel(self, gl_target: str) -> None:
        x = tg.zeros((40, 8), device="gl")
        for k in (3, 5):
            x[k] = 1
            x.cpu()
        compiles = use(gl_target).counters()["compiles"]
        for k in (0, 7, 39):
            x[k] = 1
            x.cpu()
        assert use(gl_target).counters()["compiles"] == compiles
        assert x.sum(1).cpu().nonzero().flatten().tolist() == [0, 3, 5, 7, 39]

    def test_into_elements_that_share_memory_is_refused(self) -> None:
        x = tg.zeros((10,), device="gl")
        with pytest.raises(tg.errors.UnsupportedError, match=r"strides \(2, 1\).*clone"):
            x.unfold(0, 3, 2).fill_(1)
        assert x.cpu().tolist() == [0] * 10


class TestInverse:
    def test_digits_by_falling_steps(self) -> None:
        assert inverse(layout((3, 4), (1, 3))) == ((4, 3, 1), (3, 1, 4))
        assert inverse(layout((2, 5), (20, 2))) == ((2, 20, 5), (5, 2, 1))
        assert inverse(layout((1, 1), (7, 9))) == ((1, 1, 1),)

    def test_none_where_division_does_not_tell(self) -> None:
        assert inverse(layout((4, 3), (2, 1))) is None
        assert inverse(layout((2, 3), (0, 1))) is None


@pytest.fixture(params=TARGETS)
def texts(request: pytest.FixtureRequest) -> Iterator[TextDevice]:
    """Device "gl" only keeps the texts of shaders, in this test."""
    made = TextDevice(limits(request.param))
    before = install(GL, GlslBackend(made))
    yield made
    install(GL, before)


ALIGNED: dict[str, Any] = {
    "flip outer": lambda t: t.flip(0),
    "flip inner": lambda t: t.flip(1),
    "pad rows": lambda t: F.pad(t, (0, 0, 1, 2)),
    "pad by texels": lambda t: F.pad(t, (4, 8)),
    "pad the end": lambda t: F.pad(t.reshape(-1)[:45], (0, 3)),
    "cat rows": lambda t: tg.cat([t[:3], t, t[1:]]),
    "cat columns": lambda t: tg.cat([t, t + 1], 1),
    "narrow": lambda t: calln(p.narrow_backward, (t, 3), (0, 9, False)),
    "write rows": lambda t: _with(t, (slice(1, 3),)),
    "write columns": lambda t: _with(t, (slice(None), slice(4, 8))),
}


def _with(t: Any, key: Any) -> Any:
    t = t.clone()
    t[key] = t[key] * 2
    return t


@pytest.mark.parametrize("name", ALIGNED)
def test_what_is_aligned_is_read_by_texels(texts: TextDevice, name: str) -> None:
    ALIGNED[name](tg.tensor(values(6, 8), device="gl")).cpu()
    body = texts.sources[-1].split("void kernel(int t)")[1]
    assert "texel_0(" in body
    assert "element_0(" not in body


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=9),
    st.sampled_from([(5,), (8,), (4, 6), (2, 3, 4), (2, 2, 2, 2), ()]),
    st.integers(0, 2**31),
    st.sampled_from(TARGETS),
)
def test_any_program_gives_what_it_gives_on_cpu_fused_or_not(
    program: list[str], shape: tuple[int, ...], seed: int, target: str
) -> None:
    backend = use(target)
    expected = run(program, shape, seed, "cpu")
    for eager in (False, True):
        backend.eager = eager
        try:
            actual = run(program, shape, seed, "gl")
        finally:
            backend.eager = False
        np.testing.assert_array_equal(actual, expected)
