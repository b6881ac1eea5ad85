"""New tensors from a rule: filled with one value, ranges, the identity."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite
from typing import Any

import numpy as np

from tensorgl import dispatch, dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import op
from tensorgl.dtypes import as_dtype
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.ops.movement import as_shape
from tensorgl.tensor import Tensor
from tensorgl.values import Kind, Place, as_device, as_leaf, tensor

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "scalar_tensor",
    "zeros",
    "zeros_like",
]

Shape = tuple[int, ...]
Number = int | float | bool | Tensor


def as_size(name: str, sizes: tuple[Any, ...], size: Any = None) -> Shape:
    """The shape in `f(2, 3)`, `f((2, 3))` or `f(size=(2, 3))`.

    Raises:
        TypeError: there is none, or it is not of integers.
        RuntimeError: a size is negative.
    """
    if size is not None:
        sizes = (size,)
    elif len(sizes) == 1 and isinstance(sizes[0], Tensor):
        sizes = (sizes[0].__index__(),)
    elif not sizes:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    try:
        shape = as_shape(sizes)
    except (AttributeError, TypeError):
        kinds = ", ".join(type(n).__name__ for n in sizes)
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, not {kinds}") from None
    if shape and min(shape) < 0:
        raise RuntimeError(
            f"{name}: trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
        )
    return shape


def _filled(
    shape: Shape, value: Any, kind: dtype_type, place: Place, requires_grad: bool
) -> Tensor:
    out = dispatch.source(p.full, (value,), (shape, kind), as_device(place))
    return as_leaf(out, requires_grad)


@op
def zeros(
    *sizes: Any,
    size: Sequence[int] | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Zeros of a shape: `zeros(2, 3)`, `zeros((2, 3))` or `zeros(size=(2, 3))`."""
    shape = as_size("zeros", sizes, size)
    return _filled(shape, 0, as_dtype(dtype) or dtypes.get_default_dtype(), device, requires_grad)


