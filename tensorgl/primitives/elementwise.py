"""Elementwise primitives: one value of each (broadcast) input gives one value of the result."""

from __future__ import annotations

from collections.abc import Callable

from tensorgl import dtypes
from tensorgl.avals import Aval
from tensorgl.dtypes import dtype
from tensorgl.primitives.core import (
    Primitive,
    Result,
    broadcast_shapes,
    primitive,
    promote,
    to_float,
)

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "cast",
    "ceil",
    "copy",
    "cos",
    "cosh",
    "div",
    "eq",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floor_divide",
    "fmod",
    "isnan",
    "le",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "neg",
    "nextafter",
    "polygamma",
    "pow",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "sub",
    "tan",
    "tanh",
    "trunc",
    "where",
]


Infer = Callable[..., Result]


def _reject(name: str, avals: tuple[Aval, ...], category: int, remedy: str) -> None:
    for a in avals:
        if a.dtype.category == category:
            raise RuntimeError(f"{name}: not implemented for {a.dtype.name} tensors; {remedy}")


def _unary(name: str, result: str = "same", bools: bool = True) -> Primitive:
    """`result`: "same" dtype as the input, "float" for integers too, or "bool"."""

    def infer(avals: tuple[Aval, ...]) -> Result:
        (a,) = avals
        if not bools:
            _reject(name, avals, dtypes.BOOL, "use logical_not, or cast with .int()")
        d = dtypes.strong(a.dtype)
        if result == "float":
            return Result(a.shape, to_float(d), to_float(d))
        return Result(a.shape, dtypes.bool if result == "bool" else d)

    return primitive(name, "input", "", infer, "elementwise")


def _binary(name: str, result: str = "same", bools: bool = True, floats: bool = True) -> Primitive:
    """`result`: "same" as the promoted dtype, "float", or "bool" (a comparison)."""

    def infer(avals: tuple[Aval, ...]) -> Result:
        shape = broadcast_shapes(*(a.shape for a in avals))
        d = promote(avals)
        if result == "float":
            d = to_float(d)
        if d is dtypes.bool and not bools:
            raise RuntimeError(
                f"{name}: not implemented for bool tensors; use ^ or logical_not, or cast with .int()"
            )
        if d.is_floating_point and not floats:
            raise RuntimeError(f"{name}: expected integer or bool tensors, given {d.name}")
        return Result(shape, dtypes.bool if result == "bool" else d, d)

    return primitive(name, "input other", "", infer, "elementwise")


neg = _unary("neg", bools=False)
abs = _unary("abs")
sign = _unary("sign")
floor = _unary("floor")
ceil = _unary("ceil")
round = _unary("round")
trunc = _unary("trunc")
reciprocal = _unary("reciprocal", "float")
sqrt = _unary("sqrt", "float")
rsqrt = _unary("rsqrt", "float")
exp = _unary("exp", "float")
exp2 = _unary("exp2", "float")
expm1 = _unary("expm1", "float")
log = _unary("log", "float")
log2 = _unary("log2", "float")
log10 = _unary("log10", "float")
log1p = _unary("log1p", "float")
sin = _unary("sin", "float")
cos = _unary("cos", "float")
tan = _unary("tan", "float")
asin = _unary("asin", "float")
acos = _unary("acos", "float")
atan = _unary("atan", "float")
sinh = _unary("sinh", "float")
cosh = _unary("cosh", "float")
tanh = _unary("tanh", "float")
asinh = _unary("asinh", "float")
acosh = _unary("acosh", "float")
atanh = _unary("atanh", "float")
erf = _unary("erf", "float")
erfc = _unary("erfc", "float")
erfinv = _unary("erfinv", "float")
lgamma = _unary("lgamma", "float")
sigmoid = _unary("sigmoid", "float")
isnan = _unary("isnan", "bool")
logical_not = _unary("logical_not", "bool")


def _infer_bitwise_not(avals: tuple[Aval, ...]) -> Result:
    _reject("bitwise_not", avals, dtypes.FLOAT, "cast with .int()")
    return Result(avals[0].shape, dtypes.strong(avals[0].dtype))


def _infer_polygamma(avals: tuple[Aval, ...], n: int) -> Result:
    d = to_float(dtypes.strong(avals[0].dtype))
    return Result(avals[0].shape, d, d)


bitwise_not = primitive("bitwise_not", "input", "", _infer_bitwise_not, "elementwise")
polygamma = primitive("polygamma", "input", "n", _infer_polygamma, "elementwise")

add = _binary("add")
sub = _binary("sub", bools=False)
mul = _binary("mul")
div = _binary("div", "float")
pow = _binary("pow")
floor_divide = _binary("floor_divide", bools=False)
remainder = _binary("remainder", bools=False)
fmod = _binary("fmod", bools=False)
maximum = _binary("maximum")
minimum = _binary("minimum")
atan2 = _binary("atan2", "float")
nextafter = _binary("nextafter", "float")
eq = _binary("eq", "bool")
ne = _binary("ne", "bool")
lt = _binary("lt", "bool")
le = _binary("le", "bool")
bitwise_and = _binary("bitwise_and", floats=False)
bitwise_or = _binary("bitwise_or", floats=False)
bitwise_xor = _binary("bitwise_xor", floats=False)
bitwise_left_shift = _binary("bitwise_left_shift", bools=False, floats=False)
bitwise_right_shift = _binary("bitwise_right_shift", bools=False, floats=False)


def _infer_where(avals: tuple[Aval, ...]) -> Result:
    condition = avals[0].dtype
    if condition.category != dtypes.BOOL:
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.title}"
        )
    d = promote(avals[1:])
    return Result(broadcast_shapes(*(a.shape for a in avals)), d, (None, d, d))


def _infer_cast(avals: tuple[Aval, ...], dtype: dtype) -> Result:
    return Result(avals[0].shape, dtype)


def _infer_copy(avals: tuple[Aval, ...]) -> Result:
    return Result(avals[0].shape, avals[0].dtype)


where = primitive("where", "condition input other", "", _infer_where, "elementwise")
cast = primitive("cast", "input", "dtype", _infer_cast, "elementwise")
copy = primitive("copy", "input", "", _infer_copy, "elementwise")
