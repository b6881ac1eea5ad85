"""The methods of Tensor that turn it into something else: numbers, arrays, text, dtypes, devices, copies."""

from __future__ import annotations

import copy
from typing import Any

from tensorgl import dispatch, dtypes, printing
from tensorgl import primitives as p
from tensorgl.autograd import graph
from tensorgl.autograd.methods import AutogradMethods
from tensorgl.avals import device

__all__ = ["ConversionMethods"]

Tensor = Any

_TYPE_NAMES = {f"{d.title}Tensor": d for d in dtypes.ALL}
_DLPACK_CPU = (1, 0)


class ConversionMethods(AutogradMethods):
    """What a tensor can be turned into."""

    __slots__ = ()

    def numpy(self, *, force: bool = False) -> Any:
        """The values as a numpy array, which shares memory with a tensor on cpu.

        Raises:
            RuntimeError: it requires a gradient and `force` is false.
            TypeError: it is on another device and `force` is false.
        """
        if force:
            return dispatch.to_host(self.detach())
        if self._requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
        if self._aval.device.type != "cpu":
            raise TypeError(
                f"can't convert {self._aval.device} device type tensor to numpy. Use Tensor.cpu() to "
                "copy the tensor to host memory first."
            )
        return dispatch.to_host(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(
                    f"Unable to avoid copy while creating an array of {dtype} from a tensor of "
                    f"{self._aval.dtype}"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(
        self, array: Any, context: Any = None, return_scalar: bool = False
    ) -> Tensor:
        """What numpy's functions give for a tensor is a tensor."""
        kind = dtypes.BY_NAME.get(array.dtype.name)
        return array if kind is None else dispatch.from_host(array, kind, device("cpu"))

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule of the memory, for the `from_dlpack` of another library."""
        if self._requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """(device type, id) by DLPack's numbers."""
        if self._aval.device.type != "cpu":
            raise BufferError(
                f"DLPack has no number for device {self._aval.device}; call .cpu() first"
            )
        return _DLPACK_CPU

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        if self._aval.size != 1:
            raise RuntimeError(
                f"a Tensor with {self._aval.size} elements cannot be converted to Scalar"
            )
        return dispatch.to_host(self).item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return dispatch.to_host(self).tolist()

    def data_ptr(self) -> int:
        """The address of the first element, on cpu; 0 if there is none."""
        array = self.detach().numpy()
        return array.ctypes.data if array.size else 0

    def __bool__(self) -> bool:
        if self._aval.size != 1:
            raise RuntimeError(
                "Boolean value of Tensor with "
                + ("no values" if self._aval.size == 0 else "more than one value")
                + " is ambiguous"
            )
        return bool(self.item())

    def _only_element(self) -> Any:
        if self._aval.size != 1:
            raise ValueError(
                "only one element tensors can be converted to Python scalars, given "
                f"{self._aval.size} elements"
            )
        return self.item()

    def __int__(self) -> int:
        return int(self._only_element())

    def __float__(self) -> float:
        return float(self._only_element())

    def __complex__(self) -> complex:
        return complex(self._only_element())

    def __index__(self) -> int:
        if self._aval.size != 1 or self._aval.dtype.is_floating_point:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __repr__(self) -> str:
        return printing.tensor_text(self)

    def __format__(self, spec: str) -> str:
        if self._aval.ndim == 0 and self._aval.device.type != "meta":
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """This tensor in another dtype or on another device; itself where nothing changes.

        Called as `to(dtype)`, `to(device)`, `to(device, dtype)` or `to(other)`; then, or by name,
        `non_blocking` (accepted and ignored) and `copy`, which makes a copy in any case.
        """
        kind, place, copied = _destination(args, kwargs)
        out, here = self, self._aval.device
        if place is None or place is here:
            out = _cast(out, kind)
        elif place.type == "cpu":  # which has more dtypes than others
            out = _cast(_moved(out, place), kind)
        else:
            out = _moved(_cast(out, kind), place)
        return out.clone() if copied and out is self else out

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """This tensor in another dtype, given itself or as "tensorgl.LongTensor"; without one, its name.

        Raises:
            ValueError: there is no such type.
        """
        if dtype is None:
            return f"tensorgl.{self._aval.dtype.title}Tensor"
        if isinstance(dtype, str):
            named = _TYPE_NAMES.get(dtype.rpartition(".")[2])
            if named is None:
                raise ValueError(
                    f"invalid type: '{dtype}'; expected one of {', '.join(_TYPE_NAMES)}"
                )
            dtype = named
        if not isinstance(dtype, dtypes.dtype):
            raise ValueError(f"invalid type: {dtype!r}; expected a dtype")
        return self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """This tensor in the dtype and on the device of `other`."""
        if not isinstance(other, graph.TensorBase):
            raise TypeError(
                f"type_as(): argument 'other' (position 1) must be Tensor, not {type(other).__name__}"
            )
        return self.to(other)

    def double(self) -> Tensor:
        """As float64."""
        return self.to(dtypes.float64)

    def float(self) -> Tensor:
        """As float32."""
        return self.to(dtypes.float32)

    def half(self) -> Tensor:
        """As float16."""
        return self.to(dtypes.float16)

    def long(self) -> Tensor:
        """As int64."""
        return self.to(dtypes.int64)

    def int(self) -> Tensor:
        """As int32."""
        return self.to(dtypes.int32)

    def short(self) -> Tensor:
        """As int16."""
        return self.to(dtypes.int16)

    def char(self) -> Tensor:
        """As int8."""
        return self.to(dtypes.int8)

    def byte(self) -> Tensor:
        """As uint8."""
        return self.to(dtypes.uint8)

    def bool(self) -> Tensor:
        """As bool: whether each element differs from 0."""
        return self.to(dtypes.bool)

    def cpu(self) -> Tensor:
        """This tensor on the cpu."""
        return self.to(device("cpu"))

    async def cpu_async(self) -> Tensor:
        """This tensor on the cpu, to be awaited: in a browser others work until its values are there.

        For loops that await anything, in notebooks and pages. PyTorch has no such method.
        """
        if self._aval.device.type == "cpu":
            return self
        return _arrived(self, await dispatch.to_host_async(self), device("cpu"))

    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        """There is no CUDA here; always raises."""
        raise AssertionError(
            "tensorgl has no CUDA; for the GPU, use .to('gl') or tensorgl.accelerator"
        )

    def pin_memory(self, device: Any = None) -> Tensor:
        """This tensor: no backend copies faster from pinned pages."""
        return self

    def is_pinned(self, device: Any = None) -> bool:
        """Always false."""
        return False

    @property
    def is_cuda(self) -> bool:
        """Always false."""
        return False

    def __copy__(self) -> Tensor:
        out = graph.make_tensor(self._data, self._aval)
        graph.share(self)
        out._memory, out._requires_grad = self._memory, self._requires_grad
        out.__dict__.update(self.__dict__)
        return out

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment; call .detach() first."
            )
        if id(self) not in memo:
            out = memo[id(self)] = self.detach().clone()
            out._requires_grad = self._requires_grad
            out._grad = copy.deepcopy(self._grad, memo)
            out.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        values = dispatch.to_host(self.detach())
        return _unpickled, (values, self._aval.dtype, self._aval.device, self._requires_grad)


def _destination(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Dtype, device (None: as it is) and `copy` in the arguments of `to`."""
    rest = list(args)
    kind, place = kwargs.pop("dtype", None), kwargs.pop("device", None)
    if rest and isinstance(rest[0], graph.TensorBase):
        other = rest.pop(0)._aval
        kind, place = other.dtype, other.device
    else:
        if rest and isinstance(rest[0], str | int | device | None) and rest[0] not in (True, False):
            place = rest.pop(0)
        if rest and not isinstance(rest[0], bool | str):
            kind = rest.pop(0)
    flags = dict(zip(("non_blocking", "copy"), rest, strict=False)) | kwargs
    if len(rest) > 2 or not all(isinstance(f, bool) for f in rest) or flags.keys() - _FLAGS:
        raise TypeError(
            "to() received an invalid combination of arguments; expected (dtype), (device), (device, "
            f"dtype) or (tensor), then non_blocking and copy; given {args} and {kwargs}"
        )
    return (
        dtypes.as_dtype(kind),
        None if place is None else device(place),
        flags.get("copy", False),
    )


_FLAGS = {"non_blocking", "copy", "memory_format"}


def _cast(x: Tensor, kind: dtypes.dtype | None) -> Tensor:
    return x if kind is None or kind is x._aval.dtype else dispatch.call1(p.cast, x, (kind,))


def _moved(x: Tensor, place: device) -> Tensor:
    """A copy on another device; its gradient goes back to the first."""
    return _arrived(x, dispatch.to_host(x).copy(), place)


def _arrived(x: Tensor, values: Any, place: device) -> Tensor:
    """The values of `x` as a tensor on another device."""
    out = dispatch.from_host(values, x._aval.dtype, place)
    if x._requires_grad and graph.mode.grad:
        graph.record(_to_device, (x,), (x._aval.device,), out)
    return out


_to_device = graph.Vjp(
    "to_device", ("input",), ("device",), {"input": lambda g, device: _moved(g, device)}
)


def _unpickled(values: Any, kind: dtypes.dtype, place: device, requires_grad: bool) -> Tensor:
    return dispatch.from_host(values, kind, place).requires_grad_(requires_grad)
