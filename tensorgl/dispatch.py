"""From tensors to a backend: looks a call up by its avals, runs it, and records it.

The lookup is memoised: shape and dtype rules, promotion, device checks and the choice of a kernel
happen once for each combination of avals, and so do their error messages. Everything that is fixed
at that time must not cost anything later: a repeated call is one dictionary hit, one kernel, one new
tensor and, if it is recorded, one node.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.autograd.graph import Memory, Node, Rule, TensorBase, Vjp, mode, record, share
from tensorgl.avals import NUMBER, Aval, aval, device
from tensorgl.backends import backend_of
from tensorgl.dtypes import dtype
from tensorgl.primitives import Primitive

__all__ = [
    "become",
    "call1",
    "call2",
    "call_view",
    "calln",
    "defvjp",
    "differentiable",
    "forget",
    "from_host",
    "inplace",
    "op",
    "registry",
    "rewrite_history",
    "set_tensor_type",
    "source",
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
    """Drop what is memoised; needed when the default dtype changes."""
    _memo.clear()


dtypes.on_default_change.append(forget)


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
        keep_x, _, _, keep_out = vjp.saves[1]
        out._node = Node(
            vjp,
            (x._node or x,),
            (x if keep_x else None,),
            params,
            out_aval,
            out if keep_out else None,
        )
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
    if (x._requires_grad or y._requires_grad) and mode.grad and vjp is not None:
        if x._requires_grad:
            mask, x_edge = 1, x._node or x
        else:
            mask, x_edge = 0, None
        if y._requires_grad:
            mask, y_edge = mask | 2, y._node or y
        else:
            y_edge = None
        keep_x, keep_y, _, keep_out = vjp.saves[mask]
        out._node = Node(
            vjp,
            (x_edge, y_edge),
            (x if keep_x else None, y if keep_y else None),
            params,
            out_aval,
            out if keep_out else None,
        )
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
        if tensor is x:
            keep_x, _, _, keep_out = vjp.saves[1]
            edges, saved = (edge, None), (x if keep_x else None, y)
        else:
            _, keep_y, _, keep_out = vjp.saves[2]
            edges, saved = (None, edge), (x, y if keep_y else None)
        out._node = Node(vjp, edges, saved, params, out_aval, out if keep_out else None)
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
    avals, handles, needs = [], [], False
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
    out._base = x if x._base is None else x._base
    before = x._view
    recording = recording and (before is None or before[-1])
    out._view = (primitive, params, numbers, before, recording)
    if recording:
        memory.add_view(weakref.ref(out))
    return out


def _replay(tensor: Any, view: Any) -> Any:
    """What a view's recipe gives on another tensor of its base's shape."""
    if view is None:
        return tensor
    primitive, params, numbers, before, _ = view
    source = _replay(tensor, before)
    out = calln(primitive, (source, *numbers), params)
    share(source)
    out._memory = source._memory
    return out


def inplace(target: Any, value: Any) -> Any:
    """Write `value`, a tensor of target's shape and dtype, over `target`, history included.

    Raises:
        RuntimeError: the write would break a leaf's gradient, shape or dtype.
    """
    recording = mode.grad
    a = target._aval
    if recording and target._requires_grad:
        if target._node is None:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        if target._base is not None and target._base._node is None and target._base._requires_grad:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation."
            )
    if value._aval.shape != a.shape:
        raise RuntimeError(
            f"output with shape {list(a.shape)} doesn't match the broadcast shape "
            f"{list(value._aval.shape)}"
        )
    if value._aval.dtype is not a.dtype:
        if value._aval.dtype.category > a.dtype.category:
            raise RuntimeError(
                f"result type {value._aval.dtype.title} can't be cast to the desired output type "
                f"{a.dtype.title}"
            )
        value = call1(p.cast, value, (a.dtype,))
    backend = backend_of(a.device)
    strides = backend.strides(target._data, a)
    if (
        0 in strides
        and a.size
        and any(s == 0 and n > 1 for s, n in zip(strides, a.shape, strict=True))
    ):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    base = target._base
    historic = recording and (
        value._requires_grad or target._requires_grad or (base is not None and base._requires_grad)
    )
    if historic and base is not None and not target._view[-1]:
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled."
        )
    backend.assign(target._data, value._data, a)
    memory = target._memory
    if memory is None:
        memory = target._memory = Memory()
    memory.version += 1
    if historic:
        rewrite_history(target, base, value, memory)
    return target


def rewrite_history(target: Any, base: Any, value: Any, memory: Memory) -> None:
    """Make `value` the history of `target`, and of what shows its base's memory, after a write."""
    if base is None:
        if value._requires_grad:
            target._node = value._node or Node(_identity, (value,), (), (), target._aval)
        else:
            target._node = Node(_overwritten, (), (), (), target._aval)
        target._requires_grad = True
        base = target
    else:
        edges = tuple((t._node or t) if t._requires_grad else None for t in (base, value))
        strides = backend_of(base._aval.device).strides(base._data, base._aval)
        saved = (None, None, target._view, strides)
        base._node = Node(_copy_slices, edges, saved, (), base._aval)
        base._requires_grad = True
    for reference in memory.views:
        view = reference()
        if view is not None and view._base is base:
            again = _replay(base, view._view)
            view._node, view._requires_grad = again._node, again._requires_grad


