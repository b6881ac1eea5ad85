"""Elementwise primitives as expressions: the library's function of the same name, casts, sources."""

from __future__ import annotations

from tensorgl import dtypes
from tensorgl.backends.glsl.access import Index
from tensorgl.backends.glsl.codegen import Emitter, map_op
from tensorgl.backends.glsl.ir import Value
from tensorgl.primitives import TABLE


def _function(e: Emitter, value: Value, index: Index) -> str:
    arguments = [e.operand(value, k, index) for k in range(len(value.operands))]
    return f"op_{value.op}({', '.join(arguments)})"


_OWN = ("bitwise_not", "cast", "copy", "nextafter", "polygamma", "ravel_index")
map_op(*(n for n, p in TABLE.items() if p.kind == "elementwise" and n not in _OWN))(_function)


@map_op("bitwise_not")
def bitwise_not(e: Emitter, value: Value, index: Index) -> str:
    """Of a bool, the other one."""
    x = e.operand(value, 0, index)
    return f"1 - {x}" if value.dtype is dtypes.bool else f"op_bitwise_not({x})"


@map_op("nextafter")
def nextafter(e: Emitter, value: Value, index: Index) -> str:
    """Neighbours in float16 are others than in float32."""
    name = "nextafter16" if value.dtype is dtypes.float16 else "op_nextafter"
    return f"{name}({e.operand(value, 0, index)}, {e.operand(value, 1, index)})"


@map_op("polygamma")
def polygamma(e: Emitter, value: Value, index: Index) -> str:
    """The order is a parameter."""
    return f"op_polygamma({e.operand(value, 0, index)}, {value.params[0]})"


@map_op("copy")
def copy(e: Emitter, value: Value, index: Index) -> str:
    """The operand as it is."""
    return e.operand(value, 0, index)


@map_op("cast")
def cast(e: Emitter, value: Value, index: Index) -> str:
    """Between the three ways in which shaders hold elements, and to narrower dtypes."""
    x = e.operand(value, 0, index)
    old, new = value.operands[0].value.dtype, value.dtype
    if new is dtypes.bool:
        return x if old is dtypes.bool else f"to_bool({x})"
    if new.category == dtypes.FLOAT:
        if old.category != dtypes.FLOAT:
            x = f"to_float({x})"
        return f"round16({x})" if new is dtypes.float16 and old is not dtypes.float16 else x
    if old.category == dtypes.FLOAT:
        x = f"to_int({x})"
    if new is dtypes.uint8:
        return x if old in (dtypes.bool, dtypes.uint8) else f"{x} & 255"
    if new.itemsize < 4:
        bits = 8 * (4 - new.itemsize)
        return f"({x} << {bits}) >> {bits}"
    return x


@map_op("full")
def full(e: Emitter, value: Value, index: Index) -> str:
    """One number everywhere."""
    x = e.splat(value.operands[0])
    return f"round16({x})" if value.dtype is dtypes.float16 else x


@map_op("arange")
def arange(e: Emitter, value: Value, index: Index) -> str:
    """The sum of start and step * k, as numpy does."""
    (k,) = e.digits(index.reshaped(value.shape))
    start, step = (e.splat(x) for x in value.operands)
    if value.dtype.category == dtypes.FLOAT:
        return f"{start} + {step} * vec4({k})"
    return f"{start} + {step} * {k}"
