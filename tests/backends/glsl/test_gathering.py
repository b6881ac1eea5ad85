"""Reading at indices on gl gives what it gives on cpu, and never reads outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
import tensorgl.nn.functional as F
from tensorgl import primitives as p
from tensorgl.backends import install
from tensorgl.backends.glsl import GlslBackend
from tensorgl.dispatch import calln
from tests.backends.glsl.both import launches, same, values
from tests.backends.glsl.validation import TextDevice, limits
from tests.gl import GL, TARGETS

on_gl = pytest.mark.usefixtures("gl_target")


def indices(size: int, *shape: int, negative: bool = False, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(-size if negative else 0, size, shape)


TAKES: list[tuple[tuple[int, ...], int, tuple[int, ...]]] = [
    ((7,), 0, (3,)),
    ((7, 5), 0, (4,)),
    ((7, 5), 1, (4,)),
    ((7, 8), 0, (5,)),
    ((7, 8), 0, ()),
    ((7, 6), 0, (1,)),
    ((7, 8), 0, (2, 3)),
    ((4, 5, 6), 1, (8,)),
    ((4, 5, 8), 1, (3, 2)),
    ((4, 5, 8), 2, (4,)),
    ((4, 5, 8), 2, (3,)),
    ((300, 16), 0, (40,)),
    ((1,), 0, (1,)),
    ((3, 4), 0, (0,)),
    ((5, 1, 4), 1, (6,)),
    ((2, 3, 4, 3, 2), 2, (5,)),
]
GATHERS: list[tuple[tuple[int, ...], int, tuple[int, ...]]] = [
    ((7,), 0, (3,)),
    ((7, 5), 0, (4, 5)),
    ((7, 5), 0, (2, 3)),
    ((7, 5), 1, (7, 9)),
    ((7, 8), 1, (7, 4)),
    ((7, 8), 0, (3, 8)),
    ((7, 8), 1, (7, 1)),
    ((10, 7), 0, (1, 7)),
    ((4, 5, 6), 1, (4, 8, 6)),
    ((4, 5, 6), 0, (2, 3, 4)),
    ((4, 5, 8), 2, (4, 5, 12)),
    ((100, 33), 1, (100, 1)),
]


def reversed_dims(t: Any) -> Any:
    return t.permute(*reversed(range(t.ndim)))


@on_gl
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
@pytest.mark.parametrize(("shape", "dim", "index"), TAKES)
@pytest.mark.parametrize("wrap", [False, True])
def test_take(
    shape: tuple[int, ...], dim: int, index: tuple[int, ...], dtype: str, wrap: bool
) -> None:
    x, i = values(*shape, dtype=dtype), indices(shape[dim], *index, negative=wrap)
    same(lambda t, i: calln(p.take, (t, i), (dim, wrap)), x, i)
    same(lambda t, i: calln(p.take, (t, i.to(tg.int32)), (dim, wrap)), x, i)
    turned = len(shape) - 1 - dim
    same(lambda t, i: calln(p.take, (reversed_dims(t.flip(0)), i), (turned, wrap)), x, i)


@on_gl
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
@pytest.mark.parametrize(("shape", "dim", "index"), GATHERS)
def test_gather(shape: tuple[int, ...], dim: int, index: tuple[int, ...], dtype: str) -> None:
    x, i = values(*shape, dtype=dtype), indices(shape[dim], *index)
    same(lambda t, i: t.gather(dim, i), x, i)
    turned = len(shape) - 1 - dim
    same(lambda t, i: reversed_dims(t * 2).gather(turned, reversed_dims(i)), x, i)


@on_gl
def test_large() -> None:
    x = values(2048, 1024)
    same(lambda t, i: t[i], x, indices(2048, 2048))
    same(lambda t, i: t.gather(1, i), x, indices(1024, 2048, 1024))


@on_gl
class TestIndexing:
    def test_with_several_tensors(self) -> None:
        x, i, j = values(5, 6, 4), indices(5, 3, 2, negative=True), indices(6, 2, negative=True)
        same(lambda t, i, j: t[i, j], x, i, j)
        same(lambda t, i, j: t[:, j], x, i, j)
        same(lambda t, i, j: t[i, :, 1], x, i, j)
        same(lambda t, i, j: t[i, :, j.reshape(1, 2)], x, i, j)

    def test_with_a_mask(self) -> None:
        same(lambda t: t[t > 0], values(6, 7))

    @pytest.mark.parametrize("width", [5, 16])
    def test_embedding_and_its_gradient(self, width: int) -> None:
        w, i = values(50, width), indices(50, 4, 7)
        same(lambda w, i: F.embedding(i, w), w, i)

        def gradient(w: Any, i: Any) -> Any:
            w = w.clone().requires_grad_()
            F.embedding(i, w).backward(tg.ones(4, 7, width, device=w.device))
            return w.grad

        same(gradient, w, i)

    def test_of_what_is_not_realised(self) -> None:
        x, i = values(30, 8), indices(30, 4)
        same(lambda t, i: (t * 2 + 1)[i + 0].relu(), x, i)
        t, k = tg.tensor(x, device="gl"), tg.tensor(i, device="gl")
        assert launches(lambda: (t * 2 + 1)[k].relu()) == 1

    def test_of_what_is_computed_at_length_is_realised(self) -> None:
        """Many rows of few: each is computed once, not as often as it is taken."""
        t = tg.tensor(values(4, 8), device="gl")
        k = tg.tensor(indices(4, 400), device="gl")
        assert launches(lambda: t.exp().sin().exp().sin().exp().sin()[k]) == 2


@on_gl
class TestOutOfRange:
    """cpu raises; here the nearest element is read, as a shader can raise nothing."""

    def test_take(self) -> None:
        x = tg.tensor(values(5, 4), device="gl")
        index = tg.tensor([5, 100, -6, -100, 2**31 - 1, -(2**31)], device="gl")
        expected = [x[k].tolist() for k in (4, 4, 0, 0, 4, 0)]
        assert x[index].tolist() == expected

    def test_without_counting_from_the_end(self) -> None:
        x = tg.arange(5, device="gl")
        index = tg.tensor([-1, 7], device="gl")
        assert calln(p.take, (x, index), (0, False)).tolist() == [0, 4]
        assert x.gather(0, index).tolist() == [0, 4]

    def test_several_dims(self) -> None:
        x = tg.arange(6, device="gl").reshape(2, 3)
        i, j = tg.tensor([9, -9], device="gl"), tg.tensor([1, 9], device="gl")
        assert x[i, j].tolist() == [4, 2]

    def test_of_nothing(self) -> None:
        x = tg.zeros((0, 3), device="gl")
        assert x[tg.tensor([0, 1], device="gl")].tolist() == [[0, 0, 0]] * 2


@pytest.fixture(params=TARGETS)
def texts(request: pytest.FixtureRequest) -> Iterator[TextDevice]:
    """Device "gl" only keeps the texts of shaders, in this test."""
    made = TextDevice(limits(request.param))
    before = install(GL, GlslBackend(made))
    yield made
    install(GL, before)


def test_rows_of_whole_texels_are_read_by_texels(texts: TextDevice) -> None:
    w = tg.tensor(values(50, 16), device="gl")
    F.embedding(tg.tensor(indices(50, 4, 7), device="gl"), w).cpu()
    body = texts.sources[-1].split("void kernel(int t)")[1]
    table, index = (0, 1) if "texel_0(" in body else (1, 0)
    assert body.count(f"texel_{table}(") == 1
    assert body.count(f"element_{index}(") == 1
