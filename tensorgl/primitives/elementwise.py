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
    "clamp",
    "clamp_max",
    "clamp_min",
    "copy",
    "copysign",
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
    "gcd",
    "hypot",
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


def _supports(name: str, d: dtype, categories: tuple[int, ...], remedy: str) -> None:
    if d.category not in categories:
        raise NotImplementedError(f"{name}: not implemented for {d.name} tensors; {remedy}")


_REMEDY = "cast with .int() or .float()"
_NUMERIC, _FLOATS = (dtypes.INT, dtypes.FLOAT), (dtypes.FLOAT,)
_INTEGERS, _BITS = (dtypes.INT,), (dtypes.BOOL, dtypes.INT)
_ALL = (dtypes.BOOL, dtypes.INT, dtypes.FLOAT)


def _unary(name: str, result: str = "same", takes: tuple[int, ...] = _ALL) -> Primitive:
    """`result`: "same" dtype as the input, "float" for integers too, or "bool"; `takes` categories."""

    def infer(avals: tuple[Aval, ...]) -> Result:
        (a,) = avals
        _supports(name, a.dtype, takes, _REMEDY)
        if result == "float":
            d = to_float(a.dtype)
            return Result(a.shape, d, d)
        return Result(a.shape, dtypes.bool if result == "bool" else a.dtype)

    return primitive(name, "input", "", infer, "elementwise")


def _binary(
    name: str, result: str = "same", takes: tuple[int, ...] = _ALL, inputs: str = "input other"
) -> Primitive:
    """`result`: "same" as the promoted dtype, "float", or "bool" (a comparison); `takes` categories."""

    def infer(avals: tuple[Aval, ...]) -> Result:
        shape = broadcast_shapes(*(a.shape for a in avals))
        d = promote(avals)
        if result == "float":
            d = to_float(d)
        _supports(name, d, takes, _REMEDY)
        return Result(shape, dtypes.bool if result == "bool" else d, d)

    return primitive(name, inputs, "", infer, "elementwise")


def _infer_sub(avals: tuple[Aval, ...]) -> Result:
    if all(a.dtype.category == dtypes.BOOL for a in avals):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(a.dtype.category == dtypes.BOOL for a in avals):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )
    d = promote(avals)
    return Result(broadcast_shapes(*(a.shape for a in avals)), d, d)


def _infer_neg(avals: tuple[Aval, ...]) -> Result:
    (a,) = avals
    if a.dtype is dtypes.bool:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return Result(a.shape, a.dtype)


neg = primitive("neg", "input", "", _infer_neg, "elementwise")
abs = _unary("abs", takes=_NUMERIC)
sign = _unary("sign")
floor = _unary("floor", takes=_NUMERIC)
ceil = _unary("ceil", takes=_NUMERIC)
round = _unary("round", takes=_NUMERIC)
trunc = _unary("trunc", takes=_NUMERIC)
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
bitwise_not = _unary("bitwise_not", takes=_BITS)


def _infer_polygamma(avals: tuple[Aval, ...], n: int) -> Result:
    d = to_float(avals[0].dtype)
    return Result(avals[0].shape, d, d)


polygamma = primitive("polygamma", "input", "n", _infer_polygamma, "elementwise")

add = _binary("add")
sub = primitive("sub", "input other", "", _infer_sub, "elementwise")
mul = _binary("mul")
div = _binary("div", "float")
pow = _binary("pow", takes=_NUMERIC, inputs="input exponent")
floor_divide = _binary("floor_divide", takes=_NUMERIC)
remainder = _binary("remainder", takes=_NUMERIC)
fmod = _binary("fmod", takes=_NUMERIC)
gcd = _binary("gcd", takes=_INTEGERS)
maximum = _binary("maximum")
minimum = _binary("minimum")
clamp_min = _binary("clamp_min", inputs="input min")
clamp_max = _binary("clamp_max", inputs="input max")
atan2 = _binary("atan2", "float")
copysign = _binary("copysign", "float")
hypot = _binary("hypot", takes=_FLOATS)
nextafter = _binary("nextafter", takes=_FLOATS)
eq = _binary("eq", "bool")
ne = _binary("ne", "bool")
lt = _binary("lt", "bool")
le = _binary("le", "bool")
bitwise_and = _binary("bitwise_and", takes=_BITS)
bitwise_or = _binary("bitwise_or", takes=_BITS)
bitwise_xor = _binary("bitwise_xor", takes=_BITS)
bitwise_left_shift = _binary("bitwise_left_shift", takes=_INTEGERS)
bitwise_right_shift = _binary("bitwise_right_shift", takes=_INTEGERS)


def _infer_clamp(avals: tuple[Aval, ...]) -> Result:
    d = promote(avals)
    _supports("clamp", d, _NUMERIC, _REMEDY)
    return Result(broadcast_shapes(*(a.shape for a in avals)), d, d)


clamp = primitive("clamp", "input min max", "", _infer_clamp, "elementwise")


def _infer_where(avals: tuple[Aval, ...]) -> Result:
    condition = avals[0].dtype
    if condition not in (dtypes.bool, dtypes.uint8):
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.title}"
        )
    d = promote(avals[1:])
    return Result(broadcast_shapes(*(a.shape for a in avals)), d, (dtypes.bool, d, d))


def _infer_cast(avals: tuple[Aval, ...], dtype: dtype) -> Result:
    return Result(avals[0].shape, dtype)


def _infer_copy(avals: tuple[Aval, ...]) -> Result:
    return Result(avals[0].shape, avals[0].dtype)


where = primitive("where", "condition input other", "", _infer_where, "elementwise")
cast = primitive("cast", "input", "dtype", _infer_cast, "elementwise")
copy = primitive("copy", "input", "", _infer_copy, "elementwise")
