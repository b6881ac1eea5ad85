"""From tensors to a backend: looks a call up by its avals, runs it, and records it.

The lookup is memoised: shape and dtype rules, promotion, device checks and the choice of a kernel
happen once for each combination of avals, and so do their error messages. Everything that is fixed
at that time must not cost anything later: a repeated call is one dictionary hit, one kernel, one new
tensor and, if it is recorded, one node.
"""

# The core is several modules of one design: they see each other's underscored state.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.autograd.graph import (
    Memory,
    Node,
    Rule,
    TensorBase,
    Vjp,
    drop_hidden_base,
    mode,
    record,
)
from tensorgl.avals import NUMBER, Aval, aval, device
from tensorgl.backends import backend_of, on_install
from tensorgl.dtypes import dtype
from tensorgl.primitives import Primitive

__all__ = [
    "call1",
    "call2",
    "call_view",
    "calln",
    "defvjp",
    "differentiable",
    "forget",
    "from_host",
    "observe",
    "op",
    "registry",
    "set_tensor_type",
    "source",
    "start",
    "to_host",
]

Tensor: Any = TensorBase  # tensor.py sets it to the class Tensor
registry: dict[str, Callable[..., Any]] = {}
"""Every public op by name."""

_memo: dict[Any, tuple[Callable[..., Any], Any, Vjp | None]] = {}
_MEMO_LIMIT = 1 << 14


def set_tensor_type(tensor_type: Any) -> None:
    """Tell dispatch and the graph which class to wrap results in."""
    global Tensor
    Tensor = tensor_type


def forget() -> None:
    """Drop what is memoised; needed when the default dtype or a device's backend changes."""
    _memo.clear()


dtypes.on_default_change.append(forget)

_observer: Callable[[str, tuple[Aval, ...], Callable[..., Any]], Callable[..., Any]] | None = None


def observe(observer: Any) -> None:
    """From here on every kernel is what `observer(name, avals, kernel)` makes of it; None: itself."""
    global _observer
    _observer = observer
    forget()


on_install.append(forget)


def _miss(
    key: Any,
    primitive: Primitive,
    avals: tuple[Aval, ...],
    params: tuple[Any, ...],
    place: device | None = None,
) -> tuple[Callable[..., Any], Any, Vjp | None]:
    """Work a call out: its result's aval, its kernel with the casts it needs, its gradient rules."""
    for a in avals:
        if a.device is not None and a.device is not place:
            if place is not None:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two devices, "
                    f"{place} and {a.device}! Move one of them with .to(device)."
                )
            place = a.device
    assert place is not None, primitive
    result = primitive.infer(avals, *params)
    out: Any
    if isinstance(result.dtype, dtype):
        out = aval(tuple(result.shape), result.dtype, place)
        differentiable = result.dtype.is_floating_point
    else:
        pairs = zip(result.shape, result.dtype, strict=True)
        out = tuple(aval(tuple(s), d, place) for s, d in pairs)
        differentiable = any(a.dtype.is_floating_point for a in out)
    backend = backend_of(place)
    compute = result.compute
    if not isinstance(compute, tuple):
        compute = (compute,) * len(avals)
    casts: list[Any] = []
    inputs: list[Aval] = []
    for a, d in zip(avals, compute, strict=True):
        if d is None or a.dtype is d or a.dtype.weak:
            casts.append(None)
            inputs.append(a)
        else:
            inputs.append(aval(a.shape, d, place))
            casts.append(backend.bind(p.cast, (a,), (d,), inputs[-1]))
    run = backend.bind(primitive, tuple(inputs), params, out)
    if any(casts):
        run = _with_casts(run, casts)
    if _observer is not None:
        run = _observer(primitive.name, avals, run)
    if len(_memo) >= _MEMO_LIMIT:
        _memo.clear()
    entry = _memo[key] = (run, out, primitive.vjp if differentiable else None)
    return entry


def _with_casts(run: Callable[..., Any], casts: list[Any]) -> Callable[..., Any]:
    def cast_and_run(*handles: Any) -> Any:
        return run(*[h if c is None else c(h) for c, h in zip(casts, handles, strict=True)])

    return cast_and_run


def call1(primitive: Primitive, x: Any, params: tuple[Any, ...] = ()) -> Any:
    """Run a primitive of one tensor."""
    try:
        a = x._aval
    except AttributeError:
        raise _not_a_tensor(primitive, 0, x) from None
    key = (primitive, a, params)
    run, out_aval, vjp = _memo.get(key) or _miss(key, primitive, (a,), params)
    out = Tensor(run(x._data), out_aval)
    if x._requires_grad and mode.grad and vjp is not None:
        saved, kept = (), None
        keeps = vjp.saves[1]
        if keeps is not None:
            saved, kept = (x if keeps[0] else None,), out if keeps[3] else None
        out._node = Node(vjp, (x._node or x,), saved, params, out_aval, kept)
        out._requires_grad = True
    return out


