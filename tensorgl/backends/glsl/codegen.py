"""From a kernel to GLSL: expressions over operands, a template's inputs and results, the whole text.

An `Emitter` writes the body of one function. `emit(value, index)` gives the name of a variable with
four elements of a value: of a realised one by a load, of any other by the rule of its op in `MAPS`,
which asks for its operands in turn. So inlining needs no decision here; the scheduler made it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from math import isfinite, isnan
from typing import Any, NamedTuple

from tensorgl import dtypes
from tensorgl.backends.glsl.access import EXACT, LANES, Index, Scope, physical
from tensorgl.backends.glsl.device import LOCAL
from tensorgl.backends.glsl.ir import Kernel, Number, Operand, Value, kind_of, vec
from tensorgl.backends.glsl.layout import Layout, dense_strides, simplified, transformed
from tensorgl.backends.glsl.memory import TALL
from tensorgl.backends.glsl.shader import library_for, section, template

__all__ = ["MAPS", "Emitter", "Program", "build", "map_op", "row_of", "sampled"]

Rule = Callable[["Emitter", Value, Index], str]
MAPS: dict[str, Rule] = {}
"""How each op whose elements depend on few elements of its operands is written as an expression."""

HEADER = 4
"""Numbers that every kernel gets first: grid, start, logarithm of the width, and one to spare."""


def map_op(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule `(emitter, value, index) -> expression` of ops of these names."""

    def register(rule: Rule) -> Rule:
        for name in names:
            MAPS[name] = rule
        return rule

    return register


class Program(NamedTuple):
    """A kernel's text and how it is bound: the values it reads, and its numbers after the header."""

    source: str
    inputs: tuple[Value, ...]
    numbers: tuple[Any, ...]  # Numbers, places among a flush's numbers, and (constant,)


class Bindings:
    """What one kernel reads: each realised value once, each number once.

    `software`: whether a software rasteriser will run it; `textures`: whether memory is textures.
    """

    def __init__(self, limits: Any) -> None:
        self.software = limits.software
        self.textures = limits.target == "fragment"
        self.values: dict[Value, int] = {}
        self.numbers: dict[Any, int] = {}

    def value(self, value: Value) -> int:
        """Its place among the inputs."""
        return self.values.setdefault(value, len(self.values))

    def number(self, key: Any) -> str:
        """GLSL for a number, as an int."""
        place = HEADER + self.numbers.setdefault(key, len(self.numbers))
        return f"numbers[{place >> 2}].{'xyzw'[place & 3]}"