def become(target: Any, view: Any) -> Any:
    """Give `target` the shape, and the history, of `view`, a view of it with the same elements."""
    if mode.grad and target._requires_grad and target._node is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )
    if target._base is not None:
        target._view = view._view
    else:  # the recipes of its views begin at the shape that it had
        back = (p.reshape, (target._aval.shape,), (), None, True)
        if view._view[0] is p.permute:
            order = view._view[1][0]
            back = (p.permute, (tuple(map(order.index, range(len(order)))),), (), None, True)
        for reference in target._memory.views:
            other = reference()
            if other is not None and other._base is target and other is not view:
                other._view = _after(back, other._view)
    target._data, target._aval, target._node = view._data, view._aval, view._node
    return target


def _after(first: Any, view: Any) -> Any:
    """The recipe `view` with `first` done before it."""
    primitive, params, numbers, before, recording = view
    before = first if before is None else _after(first, before)
    return primitive, params, numbers, before, recording


_identity = Vjp("copy", ("input",), (), {"input": lambda g: g})
_overwritten = Vjp("overwritten", (), (), {})


def _not_a_tensor(primitive: Primitive, position: int, x: Any) -> TypeError:
    names = primitive.inputs
    name = names[0] if primitive.variadic else names[min(position, len(names) - 1)]
    return TypeError(
        f"{primitive.name}(): argument '{name}' must be Tensor or number, not {type(x).__name__}"
    )


def to_host(x: Any) -> Any:
    """The values of a tensor as a numpy array; on cpu it shares the tensor's memory."""
    return backend_of(x._aval.device).download(x._data, x._aval)


def from_host(array: Any, dtype: dtype, place: device) -> Any:
    """A tensor of a numpy array that already has this dtype; on cpu it shares its memory."""
    a = aval(tuple(array.shape), dtype, place)
    return Tensor(backend_of(place).upload(array, a), a)


def op(function: Any) -> Any:
    """Register a public op: `@op`, or `@op("linalg.norm")` where its path is more than its name.

    Its gradient is that of the primitives and ops it calls.
    """
    if isinstance(function, str):
        return lambda f: registry.setdefault(function, f)
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
        signature = inspect.signature(function).parameters
        names = tuple(signature)
        defaults = {n: v.default for n, v in signature.items()}
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
            inputs = [*args, *(kwargs.get(n, defaults[n]) for n in names[len(args) :])]
            record(vjp, inputs, (), out)
            return out

        return call

    return decorate


@differentiable(base=lambda g, view, strides: _cleared(g, view, strides))
def _cleared(base: Any, view: Any, strides: tuple[int, ...]) -> Any:
    """`base` with zeros in the elements that a view of memory with these strides shows."""
    order = sorted(range(len(strides)), key=lambda d: -strides[d])
    laid_out = base.permute(order).clone().permute([order.index(d) for d in range(len(order))])
    out = Tensor(laid_out._data, laid_out._aval)
    shown = _replay(out, view)
    a = shown._aval
    zeros = source(p.full, (0,), (a.shape, a.dtype), a.device)
    backend_of(a.device).assign(shown._data, zeros._data, a)
    return out


_copy_slices = Vjp(
    "CopySlices",
    ("base", "value", "view", "strides"),
    (),
    {
        "base": lambda g, view, strides: _cleared(g, view, strides),
        "value": lambda g, view: _replay(g, view),
    },
)
