"""Settings of the process, and the names by which scripts ask what there is."""

from __future__ import annotations

import pytest

import tensorgl as tg
from tensorgl import nn
from tensorgl.backends.numpy import threads


def test_default_device() -> None:
    assert tg.get_default_device() == tg.device("cpu")
    tg.set_default_device("meta")
    try:
        made = (tg.ones(2), tg.rand(2), tg.tensor([1]), tg.arange(3), nn.Linear(2, 2).weight)
        assert all(x.is_meta for x in made)
        with tg.device("cpu"):
            assert tg.zeros(2).is_cpu
        assert tg.get_default_device() == tg.device("meta")
    finally:
        tg.set_default_device(None)
    assert tg.ones(2).is_cpu
    with pytest.raises(ZeroDivisionError), tg.device("meta"):
        1 / 0  # noqa: B018
    assert tg.ones(2).is_cpu


def test_threads_are_those_of_the_library() -> None:
    before = tg.get_num_threads()
    assert before >= 1
    if threads._functions() is None:
        with pytest.warns(UserWarning, match="no effect"):
            tg.set_num_threads(1)
        return
    try:
        tg.set_num_threads(before + 1)
        assert tg.get_num_threads() == before + 1
    finally:
        tg.set_num_threads(before)


@pytest.mark.parametrize("n", [0, -1, 1.5, None])
def test_threads_are_a_positive_number(n: object) -> None:
    with pytest.raises(RuntimeError, match="positive integer"):
        tg.set_num_threads(n)  # type: ignore[arg-type]


def test_another_blas_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_functions", lambda: None)
    assert tg.get_num_threads() >= 1
    with pytest.warns(UserWarning, match="no effect"):
        tg.set_num_threads(2)


def test_precision_and_determinism_are_kept() -> None:
    assert tg.get_float32_matmul_precision() == "highest"
    tg.set_float32_matmul_precision("high")
    assert tg.get_float32_matmul_precision() == "high"
    tg.set_float32_matmul_precision("highest")
    with pytest.raises(ValueError, match="low"):
        tg.set_float32_matmul_precision("low")  # type: ignore[arg-type]
    tg.use_deterministic_algorithms(True)
    assert tg.are_deterministic_algorithms_enabled()
    tg.use_deterministic_algorithms(False)
    assert not tg.are_deterministic_algorithms_enabled()


def test_there_is_no_cuda_and_no_metal() -> None:
    assert not tg.cuda.is_available()
    assert not tg.cuda.is_initialized()
    assert tg.cuda.device_count() == tg.cuda.memory_allocated() == 0
    assert tg.cuda.max_memory_allocated() == tg.cuda.memory_reserved() == 0
    assert tg.cuda.max_memory_reserved() == 0
    with pytest.raises(AssertionError, match="is_available"):
        tg.cuda.synchronize()
    assert tg.version.cuda is None
    assert not tg.backends.cuda.is_built()
    assert not tg.backends.cudnn.is_available()
    assert tg.backends.cudnn.version() is None
    assert not tg.backends.mps.is_available()
    assert not tg.backends.mps.is_built()
    x = tg.ones(2)
    assert x.get_device() == -1
    assert x.pin_memory() is x
    assert not (x.is_pinned() or x.is_mps or x.is_sparse or x.is_quantized or x.is_cuda)


def test_compile_gives_the_function() -> None:
    model = nn.ReLU()
    assert tg.compile(model, mode="reduce-overhead") is model

    @tg.compile(fullgraph=True)
    def double(x: int) -> int:
        return 2 * x

    assert double(3) == 6
    with pytest.raises(TypeError, match="int"):
        tg.compile(3)  # type: ignore[arg-type]


def test_types_by_dtype() -> None:
    assert tg.LongTensor([1, 2]).dtype is tg.int64
    assert tg.FloatTensor(2, 3).shape == (2, 3)
    assert tg.BoolTensor([1, 0]).tolist() == [True, False]
    assert tg.HalfTensor().shape == (0,)
    x = tg.ones(2)
    assert tg.FloatTensor(x).data_ptr() == x.data_ptr()
    assert isinstance(x, tg.FloatTensor)
    assert not isinstance(x, tg.LongTensor)
    assert not isinstance(1.5, tg.FloatTensor)
    with pytest.raises(TypeError, match="float64"):
        tg.FloatTensor(x.double())


def test_memory_formats_are_hints() -> None:
    x = tg.ones(2, 3)
    assert repr(tg.preserve_format) == "tensorgl.preserve_format"
    for y in (
        x.clone(memory_format=tg.preserve_format),
        x.contiguous(memory_format=tg.contiguous_format),
        x.to(memory_format=tg.channels_last),
        tg.ones_like(x, memory_format=tg.preserve_format),
        tg.rand_like(x, memory_format=tg.preserve_format),
    ):
        assert y.shape == (2, 3)
        assert y.is_contiguous()