class Emitter(Scope):
    """Writes expressions into the body of one function.

    `given` maps values that the function gets as arguments to the arguments' names.
    """

    def __init__(self, bindings: Bindings, realised: Any, given: dict[Value, str]) -> None:
        super().__init__(bindings.software)
        self._bindings = bindings
        self._realised = realised
        self._given = given
        self._done: dict[tuple[Value, Index], str] = {}

    def emit(self, value: Value, index: Index) -> str:
        """A variable with the elements of `value`, a vec4 or ivec4, at an index of its shape."""
        if value in self._given:
            return self._given[value]
        key = value, index
        name = self._done.get(key)
        if name is None:
            kind = vec(value.dtype)
            text = MAPS[value.op](self, value, index)
            name = self._done[key] = self.let(kind, _rounded(text, value))
        return name

    def is_realised(self, value: Value) -> bool:
        """Whether it lies in memory."""
        return value in self._realised

    @contextmanager
    def loop(self, count: int) -> Generator[str]:
        """What is written inside is done so many times; it gets the number of the time, an int."""
        name = self.variable("int", "0")
        with self.block(f"for ({name} = 0; {name} < {count}; {name}++)"):
            yield name

    @contextmanager
    def branch(self, condition: str) -> Generator[None]:
        """What is written inside is done where a GLSL bool holds; it leaves values in variables."""
        with self.block(f"if ({condition})"):
            yield

    @contextmanager
    def block(self, head: str) -> Generator[None]:
        """Lines of their own after an `if` or a `for`: names made inside are not known outside."""
        outside = self.lines, self._names, self._done
        self.lines, self._names, self._done = [], dict(self._names), dict(self._done)
        yield
        inside = self.lines
        self.lines, self._names, self._done = outside
        self.lines.append("\n        ".join([f"{head} {{", *inside]) + "\n    }")

    def operand(self, value: Value, k: int, index: Index) -> str:
        """Operand k of an elementwise value at an index of the result: broadcast, numbers included."""
        x = value.operands[k]
        if isinstance(x, Number):
            return self.splat(x)
        at = x.layout
        if at.shape != value.shape:
            at, _ = transformed(at, "expand", (value.shape,))
        return self.load(x, index, at)

    def load(self, x: Operand, index: Index, at: Layout | None = None) -> str:
        """An operand's elements at an index of its shape, or of that of another layout of its memory.

        An operand without elements gives zeros: what reads it takes none of them.
        """
        value, own = x.value, x.layout
        if not own.size:
            return self.let(vec(value.dtype), f"{vec(value.dtype)}(0)")
        if at is None:
            at = own
        start = self.start(x)
        realised = value in self._realised
        if realised and value.order is not None:
            return self._permuted(x, index, at, start)
        if x.whole:
            if value in self._given:
                return self._given[value]
            same = at is own and own.shape == value.shape
            if index.order is not None and not realised and same:
                return self.emit(value, index)  # its operands' order may be the index's
        if realised:
            return self._strided(value, index, at.shape, at.strides, start, x.aligned)
        return self._memory(value, self.at(index, at.shape, at.strides, start, x.aligned))

    def _strided(
        self, value: Value, index: Index, shape: Any, strides: Any, start: str, aligned: bool
    ) -> str:
        """Elements of memory at an index walked by strides.

        A texture is read by texels. Where those of the four lanes are whole texels apart, one choice does for
        all: software rasterisers in a browser take two thirds as long as by an element a lane.
        """
        found = self.column(index, shape, strides, start) if self._bindings.textures else None
        if found is None:
            return self._memory(value, self.at(index, shape, strides, start, aligned))
        (first, step), k, kind = found, self._bindings.value(value), vec(value.dtype)
        t = self.let("int", f"{first} >> 2")
        texels = [f"texel_{k}({t} + {lane * step // 4})" for lane in range(4)]
        return self.let(kind, f"column({', '.join(texels)}, {first} & 3)")

    def _memory(self, value: Value, at: Index) -> str:
        """A value's elements at an index of its own memory."""
        if value not in self._realised:
            return self.emit(value, at.reshaped(value.shape))
        k = self._bindings.value(value)
        kind = vec(value.dtype)
        if at.form == "texel":
            return self.let(kind, f"texel_{k}({at.expr})")
        if at.form == "scalar":
            return self.let(kind, f"{kind}(element_{k}({at.expr}))")
        lane = f"element_{k}({at.expr}"
        return self.let(kind, f"{kind}({lane}.x), {lane}.y), {lane}.z), {lane}.w))")

    def _permuted(self, x: Operand, index: Index, at: Layout, start: str) -> str:
        """A load from a value whose physical order is not row-major."""
        value, order = x.value, x.value.order
        assert order is not None
        if index.order is not None:
            at, _ = transformed(at, "permute", (index.order,))
            index = index.reshaped(at.shape)
        if not start:
            walk = simplified(zip(at.shape, at.strides, strict=True))
            digits = physical(walk, value.shape, order)
            if digits is not None:
                sizes, steps = tuple([n for n, _ in digits]), tuple([s for _, s in digits])
                return self._strided(value, index.reshaped(sizes), sizes, steps, "", True)
        place = self.at(index, at.shape, at.strides, start, x.aligned)
        coordinates = self.digits(place.reshaped(value.shape))
        in_memory = dense_strides(tuple([value.shape[d] for d in order]))
        terms = [f"{coordinates[d]} * {in_memory[k]}" for k, d in enumerate(order)]
        kind, form = ("int", "scalar") if place.form == "scalar" else ("ivec4", "lanes")
        return self._memory(value, Index(form, self.let(kind, " + ".join(terms)), ()))

    def start(self, x: Operand) -> str:
        """GLSL for where an operand starts, or nothing where that is 0."""
        if x.slot is None and not x.shift and x.value.home is None:
            return ""
        terms: list[str] = []
        if x.slot is not None:
            terms.append(self._bindings.number(x.slot))
        if x.shift:
            terms.append(str(x.shift))
        if x.value.home is not None and x.value in self._realised:
            terms.append(f"4 * {self._bindings.number((x.value.home[1],))}")
        text = " + ".join(terms)
        return f"({text})" if " " in text else text

    def number(self, x: Number) -> str:
        """A Python number as a float or an int."""
        if x.constant is not None:
            return literal(x.constant) if x.float else str(int(x.constant))
        text = self._bindings.number(x)
        return f"intBitsToFloat({text})" if x.float else text

    def splat(self, x: Number) -> str:
        """A Python number in four lanes."""
        return self.let(
            "vec4" if x.float else "ivec4", f"{'vec4' if x.float else 'ivec4'}({self.number(x)})"
        )


def literal(x: float) -> str:
    """A float as GLSL."""
    if isfinite(x):
        return repr(float(x))
    return "NAN_()" if isnan(x) else "INFINITY_()" if x > 0 else "-INFINITY_()"


