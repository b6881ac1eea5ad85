"""The library of GLSL functions against the numpy backend, in both targets.

A function of floats is compared with the same primitive in double precision, and its error is counted in
units in the last place (ulp) of the single precision result. Results below 2^-126 may be 0.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import dispatch
from tensorgl.backends.glsl.shader import library_for
from tensorgl.primitives import TABLE
from tensorgl.primitives.random import normal_table
from tests.backends.glsl.expressions import TARGETS, Runner
from tests.test_random import generator, normal_by_its_definition

TINY = 2.0**-126


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.context.release()


def reference(name: str, arrays: tuple[Any, ...], params: tuple[Any, ...] = ()) -> Any:
    if name == "where":
        arrays = (arrays[0].astype(bool), *arrays[1:])
    tensors = [tg.from_numpy(np.ascontiguousarray(x)) for x in arrays]
    return dispatch.calln(TABLE[name], tensors, params).numpy()


def doubled(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays)


@np.errstate(all="ignore")
def assert_near(got: Any, want: Any, ulps: float, absolute: float, arrays: tuple[Any, ...]) -> None:
    single = want.astype(np.float32)
    unit = np.spacing(np.maximum(np.abs(single), np.float32(TINY))).astype(np.float64)
    error = np.maximum(np.abs(got - want) - absolute, 0) / unit
    error[(np.abs(want) < TINY) & (np.abs(got) <= TINY)] = 0
    error[(got == single) | (np.isnan(got) & np.isnan(single))] = 0
    error[np.isnan(error)] = np.inf
    worst = int(np.argmax(error))
    assert error[worst] <= ulps, (
        f"{error[worst]:.3g} ulp at {[float(x[worst]) for x in arrays]}: "
        f"{got[worst]!r}, expected {want[worst]!r}"
    )


# -- functions of floats ------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
N = 1 << 13
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.5, 1e30], np.float32)


def line(low: float, high: float) -> Any:
    return np.linspace(low, high, N).astype(np.float32)


def decades(low: float, high: float) -> Any:
    return np.geomspace(low, high, N).astype(np.float32)


def both(low: float, high: float) -> Any:
    return np.concatenate([decades(low, high), -decades(low, high)])


def join(*arrays: Any) -> tuple[Any]:
    return (np.concatenate(arrays),)


def normal(scale: float = 1.0) -> Any:
    return (scale * RNG.standard_normal(N)).astype(np.float32)


def wide(octaves: float) -> Any:
    return (RNG.standard_normal(N) * 2 ** RNG.uniform(-octaves, octaves, N)).astype(np.float32)


def steps(count: int, step: float) -> Any:
    """Multiples of a step, where quotients are whole or just not."""
    return (step * RNG.integers(-count, count, N)).astype(np.float32)


def truths() -> Any:
    return RNG.integers(0, 2, N).astype(np.int32)


@dataclass(frozen=True)
class Case:
    """A primitive, inputs for it, and the error that it may have: in ulp, and besides absolutely."""

    name: str
    ulps: float
    inputs: tuple[Any, ...]
    absolute: float = 0
    params: tuple[Any, ...] = ()
    single: bool = False  # compare with the primitive in single precision
    special: Any = field(default_factory=lambda: SPECIAL)

    def call(self) -> str:
        arguments = ["a", "b", "c"][: len(self.inputs)] + [str(p) for p in self.params]
        return f"op_{self.name}({', '.join(arguments)})"

    def want(self, arrays: tuple[Any, ...]) -> Any:
        return reference(self.name, arrays if self.single else doubled(arrays), self.params)


PAIR = (np.concatenate([wide(30), normal(4)]), np.concatenate([wide(30), normal()]))
TIES = (np.concatenate([steps(9, 1), normal()]), np.concatenate([steps(9, 1), normal()]))
QUOTIENTS = (
    np.concatenate([normal(9), steps(99, 1), steps(99, 0.1)]),
    np.concatenate([normal() + 3, steps(9, 1) + np.float32(0.5), 0 * steps(9, 1) + np.float32(0.1)]),
)  # fmt: skip
POWERS = (
    np.concatenate([2 ** RNG.uniform(-20, 20, N), RNG.uniform(0.5, 2, N)]).astype(np.float32),
    np.concatenate([RNG.uniform(-6, 6, N), RNG.uniform(-120, 120, N)]).astype(np.float32),
)
TURNS = {"special": SPECIAL[:-1]}  # 1e30 is beyond 1e7, where angles are no longer reduced
SINGLE = {"single": True}

FLOATS = [
    *(Case(n, 0, join(both(1e-3, 1e9), steps(99, 0.5))) for n in ("neg", "abs", "sign")),
    *(Case(n, 0, join(both(1e-3, 1e9), steps(99, 0.5))) for n in ("floor", "ceil", "round", "trunc")),
    *(Case(n, 0, TIES) for n in ("eq", "ne", "lt", "le")),
    *(Case(n, 0, TIES) for n in ("maximum", "minimum", "clamp_min", "clamp_max")),
    Case("clamp", 0, (*TIES, normal(3).repeat(2))),
    Case("where", 0, (truths(), normal(), normal())),
    Case("isnan", 0, (normal(),)),
    Case("logical_not", 0, (steps(3, 0.5),)),
    *(Case(n, 0.5, PAIR) for n in ("add", "sub", "mul")),
    Case("div", 2.5, PAIR),
    Case("reciprocal", 2.5, (both(1e-37, 1e37),)),
    *(Case(n, 0, QUOTIENTS, **SINGLE) for n in ("floor_divide", "remainder", "fmod")),
    Case("floor_divide", 3, PAIR, **SINGLE),
    *(Case(n, 0, PAIR, **SINGLE) for n in ("remainder", "fmod", "copysign", "nextafter")),
    Case("sqrt", 1, (decades(1e-37, 1e38),)),
    Case("rsqrt", 2, (decades(1e-37, 1e38),)),
    Case("hypot", 3, PAIR),
    Case("exp", 2, join(line(-87.3, 88.7), both(1e-8, 1))),
    Case("exp2", 2, join(line(-126, 127.99), both(1e-8, 1))),
    Case("expm1", 3, join(line(-20, 88.7), both(1e-12, 1))),
    Case("log", 2, join(decades(2e-38, 3e38), line(0.5, 2))),
    Case("log2", 3, join(decades(2e-38, 3e38), line(0.5, 2))),
    Case("log10", 3, join(decades(2e-38, 3e38), line(0.5, 2))),
    Case("log1p", 3, join(line(-0.9999, 3), both(1e-12, 0.9), decades(1, 3e38))),
    Case("pow", 4, POWERS),
    Case("sigmoid", 3, (line(-87, 87),)),
    Case("tanh", 4, join(line(-10, 10), both(1e-8, 20))),
    Case("sinh", 3, (both(1e-8, 89.4),)),
    Case("cosh", 3, (both(1e-3, 89.4),)),
    Case("asinh", 4, (both(1e-8, 3e38),)),
    Case("acosh", 4, join(decades(1, 3e38), line(1, 2))),
    Case("atanh", 4, join(both(1e-8, 1), line(-0.99999, 0.99999))),
    Case("sin", 3, join(line(-4, 4), line(-1e4, 1e4), both(1e-8, 1e7)), absolute=1e-11, **TURNS),
    Case("cos", 3, join(line(-4, 4), line(-1e4, 1e4), both(1e-8, 1e7)), absolute=1e-11, **TURNS),
    Case("tan", 4, join(line(-4, 4), line(-1e4, 1e4), both(1e-8, 1e5)), absolute=1e-11, **TURNS),
    Case("asin", 4, join(line(-1, 1), both(1e-8, 1))),
    Case("acos", 3, (line(-1, 1),)),
    Case("atan", 3, join(line(-4, 4), both(1e-8, 1e8))),
    Case("atan2", 3, PAIR),
    Case("erf", 8, join(line(-5, 5), both(1e-8, 10))),
    Case("erfc", 8, join(line(-5, 9.19), both(1e-4, 3))),
    Case("erfinv", 6, join(line(-0.9999999, 0.9999999), both(1e-8, 0.9))),
    Case("lgamma", 8, join(line(0.01, 12), decades(1e-30, 1e36))),
    Case("lgamma", 8, (line(-20.3, -0.001),), absolute=4e-6),
    Case("polygamma", 8, join(line(0.01, 12), decades(1e-20, 1e30)), params=(0,), absolute=4e-7),
    Case("polygamma", 16, (line(-5.3, -0.001),), params=(0,), absolute=2e-6),
    *(Case("polygamma", 16, (decades(0.01, 1e4),), params=(n,)) for n in (1, 2, 6)),
    Case("polygamma", 16, (line(-5.3, -0.001),), params=(1,)),
    Case("polygamma", 16, (line(-5.3, -0.001),), params=(2,), absolute=1e-5),
]  # fmt: skip
IDS = [f"{k}-{c.name}" for k, c in enumerate(FLOATS)]

EITHER_ZERO = {"maximum", "minimum", "clamp", "clamp_min", "clamp_max", "remainder"}
"""Of a zero and the other zero, no sign is the right one; and a remainder that is 0 may have either."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", FLOATS, ids=IDS)
def test_values(run: Runner, case: Case, target: str) -> None:
    want = case.want(case.inputs)
    kind = "vec4" if want.dtype.kind == "f" else "ivec4"
    got = run(target, kind, case.call(), *case.inputs)
    assert_near(got, want.astype(np.float64), case.ulps, case.absolute, case.inputs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", FLOATS, ids=IDS)
def test_special_values(run: Runner, case: Case, target: str) -> None:
    """Every combination of NaN, infinities, signed zeros and a few others."""
    kinds = [x.dtype for x in case.inputs]
    grid = np.meshgrid(*[case.special if d == np.float32 else np.array([0, 1], d) for d in kinds])
    arrays = tuple(np.ravel(x) for x in grid)
    want = case.want(arrays)
    got = run(target, "vec4" if want.dtype.kind == "f" else "ivec4", case.call(), *arrays)
    with np.errstate(over="ignore"):
        want = want.astype(np.float32)
    assert_near(got, want.astype(np.float64), max(case.ulps, 4), case.absolute, arrays)
    if case.name not in EITHER_ZERO:
        known = ~np.isnan(want) & (np.abs(want) >= TINY) | (want == 0)
        assert np.array_equal(np.signbit(got)[known], np.signbit(want)[known])


def test_every_elementwise_primitive_has_a_function_and_a_case() -> None:
    generated = {"cast", "copy", "ravel_index"}
    expected = {n for n, p in TABLE.items() if p.kind == "elementwise"} - generated
    assert {c.name for c in FLOATS} | INTS.keys() == expected
    for name in expected:
        assert f" op_{name}(" in library_for("", f"op_{name}")


@pytest.mark.parametrize("target", TARGETS)
def test_far_angles_stay_bounded(run: Runner, target: str) -> None:
    for name in ("sin", "cos"):
        assert (np.abs(run(target, "vec4", f"op_{name}(a)", both(1e7, 1e38))) <= 1).all()


# -- integers -----------------------------------------------------------------------------------------

EDGES = np.array([0, 1, -1, 2, -2, 255, 1 << 16, (1 << 31) - 1, 1 - (1 << 31), -(1 << 31)])


def integers(low: int, high: int) -> Any:
    return RNG.integers(low, high, N).astype(np.int32)


def every_pair(edges: Any) -> tuple[Any, Any]:
    a, b = (np.ravel(x).astype(np.int32) for x in np.meshgrid(edges, edges))
    many = 1 << 30
    return (
        np.concatenate([a, integers(-99, 99), integers(-many, many)]),
        np.concatenate([b, integers(-99, 99), integers(-many, many)]),
    )


ANY = every_pair(EDGES)
NO_ZERO = (ANY[0][ANY[1] != 0], ANY[1][ANY[1] != 0])
SHIFTS = (ANY[0], np.resize(np.arange(-3, 70), ANY[0].size).astype(np.int32))
RAISED = (np.concatenate([ANY[0], integers(-2, 3)]), np.resize(np.arange(-4, 13), ANY[0].size + N).astype(np.int32))  # fmt: skip
INTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("neg", "abs", "sign", "floor", "ceil", "round", "trunc"), ANY[:1]),
    **dict.fromkeys(("isnan", "logical_not", "bitwise_not"), ANY[:1]),
    **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum", "clamp_min", "clamp_max"), ANY),
    **dict.fromkeys(("eq", "ne", "lt", "le", "bitwise_and", "bitwise_or", "bitwise_xor"), ANY),
    **dict.fromkeys(("floor_divide", "remainder", "fmod"), NO_ZERO),
    **dict.fromkeys(("bitwise_left_shift", "bitwise_right_shift"), SHIFTS),
    "gcd": every_pair(EDGES[:-1]),
    "pow": RAISED,
    "clamp": (*ANY, ANY[0][::-1]),
    "where": (np.resize(truths(), ANY[0].size), *ANY),
}
BOOLS = ["add", "mul", "maximum", "minimum", "eq", "ne", "lt", "le", "sign", "isnan", "logical_not"]
BOOLS += ["bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor", "where"]


