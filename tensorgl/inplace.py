"""Writing in place: checks, version counters, and a history that stays right.

A write goes through the backend's `assign`; then the tensor, its base and every live view of that
memory get the history that the written values have. Views remember their recipe (`_view`), so that
theirs can be worked out anew.
"""

# The core is several modules of one design: they see each other's underscored state.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from tensorgl import primitives as p
from tensorgl.autograd import graph
from tensorgl.autograd.graph import Memory, Node, Vjp, drop_hidden_base, mode, record, share
from tensorgl.backends import backend_of
from tensorgl.dispatch import call1, calln, differentiable, source

__all__ = ["become", "inplace", "rewrite_history"]


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
    if recording and target._base is not None and not target._view[-1]:
        drop_hidden_base(target)
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
            target._node = Node(_overwritten, (target._node,), (), (), target._aval)
        target._requires_grad = True
        base = target
    else:
        edges = tuple((t._node or t) if t._requires_grad else None for t in (base, value))
        strides = backend_of(base._aval.device).strides(base._data, base._aval)
        saved = (None, None, target._view, strides)
        base._node = Node(_copy_slices, edges, saved, (), base._aval)
        base._requires_grad = True
    base._move_retained()
    for reference in memory.views:
        view = reference()
        if view is not None and view._base is base:
            again = _replay(base, view._view)
            view._node, view._requires_grad = again._node, again._requires_grad
            view._move_retained()


def become(target: Any, view: Any) -> Any:
    """Give `target` the shape, and the history, of `view`, a view of it with the same elements."""
    if mode.grad and target._requires_grad and target._node is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )
    if target._node is not None and not mode.grad:  # its history still must end in its shape
        primitive, params, numbers = view._view[:3]
        record(primitive.vjp, (target, *numbers), params, view)
    if target._base is not None:
        target._view = (*view._view[:-1], target._view[-1])
    else:  # the recipes of its views begin at the shape that it had
        back = (p.reshape, (target._aval.shape,), (), None, True)
        if view._view[0] is p.permute:
            order = view._view[1][0]
            back = (p.permute, (tuple(order.index(d) for d in range(len(order))),), (), None, True)
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


def _through(g: Any) -> Any:
    return g


def _zeros(g: Any) -> Any:
    return g.new_zeros(g.shape)


_identity = Vjp("copy", ("input",), (), {"input": _through})
_overwritten = Vjp("overwritten", ("input",), (), {"input": _zeros})


def _replay(tensor: Any, view: Any) -> Any:
    """What a view's recipe gives on another tensor of its base's shape."""
    if view is None:
        return tensor
    primitive, params, numbers, before, _ = view
    start = _replay(tensor, before)
    out = calln(primitive, (start, *numbers), params)
    share(start)
    out._memory = start._memory
    return out


def _clear(g: Any, view: Any, strides: Any) -> Any:
    return _cleared(g, view, strides)


@differentiable(base=_clear)
def _cleared(base: Any, view: Any, strides: tuple[int, ...]) -> Any:
    """`base` with zeros in the elements that a view of memory with these strides shows."""
    order = sorted(range(len(strides)), key=lambda d: -strides[d])
    laid_out = base.permute(order).clone().permute([order.index(d) for d in range(len(order))])
    out = graph.make_tensor(laid_out._data, laid_out._aval)
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
        "base": _clear,
        "value": _replay,
    },
)