_TESTS = ("eq", "ne", "lt", "le", "isnan", "logical_not")
_BITS = ("bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor")
_TRUTHS = frozenset(
    (*_TESTS, *_BITS, "copy", "cast", "where", "mul", "minimum", "maximum", "bernoulli")
)
"""Ops that give 0 or 1 for operands that are 0 or 1."""
_PARTS = ("cat", "pad", "flip", "narrow_backward", "update", "where", "take", "gather")
_MOVES = frozenset((*_PARTS, "copy", "cast", "full", "uniform"))
"""Ops whose results are elements of their operands, or are rounded already."""


def _rounded(text: str, value: Value) -> str:
    """An expression with its dtype's rounding or wrapping, where memory is narrower than GLSL's types."""
    if value.op in _MOVES:
        return text
    if value.dtype is dtypes.bool:
        return text if value.op in _TRUTHS else f"to_bool({text})"
    return _narrowed(text, value.dtype.name)


def _narrowed(text: str, name: str) -> str:
    """Rounded or wrapped to a dtype's width."""
    if name == "float16":
        return f"round16({text})"
    if name == "uint8":
        return f"({text}) & 255"
    if name in ("int8", "int16"):
        bits = 24 if name == "int8" else 16
        return f"(({text}) << {bits}) >> {bits}"
    return text


