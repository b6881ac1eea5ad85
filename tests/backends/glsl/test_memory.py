"""Device memory: what is live, the pool's bound, running out, and that nothing grows."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.backends.glsl.codegen import row_of, sampled
from tensorgl.backends.glsl.device import Device, Limits
from tensorgl.backends.glsl.memory import BYTES, Pool, bucket
from tensorgl.errors import OutOfMemoryError
from tests.gl import gl_module_target, gl_target

__all__ = ["gl_module_target", "gl_target"]

GL = device("gl")


class Small(Device):
    """A device of 64 KiB that computes nothing, to run out of memory on purpose."""

    def __init__(self) -> None:
        self.limits = Limits(
            "compute", "#version 430", "small", True, 8, 16, 1 << 20, 0, 1 << 14, 256
        )
        self.memories: dict[int, int] = {}
        self.next = 0

    def allocate(self, kind: str, texels: int, width: int) -> int:
        size = texels * BYTES[kind]
        if sum(self.memories.values()) + size > 1 << 16:
            raise MemoryError
        self.next += 1
        self.memories[self.next] = size
        return self.next

    def free(self, memory: int) -> None:
        del self.memories[memory]

    def write(self, memory: int, start: int, data: bytes) -> None: ...
    def read(self, memory: int, start: int, texels: int) -> bytes:
        return b""

    def compile(self, source: str, inputs: Sequence[str], outputs: Sequence[str]) -> int:
        return 0

    def run(self, launches: array[int], slots: Sequence[int], numbers: Any) -> None: ...
    def timed(self, launches: array[int], slots: Sequence[int], numbers: Any) -> list[int]:
        return []

    def finish(self) -> None: ...
    def close(self) -> None: ...


def test_a_freed_block_is_used_again() -> None:
    pool = Pool(Small())
    first = pool.take("f32", 100)
    memory = first.memory
    del first
    pool.collect()
    assert pool.live == 0
    assert pool.pooled > 0
    assert pool.take("f32", 120).memory == memory


def test_running_out_trims_and_then_says_what_is_live() -> None:
    small = Small()
    pool = Pool(small)
    held = [pool.take("f32", 1024) for _ in range(2)]
    del held[0]
    other = pool.take("f32", 3072)  # fits only after the free block was given back
    assert len(small.memories) == 2
    with pytest.raises(OutOfMemoryError, match=r"tensors take 0\.1 MiB in 2 pieces"):
        pool.take("f32", 1024)
    del other
    pool.take("f32", 1024)


def test_a_tensor_that_is_too_large_is_refused() -> None:
    with pytest.raises(OutOfMemoryError, match="one tensor of this dtype may have at most"):
        Pool(Small()).take("f32", 1 << 22)


@given(st.integers(0, 1 << 26), st.sampled_from([0, 2048, 4096, 16384]))
def test_buckets_hold_what_they_are_for_and_waste_little(texels: int, rows: int) -> None:
    size, width = bucket(texels, rows)
    assert size >= texels
    assert size >= 1
    if rows:
        assert width & (width - 1) == 0
        assert size % width == 0
    assert size <= max(2 * texels, 2 * max(width, 1))


@given(st.integers(1, 1 << 26), st.sampled_from([2048, 4096, 16384]))
def test_rows_are_found_by_a_product_only_where_it_is_exact(texels: int, rows: int) -> None:
    size, width = bucket(texels, rows)
    software = replace(Small().limits, target="fragment", rows=rows)
    shift = f"t >> {width.bit_length() - 1}"
    assert row_of(width, replace(software, software=False)) == shift
    if row_of(width, software) == shift:
        assert width == rows
    else:
        assert row_of(width, software) == f"int(float(t) * {1 / width})"
        assert size <= 1 << 24


@given(st.integers(1, 1 << 26), st.sampled_from([2048, 4096, 16384]))
def test_texels_are_sampled_only_where_that_is_exact(texels: int, rows: int) -> None:
    size, width = bucket(texels, rows)
    limits = replace(Small().limits, target="fragment", rows=rows, renderer="llvmpipe")
    assert not sampled(width, replace(limits, renderer="some hardware"))
    if sampled(width, limits):
        rows_of_texels = np.float32(size // width)
        t = np.arange(size, dtype=np.float32) + np.float32(0.5)
        row = t * (np.float32(1 / width) / rows_of_texels) * rows_of_texels
        assert (row.astype(np.int32) == np.arange(size) // width).all()


@pytest.mark.usefixtures("gl_target")
class TestOnADevice:
    @pytest.mark.parametrize("dtype", [tg.float32, tg.int32, tg.float16, tg.uint8])
    def test_every_texel_is_read(self, dtype: Any) -> None:
        for size in (60, 3 << 12, 1 << 15, 3 << 17, (1 << 20) + 4, 3 << 20):
            values = (np.arange(size) * 40503 % 251).astype(dtype.name)
            x = tg.tensor(values, dtype=dtype, device="gl")
            assert (x.flip(0).cpu().numpy() == values[::-1]).all()

    def test_memory_is_freed_by_reference_counting(self) -> None:
        backend = backend_of(GL)
        before = backend.counters()["bytes_live"]
        a = tg.ones(1000, device="gl")
        b = a * 2
        b.cpu()
        assert backend.counters()["bytes_live"] > before
        gc.disable()
        try:
            del a, b
            assert backend.counters()["bytes_live"] == before
        finally:
            gc.enable()

    def test_variable_shapes_stay_flat(self) -> None:
        backend = backend_of(GL)
        rng = np.random.default_rng(0)
        w = tg.ones(16, device="gl")

        def work(steps: int) -> None:
            for _ in range(steps):
                n = int(rng.integers(1, 40))
                x = tg.full((n, 16), 0.5, device="gl")
                ((x * w).exp() + 1)[-1].cpu()

        work(150)
        live, pooled = (backend.counters()[k] for k in ("bytes_live", "bytes_pooled"))
        work(600)
        assert backend.counters()["bytes_live"] == live
        assert backend.counters()["bytes_pooled"] <= pooled + (1 << 16)

    def test_temporaries_share_memory(self) -> None:
        """A chain of reductions needs a few blocks, not one for each."""
        backend = backend_of(GL)
        x = tg.ones(64, 64, device="gl")
        for _ in range(2):
            backend.reset_peak()
            before = backend.counters()["bytes_live"]
            y = x
            for _ in range(20):
                y = y @ x * 0.01
            y.cpu()
            peak = backend.counters()["bytes_peak"]
            del y
        assert peak - before < 8 * 64 * 64 * 4
