"""`save` and `load`: round trips, and files that are corrupt, truncated or hostile."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl import safetensors
from tensorgl.errors import SerializationError

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tg.Tensor):
        return (
            isinstance(b, tg.Tensor)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and a.detach().contiguous().numpy().tobytes()
            == b.detach().contiguous().numpy().tobytes()
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return repr(a) == repr(b)


arrays = st.builds(
    lambda name, shape: tg.from_numpy(np.arange(np.prod(shape)).reshape(shape).astype(name)),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=8)
)
keys = st.one_of(st.text(), st.integers(), st.booleans(), st.tuples(st.integers(), st.text()))
trees = st.recursive(
    st.one_of(plain, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)


@given(trees)
def test_round_trip(tree: Any) -> None:
    buffer = io.BytesIO()
    tg.save(tree, buffer)
    buffer.seek(0)
    assert same(tree, tg.load(buffer))


def test_other_values_round_trip(tmp_path: Path) -> None:
    value = {
        "size": tg.Size((2, 3)),
        "dtype": tg.float16,
        "device": tg.device("cpu"),
        "set": {1, 2},
    }
    tg.save(value, tmp_path / "f")
    back = tg.load(tmp_path / "f")
    assert back == value
    assert type(back["size"]) is tg.Size


def test_shared_and_strided_tensors(tmp_path: Path) -> None:
    t = tg.arange(12).reshape(3, 4).t()[1:]
    p = tg.ones(2, requires_grad=True)
    tg.save([t, t, p], tmp_path / "f")
    a, b, q = tg.load(tmp_path / "f")
    assert a is b
    assert same(a, t)
    assert q.requires_grad
    assert q.is_leaf


def test_modules_and_optimizers_by_state_dict(tmp_path: Path) -> None:
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.BatchNorm1d(4))
    tg.save(model.state_dict(), tmp_path / "f")
    other = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.BatchNorm1d(4))
    other.load_state_dict(tg.load(tmp_path / "f"))
    x = tg.randn(5, 3)
    assert same(model.eval()(x), other.eval()(x))
    with pytest.raises(TypeError, match=r"save its state_dict\(\)"):
        tg.save(model, tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_saving_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    tg.save([1], path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tg.save([2], path)
    assert tg.load(path) == [1]
    assert os.listdir(tmp_path) == ["f"]


def test_containers_that_contain_themselves_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested too deeply"):
        tg.save(loop, io.BytesIO())


SAMPLE = safetensors._pack(
    {"a": (tg.float32, (2, 2), np.ones(4, "f").tobytes()), "b": (tg.int64, (1,), b"\1" * 8)},
    {"tensorgl": json.dumps({"version": 1, "tree": {"list": [{"tensor": "a"}, {"tensor": "b"}]}})},
)


@given(st.data())
@settings(max_examples=400)
def test_corrupt_files_raise_serialization_error_only(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        k = data.draw(st.integers(0, len(damaged) - 1))
        damaged[k] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:end])):
        with contextlib.suppress(SerializationError):
            tg.load(io.BytesIO(candidate))


def header(text: str | dict[str, Any], body: bytes = b"") -> bytes:
    raw = (text if isinstance(text, str) else json.dumps(text)).encode()
    return struct.pack("<Q", len(raw)) + raw + body


HOSTILE = {
    "empty": b"",
    "short": b"\0\0",
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "not JSON": header("{"),
    "deep JSON": header("[" * 100_000),
    "a list": header("[]"),
    "overlap": header(
        {n: {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]} for n in "ab"}, b"ab"
    ),
    "beyond the end": header({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, b"ab"),
    "negative": header({"a": {"dtype": "U8", "shape": [-2], "data_offsets": [0, -2]}}, b"ab"),
    "wrong size": header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2]}}, b"ab"),
    "unknown dtype": header({"a": {"dtype": "F8", "shape": [2], "data_offsets": [0, 2]}}, b"ab"),
    "hole": header({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"ab"),
    "twice": header('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}'),
    "tree of nonsense": header({"__metadata__": {"tensorgl": '{"version":1,"tree":{"call":1}}'}}),
    "tree of the future": header({"__metadata__": {"tensorgl": '{"version":2,"tree":1}'}}),
    "missing tensor": header({"__metadata__": {"tensorgl": '{"version":1,"tree":{"tensor":"x"}}'}}),
    "a text file": b"hello, this is a text file of some length, and no tensors are in it",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("library", [True, False])
def test_hostile_files(name: str, library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not library:
        monkeypatch.setattr(safetensors, "_library", None)
    with pytest.raises(SerializationError):
        tg.load(io.BytesIO(HOSTILE[name]))


@given(
    st.dictionaries(st.text(min_size=1).filter(lambda n: n != "__metadata__"), arrays, max_size=4)
)
@settings(max_examples=50)
def test_our_safetensors_and_the_librarys_read_each_other(tensors: dict[str, tg.Tensor]) -> None:
    by_library = safetensors.save(tensors, {"k": "v"})
    library = safetensors._library
    assert library is not None
    safetensors._library = None  # type: ignore[assignment]
    try:
        by_us = safetensors.save(tensors, {"k": "v"})
        ours = safetensors.load(by_library)
    finally:
        safetensors._library = library  # type: ignore[assignment]
    assert same(dict(sorted(tensors.items())), dict(sorted(ours.items())))
    assert same(dict(sorted(tensors.items())), dict(sorted(safetensors.load(by_us).items())))
    assert safetensors.read_metadata(by_us) == safetensors.read_metadata(by_library) == {"k": "v"}


def test_bfloat16_is_read_as_float32() -> None:
    values = np.array([1.5, -2.0, 3.0e38], np.float32)
    body = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    data = header({"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}, body)
    np.testing.assert_allclose(safetensors.load(data)["a"].numpy(), values, rtol=1e-2)


def test_files_of_safetensors(tmp_path: Path) -> None:
    safetensors.save_file({"w": tg.ones(2)}, tmp_path / "f.safetensors", {"made": "here"})
    assert safetensors.load_file(tmp_path / "f.safetensors")["w"].tolist() == [1, 1]
    assert tg.load(tmp_path / "f.safetensors")["w"].tolist() == [1, 1]


# -- checkpoints of torch.save ----------------------------------------------------------------


class _Name:
    """Pickles as a global of another module, as PyTorch's own pickles name theirs."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Pickler(pickle._Pickler):  # the Python one, whose way of saving can be changed
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Name):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(b"R")
        elif isinstance(obj, _Storage):
            self.save(("storage", _Name("torch", obj.kind), obj.key, obj.location, obj.count))
            self.write(b"Q")
        else:
            super().save(obj, save_persistent_id)