def int_call(name: str) -> str:
    return f"op_{name}({', '.join('abc'[: len(INTS[name])])})"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", INTS)
def test_integers(run: Runner, name: str, target: str) -> None:
    got = run(target, "ivec4", int_call(name), *INTS[name])
    assert np.array_equal(got, reference(name, INTS[name]))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", INTS)
def test_bytes(run: Runner, name: str, target: str) -> None:
    """The low 8 bits of a result are the result of uint8."""
    arrays = [x & (1 if name == "where" and k == 0 else 255) for k, x in enumerate(INTS[name])]
    if name in ("floor_divide", "remainder", "fmod"):
        arrays[1] |= 1
    got = run(target, "ivec4", int_call(name), *arrays)
    narrow = tuple(x.astype(np.uint8) for x in arrays)
    assert np.array_equal(got & 255, reference(name, narrow))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", BOOLS)
def test_bools(run: Runner, name: str, target: str) -> None:
    """The last bit of a result is the result of bool; of a sum whether it is not 0."""
    arrays = [(x >> k) & 1 for k, x in enumerate(INTS[name])]
    call = f"to_bool({int_call(name)})" if name == "add" else int_call(name)
    got = run(target, "ivec4", call, *arrays)
    assert np.array_equal(
        (got & 1).astype(bool), reference(name, tuple(x.astype(bool) for x in arrays))
    )


