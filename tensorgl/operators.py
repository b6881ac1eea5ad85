"""The elementwise part of the class Tensor: Python's operators, and the methods of elementwise ops.

Every function of the elementwise modules is a method of the same name, and most have an in-place
method `name_`. An operator gives way (NotImplemented) to an operand that it does not know, so that
`tensor == None` is False and `tensor + "a"` is Python's TypeError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorgl import dispatch, ops
from tensorgl import primitives as p
from tensorgl.autograd import graph
from tensorgl.inplace import inplace
from tensorgl.primitives import Primitive

__all__ = ["Operators", "in_place"]

call2 = dispatch.call2


def in_place(function: Callable[..., Any], saves: bool = True) -> Callable[..., Any]:
    """The in-place method of an op, which writes its result over its first operand: `add_` of `add`.

    With `saves`, a gradient may save that operand: it then saves a copy of what is overwritten.
    """

    @functools.wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        operand = self
        if saves and graph.mode.grad:
            for x in (self, *args, *kwargs.values()):
                if isinstance(x, graph.TensorBase) and x._requires_grad:
                    operand = ops.movement.clone(self)
                    break
        return inplace(self, function(operand, *args, **kwargs))

    method.__name__ += "_"
    method.__doc__ = f"In-place `{function.__name__}`."
    return method


def _operator(primitive: Primitive) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        try:
            return call2(primitive, self, other)
        except TypeError:
            return NotImplemented

    return method


def _reflected(primitive: Primitive) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        try:
            return call2(primitive, other, self)
        except TypeError:
            return NotImplemented

    return method


class Operators:
    """What Tensor inherits: operators here, methods from the loop below."""

    __slots__ = ()

    __add__ = __radd__ = _operator(p.add)
    __sub__, __rsub__ = _operator(p.sub), _reflected(p.sub)
    __mul__ = __rmul__ = _operator(p.mul)
    __truediv__, __rtruediv__ = _operator(p.div), _reflected(p.div)
    __floordiv__, __rfloordiv__ = _operator(p.floor_divide), _reflected(p.floor_divide)
    __mod__, __rmod__ = _operator(p.remainder), _reflected(p.remainder)
    __rpow__ = _reflected(p.pow)
    __and__ = __rand__ = _operator(p.bitwise_and)
    __or__ = __ror__ = _operator(p.bitwise_or)
    __xor__ = __rxor__ = _operator(p.bitwise_xor)
    __lshift__, __rlshift__ = _operator(p.bitwise_left_shift), _reflected(p.bitwise_left_shift)
    __rshift__, __rrshift__ = _operator(p.bitwise_right_shift), _reflected(p.bitwise_right_shift)

    __eq__ = _operator(p.eq)
    __ne__ = _operator(p.ne)
    __lt__, __gt__ = _operator(p.lt), _reflected(p.lt)
    __le__, __ge__ = _operator(p.le), _reflected(p.le)
    __hash__ = object.__hash__

    __neg__ = ops.arithmetic.neg
    __pos__ = ops.arithmetic.positive
    __abs__ = ops.arithmetic.abs

    def __invert__(self: Any) -> Any:
        if self._aval.dtype.is_floating_point:
            raise TypeError("~ is only implemented on integer and Boolean-type tensors")
        return ops.bitwise.bitwise_not(self)

    def __pow__(self, exponent: Any) -> Any:
        try:
            return ops.arithmetic.pow(self, exponent)
        except TypeError:
            return NotImplemented

    add_ = __iadd__ = in_place(ops.arithmetic.add, saves=False)
    sub_ = subtract_ = __isub__ = in_place(ops.arithmetic.sub, saves=False)
    __imul__ = in_place(ops.arithmetic.mul)
    __itruediv__ = in_place(ops.arithmetic.div)
    __ifloordiv__ = in_place(ops.arithmetic.floor_divide)
    __imod__ = in_place(ops.arithmetic.remainder)
    __ipow__ = in_place(ops.arithmetic.pow)
    __iand__ = in_place(ops.bitwise.bitwise_and)
    __ior__ = in_place(ops.bitwise.bitwise_or)
    __ixor__ = in_place(ops.bitwise.bitwise_xor)
    __ilshift__ = in_place(ops.bitwise.bitwise_left_shift)
    __irshift__ = in_place(ops.bitwise.bitwise_right_shift)

    def where(self, condition: Any, other: Any) -> Any:
        """This tensor where `condition` is true, else `other`."""
        return ops.comparison.where(condition, self, other)

    def polygamma(self, n: int) -> Any:
        """The `n`-th derivative of `digamma`."""
        return ops.special.polygamma(n, self)

    polygamma_ = in_place(polygamma)


_NOT_METHODS = {"rsub"}
_NOT_IN_PLACE = {
    "allclose",
    "equal",
    "fmax",
    "fmin",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "logaddexp",
    "logaddexp2",
    "maximum",
    "minimum",
    "positive",
    "signbit",
}

for _family in (
    ops.arithmetic,
    ops.bitwise,
    ops.comparison,
    ops.math,
    ops.rounding,
    ops.special,
):
    for _name in _family.__all__:
        if _name in _NOT_METHODS or _name in vars(Operators):
            continue
        setattr(Operators, _name, getattr(_family, _name))
        if _name not in _NOT_IN_PLACE and _name + "_" not in vars(Operators):
            setattr(Operators, _name + "_", in_place(getattr(_family, _name)))