class _Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class _Storage:
    def __init__(self, kind: str, key: str, count: int, location: str = "cpu") -> None:
        self.kind, self.key, self.count, self.location = kind, key, count, location


REBUILD = _Name("torch._utils", "_rebuild_tensor_v2")


def checkpoint(
    obj: Any, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A file as torch.save writes it."""
    body, out = io.BytesIO(), io.BytesIO()
    _Pickler(body, protocol=2).dump(obj)
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", body.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values)
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def tensor_of(storage: _Storage, offset: int, size: Any, stride: Any) -> _Call:
    return _Call(
        REBUILD, storage, offset, size, stride, False, _Call(_Name("collections", "OrderedDict"))
    )


def test_a_torch_checkpoint() -> None:
    floats = np.arange(6, dtype="<f4").tobytes()
    storage = _Storage("FloatStorage", "0", 6)
    weight = tensor_of(storage, 0, (3, 2), (1, 3))  # strided: the transpose of (2, 3)
    bias = tensor_of(_Storage("BFloat16Storage", "1", 2), 0, (2,), (1,))
    parameter = _Call(
        _Name("torch._utils", "_rebuild_parameter"),
        weight,
        True,
        _Call(_Name("collections", "OrderedDict")),
    )
    data = checkpoint(
        {"w": weight, "b": bias, "p": parameter, "lr": 0.1, "names": ["x", None]},
        {"0": floats, "1": np.array([0x3F80, 0x4000], "<u2").tobytes()},
    )
    loaded = tg.load(io.BytesIO(data))
    assert loaded["w"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert loaded["b"].tolist() == [1, 2]
    assert loaded["p"].requires_grad
    assert (loaded["lr"], loaded["names"]) == (0.1, ["x", None])


def test_map_location_by_name_or_function() -> None:
    storage = _Storage("FloatStorage", "0", 2, "cuda:0")
    data = checkpoint(tensor_of(storage, 0, (2,), (1,)), {"0": np.ones(2, "<f4").tobytes()})
    own = io.BytesIO()
    tg.save(tg.ones(2), own)
    for file, place in ((data, "cuda:0"), (own.getvalue(), "cpu")):
        t, location = tg.load(io.BytesIO(file), lambda *given: given)
        assert (t.tolist(), location) == ([1, 1], place)
        for mapping, expected in (({place: "meta"}, "meta"), ({"cuda:1": "meta"}, "cpu")):
            assert tg.load(io.BytesIO(file), mapping).device.type == expected


def test_an_ordered_dict_comes_back_with_its_versions() -> None:
    state = tg.nn.Sequential(tg.nn.Linear(1, 1)).state_dict()
    buffer = io.BytesIO()
    tg.save({"model": state, "plain": {}, "empty": OrderedDict()}, buffer)
    buffer.seek(0)
    loaded = tg.load(buffer)
    assert [type(v) for v in loaded.values()] == [OrderedDict, dict, OrderedDict]
    assert same(loaded["model"], state)
    assert loaded["model"]._metadata == state._metadata == {"": {"version": 1}, "0": {"version": 1}}


FLOATS = np.ones(4, "<f4").tobytes()


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/tensorgl-was-here",)


UNSAFE = {
    "a call": checkpoint(_Evil(), {}),
    "an unknown class": checkpoint(_Call(_Name("torch.nn.modules.linear", "Linear")), {}),
    "builtins": checkpoint(_Call(_Name("builtins", "eval"), "1"), {}),
    "beyond the storage": checkpoint(
        tensor_of(_Storage("FloatStorage", "0", 4), 1, (4,), (1,)), {"0": FLOATS}
    ),
    "negative stride": checkpoint(
        tensor_of(_Storage("FloatStorage", "0", 4), 0, (2,), (-1,)), {"0": FLOATS}
    ),
    "huge size": checkpoint(
        tensor_of(_Storage("FloatStorage", "0", 4), 0, (1 << 60,), (1,)), {"0": FLOATS}
    ),
    "wrong count": checkpoint(
        tensor_of(_Storage("FloatStorage", "0", 5), 0, (4,), (1,)), {"0": FLOATS}
    ),
    "missing storage": checkpoint(tensor_of(_Storage("FloatStorage", "9", 4), 0, (4,), (1,)), {}),
    "path out": checkpoint(
        tensor_of(_Storage("FloatStorage", "../data.pkl", 4), 0, (4,), (1,)), {}
    ),
    "bomb": checkpoint(
        tensor_of(_Storage("FloatStorage", "0", 1 << 20), 0, (4,), (1,)),
        {"0": bytes(4 << 20)},
        zipfile.ZIP_DEFLATED,
    ),
    "no pickle": checkpoint(1, {})[:60],
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_checkpoints_are_refused(name: str) -> None:
    with pytest.raises(SerializationError):
        tg.load(io.BytesIO(UNSAFE[name]))
    assert not os.path.exists("/tmp/tensorgl-was-here")


@given(st.data())
@settings(max_examples=200)
def test_damaged_checkpoints_raise_serialization_error_only(data: st.DataObject) -> None:
    damaged = bytearray(
        checkpoint(tensor_of(_Storage("FloatStorage", "0", 4), 0, (4,), (1,)), {"0": FLOATS})
    )
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SerializationError):
        tg.load(io.BytesIO(bytes(damaged)))


def test_weights_only_cannot_be_turned_off() -> None:
    with pytest.raises(ValueError, match="never executes"):
        tg.load(io.BytesIO(SAMPLE), weights_only=False)