def build(kernel: Kernel, realised: Any, limits: Any) -> Program:
    """The text of a kernel. `realised` holds the values that lie in memory when it runs."""
    bindings = Bindings(limits)
    parts: list[str] = []
    text = ""
    custom = kernel.template is not None and kernel.template.endswith(".compute")
    if kernel.template is None:
        parts.append(_expressions(kernel, bindings, realised))
    else:
        text, inputs = template(kernel.template)
        parts += [f"#define {n} {v}\n" for n, v in kernel.defines.items()]
        for name in inputs:
            parts.append(_input(name, kernel.inputs[name], text, bindings, realised))
        parts.append(_results(kernel, bindings, realised, limits.target))
    body = "".join(parts)
    target = limits.target
    head = [limits.header + "\n"]
    if not custom:
        head.append(section(target, "local", n=kernel.defines.get("LOCAL", LOCAL)))
    steps: list[str] = []
    for value, k in bindings.values.items():
        if sampled(value.width, limits):
            head.append(f"float step_{k};\n")
            steps.append(f"step_{k} = {1 / value.width} / float(textureSize(in{k}, 0).y);")
        found = _texel(k, value.width, limits)
        head.append(section(target, f"input {kind_of(value.dtype)}", k=k, p=k, f=found))
    count = len(bindings.values)
    outputs = [v for v in kernel.outputs if v is not None]
    if kernel.wide > 1 and target == "fragment":
        outputs *= kernel.wide
    for k, value in enumerate(outputs):
        start = "START"
        if k and target == "compute":
            start = bindings.number((value.home[1],)) if value.home is not None else "0"
        kind = kind_of(value.dtype)
        head.append(section(target, f"output {kind}", k=k, p=count + k, s=start))
    # last, as it needs the count of numbers
    head.insert(1, section(target, "begin", n=(HEADER + len(bindings.numbers) + 3) // 4))
    prelude = "".join(head)
    # what shares a memory with others must leave their texels alone
    within = target == "fragment" and any(v.home is not None for v in outputs)
    main, given = "main within" if within else "main", "\n    ".join(steps)
    tail = "" if custom else section(target, main, s=given)
    source = prelude + library_for(body, text, kernel.defines.values()) + body + text + tail
    return Program(source, tuple(bindings.values), tuple(bindings.numbers))


def sampled(width: int, limits: Any) -> bool:
    """Whether texels of memory in rows of a width are read as samples.

    A texel's row is rounded three times: below 2^24 / 6 texels by less than half a texel's part.
    """
    return limits.samples and 0 < width < limits.rows and width * TALL <= EXACT


def _texel(k: int, width: int, limits: Any) -> str:
    """GLSL for texel t of operand k in the fragment target, whose memory has rows of a width."""
    if sampled(width, limits):
        return f"textureLod(in{k}, (float(t) + 0.5) * vec2({1 / width}, step_{k}), 0.0)"
    return f"texelFetch(in{k}, ivec2(t & {width - 1}, {row_of(width, limits)}), 0)"


def row_of(width: int, limits: Any) -> str:
    """GLSL for the row of texel t in memory of such rows.

    Software rasterisers may shift a lane at a time, and each fetch needs it: matmul and convolution
    take a sixth less by a product. That is exact below 2^24, where all memories are but the largest.
    """
    if limits.software and 0 < width < limits.rows:
        return f"int(float(t) * {1 / width})"
    return f"t >> {width.bit_length() - 1}"


def _function(head: str, scope: Scope, last: str) -> str:
    return "\n    ".join([f"{head} {{", *scope.lines, last]) + "\n}\n"


def _domain(value: Value, form: str, expr: str) -> Index:
    """Positions in a realised value's memory, in its physical order."""
    if value.order is None:
        return Index(form, expr, value.shape)
    return Index(form, expr, tuple(value.shape[d] for d in value.order), value.order)


def _expressions(kernel: Kernel, bindings: Bindings, realised: Any) -> str:
    """The kernel of a map: texel t of each output is an expression."""
    scope = Emitter(bindings, realised, {})
    inside = realised - set(kernel.outputs)
    scope._realised = inside  # pyright: ignore[reportPrivateUsage]
    stores = [
        f"store_{k}(t, {_stored(scope, value, scope.emit(value, _domain(value, 'texel', 't')))});"
        for k, value in enumerate(kernel.outputs)
    ]
    return _function("void kernel(int t)", scope, "\n    ".join(stores))


def _input(name: str, x: Operand, text: str, bindings: Bindings, realised: Any) -> str:
    """The load functions of a template's input, as far as the template calls them."""
    kind = vec(x.value.dtype)
    one = "float" if kind == "vec4" else "int"
    parts = [f"#define {name}_vec {kind}\n#define {name}_scalar {one}\n"]
    if f"load4_{name}(" in text:
        scope = Emitter(bindings, realised, {})
        found = scope.load(x, Index("texel", "t", x.shape))
        parts.append(_function(f"{kind} load4_{name}(int t)", scope, f"return {found};"))
    if f"load_{name}(" in text:
        scope = Emitter(bindings, realised, {})
        found = scope.load(x, Index("scalar", "i", x.shape))
        parts.append(_function(f"{one} load_{name}(int i)", scope, f"return {found}.x;"))
    return "".join(parts)


def _results(kernel: Kernel, bindings: Bindings, realised: Any, target: str) -> str:
    """The functions that take a template's results: epilogue and store."""
    kind = vec(kernel.results[0].dtype)
    one = "float" if kind == "vec4" else "int"
    parts = [f"#define out_vec {kind}\n#define out_scalar {one}\n"]
    if kernel.wide == 1 and not (kernel.template or "").endswith(".compute"):
        stored = 0
        for k, (result, output) in enumerate(zip(kernel.results, kernel.outputs, strict=True)):
            if output is None:
                parts.append(f"#define RESULT{k}(t, v)\n")
                continue
            store = f"store_{stored}"
            parts.append(_result(f"RESULT{k}", store, result, output, bindings, realised))
            stored += 1
        return "".join(parts)
    result, output = kernel.results[0], kernel.outputs[0]
    if target == "compute":
        scope, found = _epilogue(result, output, bindings, realised)
        scope.lines.insert(0, f"if (t >= {output.texels}) return;")
        head = f"void store(int t, {vec(result.dtype)} v)"
        parts.append(_function(head, scope, f"store_0(t, {found});"))
        parts += [f"#define RESULT{k} store\n" for k in range(kernel.wide)]
    else:
        scope, found = _epilogue(result, output, bindings, realised)
        head = f"{vec(output.dtype)} epilogue(int t, {vec(result.dtype)} v)"
        parts.append(_function(head, scope, f"return {found};"))
        parts += [
            f"void RESULT{k}(int t, {vec(result.dtype)} v) {{ store_{k}(t, epilogue(t, v)); }}\n"
            for k in range(kernel.wide)
        ]
    return "".join(parts)


def _epilogue(result: Value, output: Value, bindings: Bindings, realised: Any) -> Any:
    scope = Emitter(bindings, realised, {result: "v"})
    rounded = _narrowed("v", result.dtype.name)
    if rounded != "v":
        scope.lines.append(f"v = {rounded};")
    return scope, _stored(scope, output, scope.emit(output, _domain(output, "texel", "t")))


def _stored(scope: Emitter, value: Value, found: str) -> str:
    """A texel as it is stored: with what pads the last one, if its home says so."""
    if value.home is None or value.home[2] is None or value.size % 4 == 0:
        return found
    inside = f"lessThan(4 * t + {LANES}, ivec4({value.size}))"
    return f"mix({scope.splat(value.home[2])}, {found}, {inside})"


def _result(
    name: str, store: str, result: Value, output: Value, bindings: Bindings, realised: Any
) -> str:
    scope, found = _epilogue(result, output, bindings, realised)
    head = f"void {name}(int t, {vec(result.dtype)} v)"
    return _function(head, scope, f"{store}(t, {found});")
