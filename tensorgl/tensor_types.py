"""PyTorch's old types by dtype, `FloatTensor` and its like: to make tensors, and to ask about them.

`LongTensor([1, 2])` and `FloatTensor(2, 3)` make a tensor of values or of sizes, and
`isinstance(x, LongTensor)` is true for any tensor of that dtype.
"""

from __future__ import annotations

from typing import Any

from tensorgl import dtypes
from tensorgl.creation import legacy
from tensorgl.tensor import Tensor

__all__ = [
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
]


class _TensorType(type):
    """The type of these types: calling one gives a Tensor, never an instance of it."""

    dtype: dtypes.dtype

    def __call__(cls, *args: Any) -> Tensor:
        if args and isinstance(args[0], Tensor) and args[0].dtype is not cls.dtype:
            raise TypeError(
                f"{cls.__name__}(): expected a tensor of {cls.dtype}, given {args[0].dtype}; "
                "convert it with .to()"
            )
        return Tensor(*legacy(args, cls.dtype))

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype


def _type_of(kind: dtypes.dtype) -> Any:
    name = f"{kind.title}Tensor"
    members = {"dtype": kind, "__doc__": f"Tensors of {kind}.", "__module__": "tensorgl"}
    return _TensorType(name, (), members)


BoolTensor = _type_of(dtypes.bool)
ByteTensor = _type_of(dtypes.uint8)
CharTensor = _type_of(dtypes.int8)
DoubleTensor = _type_of(dtypes.float64)
FloatTensor = _type_of(dtypes.float32)
HalfTensor = _type_of(dtypes.float16)
IntTensor = _type_of(dtypes.int32)
LongTensor = _type_of(dtypes.int64)
ShortTensor = _type_of(dtypes.int16)
