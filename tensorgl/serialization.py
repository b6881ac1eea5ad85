"""`save` and `load`: nested containers of tensors and plain values in one file, nothing executed.

The file is a safetensors file, which any reader of that format opens: its tensors are named "0",
"1", …, and its metadata holds under "tensorgl" the tree of containers as JSON. In the tree a tensor
is {"tensor": name}; a dict is {"dict": [[key, value], …]}, so that keys may be more than strings,
and with "ordered" an OrderedDict; a tuple {"tuple": […]}; other plain values are themselves or a
one-key object as `_encode` writes it.

`load` also reads checkpoints that `torch.save` wrote, by `torch_files`.
"""

from __future__ import annotations

import binascii
import json
from collections import OrderedDict
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast

from tensorgl import dtypes, safetensors, torch_files
from tensorgl.avals import Size, device
from tensorgl.dtypes import dtype
from tensorgl.errors import SerializationError
from tensorgl.files import read, write_atomically
from tensorgl.tensor import Tensor

__all__ = ["load", "save"]

_KEY = "tensorgl"
_VERSION = 1


def save(obj: Any, f: Any) -> None:
    """Write `obj` to a path or a binary file object.

    Args:
        obj: tensors, numbers, strings, bytes, None, dtypes, devices, and dicts, lists, tuples and sets
            of them. A tensor that appears twice is stored once, and is one tensor after loading.
        f: a path, where the file appears only when it is whole; or an object with `write`.

    Raises:
        TypeError: there is something else in it, such as a module; save its `state_dict()`.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    try:
        tree = _encode(obj, tensors, names)
    except RecursionError:
        raise TypeError("save: containers are nested too deeply, or contain themselves") from None
    text = json.dumps({"version": _VERSION, "tree": tree}, allow_nan=False)
    write_atomically(f, safetensors.save(tensors, {_KEY: text}))


def _encode(x: Any, tensors: dict[str, Tensor], names: dict[int, str]) -> Any:
    kind = type(x)
    if isinstance(x, Tensor):
        if id(x) not in names:
            names[id(x)] = str(len(names))
            tensors[names[id(x)]] = x
        entry: dict[str, Any] = {"tensor": names[id(x)]}
        return entry | ({"requires_grad": True} if x.requires_grad else {})
    if x is None or kind in (bool, int, str):
        return x
    if kind is float:
        return x if isfinite(x) else {"float": repr(x)}
    if kind is bytes:
        return {"bytes": binascii.b2a_base64(x, newline=False).decode()}
    if kind in (dict, OrderedDict):
        pairs = [[_encode(k, tensors, names), _encode(v, tensors, names)] for k, v in x.items()]
        if kind is dict:
            return {"dict": pairs}
        return {"dict": pairs, "ordered": _encode(getattr(x, "_metadata", None), tensors, names)}
    if kind is Size:
        return {"size": list(x)}
    if kind in (list, tuple, set):
        return {kind.__name__: [_encode(v, tensors, names) for v in x]}
    if isinstance(x, dtype):
        return {"dtype": x.name}
    if isinstance(x, device):
        return {"device": x.type}
    raise TypeError(
        f"save: expected tensors, plain values and containers of them, given {kind.__module__}."
        f"{kind.__qualname__}; for a module or an optimizer save its state_dict()"
    )


def load(f: Any, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """What `save`, `torch.save` or safetensors wrote; nothing in the file is ever executed.

    Args:
        f: a path or a binary file object.
        map_location: the device to put tensors on; default: cpu. Or a dict of devices by the name
            of the one they were saved from, which in PyTorch's files may be "cuda:0". Or a function
            of the tensor on cpu and that name, which gives the tensor to return.
        weights_only: PyTorch's name for what this function always does.

    Raises:
        SerializationError: it is corrupt, truncated, or holds what is not safe to read.
        ValueError: `weights_only` is false.
    """
    if not weights_only:
        raise ValueError("load: tensorgl never executes what a file holds; drop weights_only=False")
    restore = _restorer(map_location)
    data = read(f)
    if data[:2] == b"PK":
        return torch_files.load(data, restore)
    tensors = {name: restore(t, "cpu") for name, t in safetensors.load(data).items()}
    text = safetensors.read_metadata(data).get(_KEY)
    if text is None:
        return tensors
    try:
        top = json.loads(text)
        if top["version"] != _VERSION:
            raise SerializationError(
                f"load: the file is of version {top['version']}; this tensorgl reads {_VERSION}"
            )
        return _decode(top["tree"], tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SerializationError(f"load: the tree of containers is malformed: {error!r}") from None


def _restorer(map_location: Any) -> torch_files.Restore:
    """What puts a tensor on cpu, saved from a device of this name, where `load` should put it."""
    if callable(map_location):
        return cast("torch_files.Restore", map_location)
    if isinstance(map_location, Mapping):
        return lambda t, location: t.to(map_location.get(location, "cpu"))
    place = device("cpu" if map_location is None else map_location)
    return lambda t, location: t.to(place)


def _decode(x: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(x, dict):
        if isinstance(x, list):
            raise ValueError("a bare list")
        return x
    (kind, value), *rest = x.items()
    if kind == "tensor":
        t = tensors[value]
        return t.requires_grad_() if rest and x["requires_grad"] is True else t
    if kind == "dict":
        pairs = {_decode(k, tensors): _decode(v, tensors) for k, v in value}
        return _ordered(pairs, _decode(x["ordered"], tensors)) if rest else pairs
    if kind in _CONTAINERS:
        return _CONTAINERS[kind](_decode(v, tensors) for v in value)
    return _VALUES[kind](value)


def _ordered(pairs: dict[Any, Any], metadata: Any) -> OrderedDict[Any, Any]:
    """An OrderedDict with what a module's state says of versions, unless that is None."""
    out = OrderedDict(pairs)
    if metadata is not None:
        out._metadata = metadata  # type: ignore[attr-defined]
    return out


_CONTAINERS = {"list": list, "tuple": tuple, "set": set}
_VALUES = {
    "float": float,
    "bytes": lambda text: binascii.a2b_base64(text, strict_mode=True),
    "size": Size,
    "dtype": lambda name: dtypes.BY_NAME[name],
    "device": device,
}
