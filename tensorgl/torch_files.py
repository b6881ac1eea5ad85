"""Reads checkpoints that `torch.save` wrote, without PyTorch and without running what they hold.

Such a file is a zip archive: `data.pkl`, a pickle of the containers, and the values of each storage
in `data/<key>`. A pickle is a program that may call anything it names, so the unpickler here finds
only the few names that tensors and their containers need, and refuses every other.

Source: the format as PyTorch's documentation ("Serialization semantics") describes it.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tensorgl import dtypes
from tensorgl.avals import Size, device
from tensorgl.errors import SerializationError
from tensorgl.tensor import Tensor
from tensorgl.values import from_numpy

__all__ = ["load"]

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


Restore = Callable[[Tensor, str], Tensor]


class _Storage(NamedTuple):
    """The values of a storage, and the name of the device where it was."""

    values: np.ndarray[Any, Any]
    location: str


class _Kind(str):
    """The name of a storage class in a pickle; calling it is refused."""

    __slots__ = ()


class _Unpickler(pickle.Unpickler):
    """Finds only what tensors in plain containers need."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str, restore: Restore, swap: bool) -> None:
        super().__init__(io.BytesIO(archive.read(f"{prefix}data.pkl")))
        self._archive, self._prefix, self._restore, self._swap = archive, prefix, restore, swap
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        found = self._allowed().get(f"{module}.{name}")
        if found is None:
            raise SerializationError(
                f"load: the checkpoint names {module}.{name}, which is not safe to read; save plain "
                "tensors in it, such as model.state_dict()"
            )
        return found

    def _allowed(self) -> dict[str, Any]:
        return {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch.Size": Size,
            "torch.device": device,
            **{f"torch.{d.name}": d for d in dtypes.ALL},
        }

    def persistent_load(self, pid: Any) -> Any:
        """A storage."""
        tag, kind, key, location, count = pid
        if tag != "storage" or not isinstance(kind, _Kind) or not isinstance(key, str):
            raise SerializationError(f"load: unknown reference {tag!r} in the checkpoint")
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._prefix}data/{key}"))
            array = np.frombuffer(raw, "uint16" if kind == "bfloat16" else str(kind))
            if self._swap:
                array = array.byteswap()
            if kind == "bfloat16":  # the upper half of a float32
                array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
            if array.size != count:
                raise SerializationError(
                    f"load: storage {key} has {array.size} values, the checkpoint says {count}"
                )
            self._storages[key] = _Storage(array, str(location))
        return self._storages[key]

    def _tensor(
        self,
        storage: Any,
        offset: int,
        size: Any,
        stride: Any,
        requires_grad: bool = False,
        *_: Any,
    ) -> Tensor:
        if not isinstance(storage, _Storage) or len(size) != len(stride):
            raise SerializationError("load: a tensor in the checkpoint is malformed")
        numbers = (offset, *size, *stride)
        if not all(type(n) is int and n >= 0 for n in numbers):
            raise SerializationError("load: a tensor in the checkpoint has bad sizes or strides")
        array, location = storage
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= array.size:
            raise SerializationError("load: a tensor in the checkpoint reaches beyond its storage")
        if 0 in size:
            view = np.empty(size, array.dtype)
        else:
            steps = tuple(s * array.itemsize for s in stride)
            view = np.lib.stride_tricks.as_strided(array[offset:], tuple(size), steps)
        t = self._restore(from_numpy(view), location)
        return t.requires_grad_() if requires_grad else t

    def _parameter(self, data: Tensor, requires_grad: bool, *_: Any) -> Tensor:
        return data.detach().requires_grad_(bool(requires_grad))


def load(data: bytes, restore: Restore) -> Any:
    """The object in a checkpoint's bytes, each tensor what `restore(tensor, its device)` makes of it.

    Raises:
        SerializationError: it is no such checkpoint, is corrupt, or names what is not allowed.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
        pickles = [n for n in names if n.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise SerializationError("load: the zip file is no checkpoint that torch.save wrote")
        # PyTorch stores without compression, so the parts together are no larger than the file.
        if sum(i.file_size for i in archive.infolist()) > len(data):
            raise SerializationError("load: the checkpoint is compressed or its sizes are wrong")
        prefix = pickles[0].removesuffix("data.pkl")
        order = archive.read(f"{prefix}byteorder") if f"{prefix}byteorder" in names else b"little"
        unpickler = _Unpickler(archive, prefix, restore, swap=order == b"big")
        return unpickler.load()
    except SerializationError:
        raise
    except Exception as error:  # a hostile pickle can make the machine raise anything
        raise SerializationError(f"load: the checkpoint is corrupt: {error!r}") from None
