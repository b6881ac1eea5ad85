"""The safetensors format: named tensors in one file, with nothing in it that could run.

A file is an 8-byte little-endian length, a JSON header of that length, and the values. The header
gives each tensor's dtype, shape and place; `__metadata__` holds strings. The `safetensors` library
(extra `safetensors`) reads and writes it where it is installed; the code here does elsewhere, as in
Pyodide, where it has no build.

Source: the format's specification, github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from tensorgl import dtypes
from tensorgl.avals import device
from tensorgl.dispatch import to_host
from tensorgl.dtypes import BY_NAME
from tensorgl.errors import SerializationError
from tensorgl.files import write_atomically
from tensorgl.tensor import Tensor
from tensorgl.values import from_numpy

_library: Any
try:
    import safetensors.numpy  # pyright: ignore[reportUnusedImport]  (_library.numpy)

    _library = safetensors
except ImportError:
    _library = None

__all__ = ["load", "load_file", "read_metadata", "save", "save_file"]

_CODES = {
    "F64": dtypes.float64,
    "F32": dtypes.float32,
    "F16": dtypes.float16,
    "I64": dtypes.int64,
    "I32": dtypes.int32,
    "I16": dtypes.int16,
    "I8": dtypes.int8,
    "U8": dtypes.uint8,
    "BOOL": dtypes.bool,
}
_CODE_OF = {d: code for code, d in _CODES.items()}
_MAX_HEADER = 100_000_000  # bytes; the reference implementation's own bound


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors by name as the bytes of a safetensors file."""
    arrays: dict[str, Any] = {}
    for name, t in tensors.items():
        if not isinstance(name, str) or not isinstance(t, Tensor):
            raise TypeError(
                "safetensors: expected tensors by name, given "
                f"{type(name).__name__}: {type(t).__name__}"
            )
        # Not ascontiguousarray, which makes a vector of a 0-d array.
        arrays[name] = np.asarray(to_host(t.detach().cpu()), order="C")
    if _library is not None:
        return _library.numpy.save(arrays, dict(metadata) if metadata else None)
    return _pack(
        {n: (BY_NAME[a.dtype.name], a.shape, a.tobytes()) for n, a in arrays.items()}, metadata
    )


def _pack(entries: dict[str, Any], metadata: Mapping[str, str] | None) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    body: list[bytes] = []
    end = 0
    # Widest dtypes first, so that every tensor is aligned to its item size.
    for name in sorted(entries, key=lambda n: (-entries[n][0].itemsize, n)):
        d, shape, data = entries[name]
        header[name] = {
            "dtype": _CODE_OF[d],
            "shape": list(shape),
            "data_offsets": [end, end + len(data)],
        }
        body.append(data)
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, *body))


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors by name of a safetensors file's bytes; bfloat16 is read as float32.

    Raises:
        SerializationError: it is corrupt, truncated, or has a dtype that tensorgl lacks.
    """
    header, start = _header(data)
    if _library is not None:
        try:
            entries = _library.deserialize(data)
        except Exception as error:  # its exception type is private to the extension
            raise SerializationError(f"safetensors: {error}") from None
        return {
            name: _tensor(name, e["dtype"], e["shape"], e["data"]) for name, e in sorted(entries)
        }
    return {
        name: _tensor(
            name,
            e["dtype"],
            e["shape"],
            data[start + e["data_offsets"][0] : start + e["data_offsets"][1]],
        )
        for name, e in sorted(header.items())
        if name != "__metadata__"
    }


def read_metadata(data: bytes) -> dict[str, str]:
    """The strings that a safetensors file carries beside its tensors."""
    return _header(data)[0].get("__metadata__", {})


def _tensor(name: str, code: str, shape: list[int], data: Any) -> Tensor:
    if code == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
        return from_numpy(wide.view(np.float32).reshape(shape))
    d = _CODES.get(code)
    if d is None:
        raise SerializationError(
            f"safetensors: tensor {name!r} has dtype {code}; tensorgl reads BF16, {', '.join(_CODES)}"
        )
    return from_numpy(np.frombuffer(bytearray(data), d.name).reshape(shape))


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The checked header, and where the values start."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MAX_HEADER, len(data) - 8):
        raise SerializationError(
            "safetensors: no header; the file is truncated or of another format"
        )
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"safetensors: the header is not valid JSON: {error}") from None
    start = 8 + size
    try:
        _check(header, len(data) - start)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SerializationError(f"safetensors: malformed header: {error!r}") from None
    return header, start


def _check(header: Any, available: int) -> None:
    """Every byte belongs to exactly one tensor of the right size."""
    metadata = header.get("__metadata__", {})
    if not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata must be strings")
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError(f"{name}: sizes and offsets must be non-negative integers")
        code = entry["dtype"]
        item = 2 if code == "BF16" else _CODES[code].itemsize if code in _CODES else None
        if item is not None and end - begin != prod(shape) * item:
            raise ValueError(f"{name}: {end - begin} bytes for shape {shape} of {code}")
        spans.append((begin, end))
    place = 0
    for begin, end in sorted(spans):
        if begin != place:
            raise ValueError(f"bytes {place} to {begin} belong to no tensor or to two")
        place = end
    if place != available:
        raise ValueError(f"the header describes {place} bytes of values, the file has {available}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice")
    return result


def save_file(
    tensors: Mapping[str, Tensor],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors by name to a file; a file that was there stays whole until the new one is."""
    write_atomically(filename, save(tensors, metadata))


def load_file(filename: str | os.PathLike[str], device: str | device = "cpu") -> dict[str, Tensor]:
    """The tensors by name of a file, on a device."""
    with open(filename, "rb") as file:
        return {name: t.to(device) for name, t in load(file.read()).items()}