@pytest.mark.parametrize("target", TARGETS)
def test_division_by_zero_comes_back(run: Runner, target: str) -> None:
    """What it gives is not numpy's error, but a value."""
    x = EDGES.astype(np.int32)
    zero = np.zeros_like(x)
    assert np.array_equal(run(target, "ivec4", "op_floor_divide(a, b)", x, zero), x)
    assert not run(target, "ivec4", "op_remainder(a, b)", x, zero).any()
    assert not run(target, "ivec4", "op_fmod(a, b)", x, zero).any()


# -- conversions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_to_other_types(run: Runner, target: str) -> None:
    x = np.concatenate([SPECIAL, both(1e-3, 1e20), steps(9, 0.5), np.float32([2**31, -(2**31)])])
    with np.errstate(invalid="ignore"):
        wide = np.where(np.isfinite(x) & (np.abs(x) < 2.0**63), x, -(2.0**63)).astype(np.int64)
    want = np.clip(wide, -(1 << 31), (1 << 31) - 1)
    assert np.array_equal(run(target, "ivec4", "to_int(a)", x), want)
    assert np.array_equal(run(target, "ivec4", "to_bool(a)", x), x.astype(bool))
    assert np.array_equal(run(target, "ivec4", "to_bool(a)", ANY[0]), ANY[0].astype(bool))
    assert np.array_equal(run(target, "ivec4", "to_uint8(a)", ANY[0]), ANY[0].astype(np.uint8))
    small = integers(-(1 << 24), 1 << 24)
    assert np.array_equal(run(target, "vec4", "to_float(a)", small), small.astype(np.float32))