@op
def ones(
    *sizes: Any,
    size: Sequence[int] | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Ones of a shape: `ones(2, 3)`, `ones((2, 3))` or `ones(size=(2, 3))`."""
    shape = as_size("ones", sizes, size)
    return _filled(shape, 1, as_dtype(dtype) or dtypes.get_default_dtype(), device, requires_grad)


@op
def empty(
    *sizes: Any,
    size: Sequence[int] | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor to be written to. Its values are zeros, which PyTorch does not promise."""
    shape = as_size("empty", sizes, size)
    return _filled(shape, 0, as_dtype(dtype) or dtypes.get_default_dtype(), device, requires_grad)


@op
def full(
    size: Sequence[int],
    fill_value: Number,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of shape `size` in which every element is `fill_value`.

    Args:
        size: a sequence of ints.
        fill_value: a number, or a tensor of one element.
        dtype: default: bool, int64 or the default float, after the value.
        device: default: the cpu.
        requires_grad: record ops on it.
        pin_memory: accepted and ignored, as no backend copies from pages.

    Raises:
        RuntimeError: the value does not fit the dtype.
    """
    value = _as_number("full", "fill_value", fill_value)
    kind = as_dtype(dtype) or dtypes.of_number(value)
    if not isinstance(size, Sequence):
        raise TypeError(f"full(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    shape = as_size("full", (size,))
    return _filled(shape, dtypes.element(value, kind), kind, device, requires_grad)


def _as_number(name: str, argument: str, value: Any) -> Any:
    """A Python number; tensors and numpy's scalars of one element count."""
    if isinstance(value, Tensor | np.generic):
        value = value.item()
    if type(value) not in (bool, int, float):
        raise TypeError(
            f"{name}(): argument '{argument}' must be Number, not {type(value).__name__}"
        )
    return value


def _like(
    name: str, input: Any, value: Any, dtype: Kind, device: Place, requires_grad: bool
) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    kind = as_dtype(dtype) or input.dtype
    place = input.device if device is None else device
    return _filled(tuple(input.shape), dtypes.element(value, kind), kind, place, requires_grad)


@op
def zeros_like(
    input: Tensor,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Zeros of input's shape, and of its dtype and device unless told otherwise."""
    return _like("zeros_like", input, 0, dtype, device, requires_grad)


@op
def ones_like(
    input: Tensor,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Ones of input's shape, and of its dtype and device unless told otherwise."""
    return _like("ones_like", input, 1, dtype, device, requires_grad)


@op
def empty_like(
    input: Tensor,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`empty` of input's shape, and of its dtype and device unless told otherwise."""
    return _like("empty_like", input, 0, dtype, device, requires_grad)


@op
def full_like(
    input: Tensor,
    fill_value: Number,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`full` of input's shape, and of its dtype and device unless told otherwise."""
    value = _as_number("full_like", "fill_value", fill_value)
    return _like("full_like", input, value, dtype, device, requires_grad)


@op
def scalar_tensor(
    s: Number, *, dtype: Kind = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """A 0-dim tensor of a number, of the default dtype unless told otherwise."""
    return full(
        (),
        s,
        dtype=as_dtype(dtype) or dtypes.get_default_dtype(),
        device=device,
        requires_grad=requires_grad,
    )


@op
def arange(
    start: Number = 0,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`start`, `start + step`, … up to and without `end`; `arange(n)` counts from 0.

    Raises:
        RuntimeError: `step` is 0, leads away from `end`, or a bound is not finite.
    """
    if end is None:
        start, end = 0, start
    first, last, by = (_as_number("arange", "end", x) for x in (start, end, step))
    kind = as_dtype(dtype) or dtypes.of_number(first + last + by)
    if not (isfinite(first) and isfinite(last)):
        raise RuntimeError(f"unsupported range: {first} -> {last}")
    if (last - first) * by < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if kind is dtypes.int64:
        first, last, by = int(first), int(last), int(by)
    if by == 0:
        raise RuntimeError("step must be nonzero")
    exact = isinstance(last - first, int) and isinstance(by, int)
    size = -((first - last) // by) if exact else ceil((last - first) / by)
    if kind.category == dtypes.INT:
        first, by = int(first), int(by)
    out = dispatch.source(p.arange, (first, by), (size, kind), as_device(device))
    return as_leaf(out, requires_grad)


def _spaced(start: Number, end: Number, steps: int, kind: dtype_type) -> Any:
    """The values of `linspace` as an array, from both ends to the middle so that both are exact."""
    if steps < 0:
        raise RuntimeError(f"number of steps must be non-negative, given {steps}")
    first = _as_number("linspace", "start", start)
    last = _as_number("linspace", "end", end)
    if steps < 2:
        return np.full(steps, first)
    first, last = dtypes.element(first, kind), dtypes.element(last, kind)
    wide = np.dtype(kind.name if kind.is_floating_point else "float64").type
    step = wide(last - first) / wide(steps - 1)
    k = np.arange(steps, dtype=wide)
    rising = wide(first) + step * k
    falling = wide(last) - step * k[::-1]
    return np.where(k < steps // 2, rising, falling)


@op
def linspace(
    start: Number,
    end: Number,
    steps: int,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers in equal distances from `start` to `end`, both included."""
    kind = as_dtype(dtype) or dtypes.get_default_dtype()
    values = _spaced(start, end, steps, kind)
    return tensor(values, dtype=kind, device=device, requires_grad=requires_grad)


@op
def logspace(
    start: Number,
    end: Number,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`base` to the powers of `linspace(start, end, steps)`."""
    kind = as_dtype(dtype) or dtypes.get_default_dtype()
    values = np.power(float(base), _spaced(start, end, steps, kind), dtype=np.float64)
    return tensor(values, dtype=kind, device=device, requires_grad=requires_grad)


@op
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """The n by m matrix (m is n unless given) with ones on its diagonal and zeros elsewhere."""
    rows, columns = as_size("eye", (n, n if m is None else m))
    kind = as_dtype(dtype) or dtypes.get_default_dtype()
    diagonal = arange(rows, device=device).unsqueeze(1) == arange(columns, device=device)
    return as_leaf(diagonal.to(kind), requires_grad)


def legacy(args: tuple[Any, ...], kind: dtype_type = dtypes.float32) -> tuple[Any, Any]:
    """The handle and aval of `Tensor(2, 3)`, zeros, or of `Tensor(values)`, of a dtype."""
    if all(isinstance(n, int) for n in args):
        made = zeros(*args or (0,), dtype=kind)
    elif len(args) == 1 and isinstance(args[0], Tensor):
        made = args[0].detach()
    elif len(args) == 1 and hasattr(args[0], "__len__"):
        made = tensor(args[0], dtype=kind)
    else:
        raise TypeError(f"Tensor(): expected sizes or a sequence of values, given {args}")
    return made._data, made._aval


def _own(self: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    """The options with this tensor's dtype and device for those left out."""
    for name, own in (("dtype", self.dtype), ("device", self.device)):
        if options.get(name) is None:
            options[name] = own
    return options


def new_tensor(self: Tensor, data: Any, **options: Any) -> Tensor:
    """`tensor` with this tensor's dtype and device unless told otherwise."""
    return tensor(data, **_own(self, options))


def new_full(self: Tensor, size: Sequence[int], fill_value: Number, **options: Any) -> Tensor:
    """`full` with this tensor's dtype and device unless told otherwise."""
    return full(size, fill_value, **_own(self, options))


def new_zeros(self: Tensor, *size: Any, **options: Any) -> Tensor:
    """`zeros` with this tensor's dtype and device unless told otherwise."""
    return zeros(*size, **_own(self, options))


def new_ones(self: Tensor, *size: Any, **options: Any) -> Tensor:
    """`ones` with this tensor's dtype and device unless told otherwise."""
    return ones(*size, **_own(self, options))


def new_empty(self: Tensor, *size: Any, **options: Any) -> Tensor:
    """`empty` with this tensor's dtype and device unless told otherwise."""
    return empty(*size, **_own(self, options))


# tensor.py is below this module, so the creating methods are given to the class here.
for _method in (new_tensor, new_full, new_zeros, new_ones, new_empty):
    setattr(Tensor, _method.__name__, _method)