def call2(primitive: Primitive, x: Any, y: Any, params: tuple[Any, ...] = ()) -> Any:
    """Run a primitive of two operands, of which one may be a Python number."""
    if type(y) in NUMBER:  # only to save the 0.4 µs that an exception costs
        return _call2_number(primitive, x, y, params)
    try:
        a, b = x._aval, y._aval
    except AttributeError:
        return _call2_number(primitive, x, y, params)
    key = (primitive, a, b, params)
    run, out_aval, vjp = _memo.get(key) or _miss(key, primitive, (a, b), params)
    out = Tensor(run(x._data, y._data), out_aval)
    x_needs, y_needs = x._requires_grad, y._requires_grad
    if (x_needs or y_needs) and vjp is not None and mode.grad:
        if not y_needs:
            edges, keeps = (x._node or x, None), vjp.saves[1]
        elif not x_needs:
            edges, keeps = (None, y._node or y), vjp.saves[2]
        else:
            edges, keeps = (x._node or x, y._node or y), vjp.saves[3]
        saved, kept = (), None
        if keeps is not None:
            keep_x, keep_y, _, keep_out = keeps
            saved = (x if keep_x else None, y if keep_y else None)
            kept = out if keep_out else None
        out._node = Node(vjp, edges, saved, params, out_aval, kept)
        out._requires_grad = True
    return out


def _call2_number(primitive: Primitive, x: Any, y: Any, params: tuple[Any, ...]) -> Any:
    if isinstance(x, TensorBase):
        tensor = x
        y, b = _number(primitive, 1, y)
        a = x._aval
        handles = (x._data, y)
    elif isinstance(y, TensorBase):
        tensor = y
        x, a = _number(primitive, 0, x)
        b = y._aval
        handles = (x, y._data)
    else:
        raise _not_a_tensor(primitive, 0, x)
    key = (primitive, a, b, params)
    run, out_aval, vjp = _memo.get(key) or _miss(key, primitive, (a, b), params)
    out = Tensor(run(*handles), out_aval)
    if tensor._requires_grad and mode.grad and vjp is not None:
        edge = tensor._node or tensor
        edges, mask = ((edge, None), 1) if tensor is x else ((None, edge), 2)
        saved, kept = (), None
        keeps = vjp.saves[mask]
        if keeps is not None:
            keep_x, keep_y, _, keep_out = keeps
            saved = (x if keep_x else None, y if keep_y else None)
            kept = out if keep_out else None
        out._node = Node(vjp, edges, saved, params, out_aval, kept)
        out._requires_grad = True
    return out


def _number(primitive: Primitive, position: int, x: Any) -> tuple[Any, Aval]:
    """A Python number and its aval; subclasses of them and numpy's scalars count as Python's."""
    known = NUMBER.get(type(x))
    if known is None:
        if hasattr(x, "dtype") and hasattr(x, "item") and not getattr(x, "ndim", 1):
            x = x.item()
        elif isinstance(x, int | float):
            x = int(x) if isinstance(x, int) else float(x)
        known = NUMBER.get(type(x))
        if known is None:
            raise _not_a_tensor(primitive, position, x)
    return x, known


def calln(primitive: Primitive, inputs: Sequence[Any], params: tuple[Any, ...] = ()) -> Any:
    """Run a primitive of any number of operands; a tuple of tensors if it has several results."""
    avals: list[Aval] = []
    handles: list[Any] = []
    needs = False
    for k, x in enumerate(inputs):
        if isinstance(x, TensorBase):
            avals.append(x._aval)
            handles.append(x._data)
            needs = needs or x._requires_grad
        else:
            number, number_aval = _number(primitive, k, x)
            avals.append(number_aval)
            handles.append(number)
    key = (primitive, tuple(avals), params)
    run, out_aval, vjp = _memo.get(key) or _miss(key, primitive, key[1], params)
    out = _wrap(run(*handles), out_aval)
    if needs and mode.grad and vjp is not None:
        record(vjp, inputs, params, out)
    return out


def source(
    primitive: Primitive, numbers: Sequence[Any], params: tuple[Any, ...], place: device
) -> Any:
    """Run a source primitive, which has only numbers as operands, on a device."""
    known = tuple(NUMBER[type(n)] for n in numbers)
    key = (primitive, known, params, place)
    run, out_aval, _ = _memo.get(key) or _miss(key, primitive, known, params, place)
    return _wrap(run(*numbers), out_aval)