def halves() -> Any:
    """Every float16, as float32."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def same(got: Any, want: Any) -> bool:
    both_nan = np.isnan(got) & np.isnan(want)
    return bool((both_nan | (got.view(np.int32) == want.view(np.int32))).all())


@pytest.mark.parametrize("target", TARGETS)
def test_round16(run: Runner, target: str) -> None:
    """All halves, all numbers in the middle of two, the neighbours of these, and any others."""
    x = halves()
    finite = np.unique(x[np.isfinite(x)]).astype(np.float64)
    middle = ((finite[1:] + finite[:-1]) / 2).astype(np.float32)
    edges = np.float32([65519.99, 65520, -65520, 1e30, -np.inf])
    near = np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))
    x = np.concatenate([x, middle, *near, edges, wide(20)])
    with np.errstate(over="ignore"):
        want = x.astype(np.float16).astype(np.float32)
    assert same(run(target, "vec4", "round16(a)", x), want)


@pytest.mark.parametrize("target", TARGETS)
def test_nextafter16(run: Runner, target: str) -> None:
    a = halves()
    for towards in (np.inf, -np.inf, 0.0, np.nan):
        b = np.full_like(a, towards)
        with np.errstate(over="ignore"):
            want = np.nextafter(a.astype(np.float16), b.astype(np.float16)).astype(np.float32)
        got = run(target, "vec4", "nextafter16(a, b)", a, b)
        assert same(got + 0, want + 0)  # without the signs of zeros


# -- random numbers -----------------------------------------------------------------------------------

STATES = [(0, 0), (0x299F31D0A4093822, 0x85A308D3243F6A88), ((1 << 64) - 1, (1 << 32) - 2)]


def signed(words: Any) -> Any:
    return np.asarray(words, np.uint64).astype(np.uint32).view(np.int32)


def words_of(run: Runner, target: str, seed: int, offset: int, count: int) -> Any:
    low = 0xFFFFFFFF
    state = signed([seed & low, seed >> 32, offset & low, offset >> 32])
    blocks = np.repeat(np.arange(count // 4, dtype=np.int32), 4)
    return run(target, "ivec4", "ivec4(philox_block(a.x, b))", blocks, np.resize(state, count))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("state", STATES)
def test_philox(run: Runner, target: str, state: tuple[int, int]) -> None:
    count = 4096
    words = words_of(run, target, *state, count)
    drawn = tg.randint(0, 1 << 32, (count,), generator=generator(*state))
    assert np.array_equal(words, signed(drawn.numpy()))

    uniform = tg.rand(count, generator=generator(*state)).numpy()
    assert same(run(target, "vec4", "uniform_from(uvec4(a))", words), uniform)
    half = tg.rand(count, dtype=tg.float16, generator=generator(*state)).numpy()
    got = run(target, "vec4", "uniform16_from(uvec4(a))", words)
    assert same(got, half.astype(np.float32))
    whole = tg.randint(-7, 100, (count,), generator=generator(*state)).numpy()
    assert np.array_equal(run(target, "ivec4", "randint_from(uvec4(a), -7, 107)", words), whole)
    assert np.array_equal(run(target, "ivec4", "randint_from(uvec4(a), 0, 0)", words), words)
    below = run(target, "ivec4", "bernoulli_from(uvec4(a), 5000000)", words)
    assert np.array_equal(below.astype(bool), uniform < 5000000 * 2.0**-24)

    got = draw_normal(run, target, words)
    assert same(got, tg.randn(count, generator=generator(*state)).numpy())


def draw_normal(run: Runner, target: str, words: Any) -> Any:
    base, drop = (np.array(x, np.int32) for x in normal_table())
    k = run(target, "ivec4", "normal_segment(uvec4(a))", words)
    return run(target, "vec4", "normal_from(uvec4(a), b, c)", words, base[k], drop[k])


@pytest.mark.parametrize("target", TARGETS)
def test_normal_at_the_ends(run: Runner, target: str) -> None:
    """Words with one run of ones, where a conversion may round up to the next power of two."""
    words = [((1 << k) - 1) << s & 0xFFFFFFFF for k in range(33) for s in range(32)]
    got = draw_normal(run, target, signed(words))
    assert got.tolist() == [normal_by_its_definition(w) for w in words]


# -- the text -----------------------------------------------------------------------------------------

LIBRARY = {p.name: p.read_text("utf-8") for p in (files("tensorgl.shaders") / "lib").iterdir()}
HEADER = "#version 300 es\nprecision highp float;\nprecision highp int;\nout vec4 result;\n"


def test_browsers_accept_every_function(tmp_path: Path) -> None:
    """The text of each function, with those it needs, is valid in GLSL ES 3.00."""
    validator = shutil.which("glslangValidator")
    assert validator, "glslangValidator is missing: apt-get install glslang-tools"
    names = {n for text in LIBRARY.values() for n in re.findall(r"^[a-z]\w+ (\w+)\(", text, re.M)}
    assert len(names) > 100
    for name in names:
        text = f"{HEADER}{library_for('', name)}void main() {{ result = vec4(0.0); }}\n"
        (tmp_path / f"{name}.frag").write_text(text, "utf-8")
    paths = sorted(str(p) for p in tmp_path.iterdir())
    done = subprocess.run([validator, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_files_can_be_cut(name: str) -> None:
    """What begins at column 0 is a comment, a constant on one line, a function or its last brace."""
    starts = r"//|const .*;$|}$|[a-z]\w* \w+\(.*(\{|\})$|[a-z]\w* \w+\(.*\{  //"
    for line in LIBRARY[name].splitlines():
        assert len(line) <= 110
        assert not line or line.startswith(" ") or re.match(starts, line), line