def _wrap(result: Any, out_aval: Any) -> Any:
    if isinstance(out_aval, Aval):
        return Tensor(result, out_aval)
    return tuple(Tensor(r, a) for r, a in zip(result, out_aval, strict=True))


_INT = NUMBER[int]


def call_view(primitive: Primitive, x: Any, params: tuple[Any, ...], *numbers: int) -> Any:
    """Run a view primitive. The result shares memory, versions and history-on-write with `x`.

    `numbers` are its operands after the tensor: where a view starts, which may be anywhere.
    """
    try:
        a = x._aval
    except AttributeError:
        raise _not_a_tensor(primitive, 0, x) from None
    key = (primitive, a, params)
    entry = _memo.get(key) or _miss(key, primitive, (a,) + (_INT,) * len(numbers), params)
    run, out_aval, vjp = entry
    out = Tensor(run(x._data, *numbers), out_aval)
    recording = mode.grad
    if recording and x._requires_grad and vjp is not None:
        out._node = Node(vjp, (x._node or x,), (None, *numbers), params, out_aval)
        out._requires_grad = True
    memory = x._memory
    if memory is None:
        memory = x._memory = Memory()
    out._memory = memory
    before = x._view
    if recording and before is not None and not before[-1]:
        drop_hidden_base(x)
        before = x._view
        recording = before is None
    out._base = x if before is None else x._base
    out._view = (primitive, params, numbers, before, recording)
    if recording:
        memory.add_view(weakref.ref(out))
    return out


def _not_a_tensor(primitive: Primitive, position: int, x: Any) -> TypeError:
    names = primitive.inputs
    name = names[0] if primitive.variadic else names[min(position, len(names) - 1)]
    return TypeError(
        f"{primitive.name}(): argument '{name}' must be Tensor or number, not {type(x).__name__}"
    )


def to_host(x: Any) -> Any:
    """The values of a tensor as a numpy array; on cpu it shares the tensor's memory."""
    return backend_of(x._aval.device).download(x._data, x._aval)


async def to_host_async(x: Any) -> Any:
    """As `to_host`, while others work."""
    return await backend_of(x._aval.device).download_async(x._data, x._aval)


def start(x: Any) -> None:
    """Let the backend of a tensor begin with what was asked of it: a good moment to, as a step has ended."""
    backend_of(x._aval.device).flush()


def from_host(array: Any, dtype: dtype, place: device) -> Any:
    """A tensor of a numpy array that already has this dtype; on cpu it shares its memory."""
    a = aval(tuple(array.shape), dtype, place)
    return Tensor(backend_of(place).upload(array, a), a)


def op(function: Any) -> Any:
    """Register a public op: `@op`, or `@op("linalg.norm")` where its path is more than its name.

    Its gradient is that of the primitives and ops it calls.
    """
    if isinstance(function, str):
        return functools.partial(registry.setdefault, function)
    return registry.setdefault(function.__name__, function)


def defvjp(primitive: Primitive, **rules: Rule) -> None:
    """Give a primitive its gradient: for each input by name, a function of `g` and what it names."""
    primitive.vjp = Vjp(primitive.name, primitive.inputs, primitive.params, rules)


def differentiable(**rules: Rule) -> Callable[..., Any]:
    """Record a whole function as one node, with its own gradient rules.

    For ops whose composite gradient would save or compute much more than it needs. The function's
    body is not recorded. Rules are as for `defvjp`, with the function's parameters as names.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        # What inspect.signature tells, in a tenth of its time: it runs as the package is imported.
        code, defaults = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        first = code.co_argcount - len(defaults)
        default = dict.fromkeys(names) | dict(zip(names[first:], defaults, strict=False))
        default |= function.__kwdefaults__ or {}
        vjp = Vjp(function.__name__, names, (), rules)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            needs = False
            if mode.grad:
                for x in args:
                    if isinstance(x, TensorBase) and x._requires_grad:
                        needs = True
                        break
                else:
                    needs = any(
                        isinstance(x, TensorBase) and x._requires_grad for x in kwargs.values()
                    )
            if not needs:
                return function(*args, **kwargs)
            mode.grad = False
            try:
                out = function(*args, **kwargs)
            finally:
                mode.grad = True
            for t in (out,) if isinstance(out, TensorBase) else out:
                drop_hidden_base(t)
            inputs = [*args, *(kwargs.get(n, default[n]) for n in names[len(args) :])]
            record(vjp, inputs, (), out)
            return out

        return call

    return decorate
