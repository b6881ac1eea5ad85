"""Cases of the elementwise ops: arithmetic, functions, rounding, comparison, logic and bits."""

import math
from statistics import NormalDist

import numpy as np

from tests.ops.harness import B, F, I, case

erf = np.vectorize(math.erf, otypes=[float])
erfc = np.vectorize(math.erfc, otypes=[float])
erfinv = np.vectorize(lambda x: NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2), otypes=[float])
lgamma = np.vectorize(lambda x: math.lgamma(abs(x)) if math.isinf(x) else math.lgamma(x) if x % 1 or x > 0 else math.inf, otypes=[float])  # fmt: skip


def digamma(x):
    return (lgamma(x + 1e-5) - lgamma(x - 1e-5)) / 2e-5


def trigamma(x):
    return (lgamma(x + 1e-3) - 2 * lgamma(x) + lgamma(x - 1e-3)) / 1e-6


def xlogy(x, y):
    return np.where((x == 0) & ~np.isnan(y), 0.0, x * np.log(y))


A, P = F(3, 4), F(3, 4, low=0.25)  # any sign; positive
D = F(3, 4, distinct=True)
ROW = F(4, low=0.5)
STEP = {"grad": False, "special": True}

CASES = [
    # arithmetic
    case("add", A, F(4), oracle=np.add, special=True),
    case("add", A, F(4), kw={"alpha": -2.5}, oracle=lambda x, y: x - 2.5 * y, special=True, note="alpha"),
    case("add", A, 1.5, oracle=np.add, special=True, note="number"),
    case("sub", A, F(3, 1), oracle=np.subtract, special=True),
    case("sub", A, F(3, 1), kw={"alpha": 3}, oracle=lambda x, y: x - 3 * y, note="alpha"),
    case("sub", 2.5, A, oracle=np.subtract, special=True, note="number"),
    case("rsub", A, F(3, 1), oracle=lambda x, y: y - x, special=True),
    case("mul", A, F(3, 1), oracle=np.multiply, special=True),
    case("mul", A, -3, oracle=np.multiply, special=True, note="number"),
    case("div", A, F(3, 4, low=0.5), oracle=np.divide, special=True),
    case("div", 2.0, P, oracle=np.divide, special=True, note="number"),
    case("div", D, 1.3, kw={"rounding_mode": "floor"}, oracle=np.floor_divide, special=True, note="floor"),
    case("div", D, 1.3, kw={"rounding_mode": "trunc"}, oracle=lambda x, y: np.trunc(x / y), special=True, note="trunc"),
    case("true_divide", A, ROW, oracle=np.divide, special=True),
    case("floor_divide", D, ROW, oracle=np.floor_divide, special=True),
    case("remainder", D, ROW, oracle=np.remainder, special=True),
    case("remainder", D, -1.25, oracle=np.remainder, note="number"),
    case("fmod", D, ROW, oracle=np.fmod, special=True),
    case("pow", P, F(4), oracle=np.power, special=True),
    case("pow", A, 2, oracle=np.power, special=True, note="2"),
    case("pow", A, 3, oracle=np.power, special=True, note="3"),
    case("pow", P, 0.5, oracle=lambda x, y: np.sqrt(x), special=True, note="0.5"),
    case("pow", P, -0.5, oracle=lambda x, y: 1 / np.sqrt(x), special=True, note="-0.5"),
    case("pow", P, -1, oracle=lambda x, y: 1 / x, special=True, note="-1"),
    case("pow", P, -2, oracle=lambda x, y: 1 / (x * x), special=True, note="-2"),
    case("pow", P, 1.7, oracle=np.power, special=True, note="1.7"),
    case("pow", 1.7, A, oracle=np.power, special=True, note="base"),
    case("float_power", I(3, 4, low=1), F(4), oracle=np.float_power, function=lambda x, y: x.float_power(y).to(y.dtype)),
    case("square", A, oracle=np.square, special=True),
    case("neg", A, oracle=np.negative, special=True),
    case("positive", A, oracle=np.positive, special=True),
    case("abs", D, oracle=np.abs, special=True),
    case("sign", D, oracle=lambda x: np.where(np.isnan(x), 0, np.sign(x)), special=True),
    case("sgn", D, oracle=lambda x: np.where(np.isnan(x), 0, np.sign(x)), special=True),
    case("signbit", A, oracle=np.signbit, **STEP),
    case("copysign", D, F(4, high=1.7, distinct=True), oracle=np.copysign, special=True),
    case("reciprocal", P, oracle=np.reciprocal, special=True),
    case("maximum", D, F(4, high=1.7, distinct=True), oracle=np.maximum, special=True),
    case("minimum", D, F(4, high=1.7, distinct=True), oracle=np.minimum, special=True),
    case("fmax", D, F(4, high=1.7, distinct=True), oracle=np.fmax, special=True),
    case("fmin", D, F(4, high=1.7, distinct=True), oracle=np.fmin, special=True),
    case("addcmul", A, A, F(4), kw={"value": 0.5}, oracle=lambda x, y, z: x + 0.5 * y * z),
    case("addcdiv", A, A, ROW, kw={"value": 0.5}, oracle=lambda x, y, z: x + 0.5 * y / z),
    case("lerp", A, F(3, 4, low=0), F(4), oracle=lambda x, y, w: x + w * (y - x)),
    case("lerp", A, F(4), 0.25, oracle=lambda x, y, w: x + w * (y - x), note="near"),
    case("lerp", A, F(4), 0.75, oracle=lambda x, y, w: x + w * (y - x), note="far"),
    # roots, exponentials, logarithms
    case("sqrt", P, oracle=np.sqrt, special=True),
    case("rsqrt", P, oracle=lambda x: 1 / np.sqrt(x), special=True),
    case("exp", A, oracle=np.exp, special=True),
    case("exp2", A, oracle=np.exp2, special=True),
    case("expm1", A, oracle=np.expm1, special=True),
    case("log", P, oracle=np.log, special=True),
    case("log2", P, oracle=np.log2, special=True),
    case("log10", P, oracle=np.log10, special=True),
    case("log1p", F(3, 4, low=-0.9), oracle=np.log1p, special=True),
    case("logaddexp", A, F(4), oracle=np.logaddexp, special=True),
    case("logaddexp2", A, F(4), oracle=np.logaddexp2, special=True),
    case("ldexp", A, F(4), oracle=lambda x, y: x * 2.0**y, special=True),
    case("hypot", P, F(4), oracle=np.hypot, special=True),
    # trigonometric and hyperbolic; 1e30 is beyond a single's argument reduction in numpy
    case("sin", A, oracle=np.sin),
    case("cos", A, oracle=np.cos),
    case("tan", F(3, 4, low=-1, high=1), oracle=np.tan),
    case("asin", F(3, 4, low=-0.9, high=0.9), oracle=np.arcsin, special=True),
    case("acos", F(3, 4, low=-0.9, high=0.9), oracle=np.arccos, special=True),
    case("atan", A, oracle=np.arctan, special=True),
    case("atan2", P, F(4), oracle=np.arctan2, special=True),
    case("sinh", A, oracle=np.sinh, special=True),
    case("cosh", A, oracle=np.cosh, special=True),
    case("tanh", A, oracle=np.tanh, special=True),
    case("asinh", A, oracle=np.arcsinh, special=True),
    case("acosh", F(3, 4, low=1.25, high=4), oracle=np.arccosh, special=True),
    case("atanh", F(3, 4, low=-0.9, high=0.9), oracle=np.arctanh, special=True),
    case("sinc", D, oracle=np.sinc),
    case("deg2rad", A, oracle=np.deg2rad, special=True),
    case("rad2deg", A, oracle=np.rad2deg, special=True),
    # special functions
    case("erf", F(3, 40, low=-5, high=5), oracle=erf, special=True),
    case("erfc", F(3, 40, low=-5, high=5), oracle=erfc, special=True),
    case("erfinv", F(3, 40, low=-0.99, high=0.99), oracle=erfinv),
    case("lgamma", F(3, 40, low=0.1, high=12), oracle=lgamma, special=True),
    case("lgamma", F(3, 4, low=-2.9, high=-2.1), oracle=lgamma, note="negative"),
    case("digamma", F(3, 40, low=0.2, high=12), oracle=digamma),
    case("digamma", F(3, 4, low=-2.8, high=-2.2), oracle=digamma, note="negative"),
    case("polygamma", 1, F(3, 40, low=0.5, high=12), oracle=lambda n, x: trigamma(x)),
    case("polygamma", 1, F(3, 4, low=-2.8, high=-2.2), oracle=lambda n, x: trigamma(x), note="negative"),
    case("mvlgamma", F(3, 4, low=1.5, high=6), kw={"p": 3}, oracle=lambda x: lgamma(x) + lgamma(x - 0.5) + lgamma(x - 1) + 1.5 * np.log(np.pi)),
    case("sigmoid", A, oracle=lambda x: 1 / (1 + np.exp(-x)), special=True),
    case("logit", F(3, 4, low=0.1, high=0.9), oracle=lambda x: np.log(x / (1 - x)), special=True),
    case("logit", F(3, 4, distinct=True, low=-0.5, high=1.5), kw={"eps": 0.1}, oracle=lambda x: np.log(np.clip(x, 0.1, 0.9) / (1 - np.clip(x, 0.1, 0.9))), special=True, note="eps"),
    case("xlogy", A, ROW, oracle=xlogy, special=True),
    # rounding and bounds
    case("ceil", D, oracle=np.ceil, special=True),
    case("floor", D, oracle=np.floor, special=True),
    case("round", F(3, 4, high=2.1, distinct=True), oracle=np.rint, special=True),
    case("round", F(3, 4, distinct=True, high=3), kw={"decimals": 1}, oracle=lambda x: np.round(x, 1), note="decimals"),
    case("round", F(3, 4, low=-99, high=99, distinct=True), kw={"decimals": -1}, oracle=lambda x: np.round(x, -1), note="tens"),
    case("trunc", D, oracle=np.trunc, special=True),
    case("frac", D, oracle=lambda x: x - np.trunc(x), special=True),
    case("clamp", D, -0.6, 1, oracle=np.clip, special=True),
    case("clamp", D, F(4, low=-2, high=-1), F(4, low=0, high=1), oracle=np.clip, special=True, note="tensors"),
    case("clamp", D, kw={"max": 0.4}, oracle=lambda x: np.minimum(x, 0.4), special=True, note="max"),
    case("clamp_min", D, F(4, low=-1, high=1), oracle=np.maximum, special=True),
    case("clamp_max", D, 0.4, oracle=np.minimum, special=True),
    case("nan_to_num", A, kw={"nan": 1.0, "posinf": 2.0, "neginf": -2.0}, oracle=lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-2.0), special=True),
    case("heaviside", D, F(4, grad=False), oracle=lambda x, y: np.where(x == 0, y, (x > 0) * 1.0), **STEP),
    case("nextafter", A, F(4), oracle=lambda x, y: x, grad=False),
    # comparison and choice
    case("eq", I(3, 4), I(4), oracle=np.equal, grad=False),
    case("ne", A, A, oracle=np.not_equal, **STEP),
    case("lt", A, F(4), oracle=np.less, **STEP),
    case("le", A, F(4), oracle=np.less_equal, **STEP),
    case("gt", A, F(4), oracle=np.greater, **STEP),
    case("ge", A, 0.5, oracle=np.greater_equal, **STEP),
    case("isnan", A, oracle=np.isnan, **STEP),
    case("isinf", A, oracle=np.isinf, **STEP),
    case("isposinf", A, oracle=np.isposinf, **STEP),
    case("isneginf", A, oracle=np.isneginf, **STEP),
    case("isfinite", A, oracle=np.isfinite, **STEP),
    case("isreal", A, oracle=np.isreal, **STEP),
    case("isclose", A, F(4), kw={"atol": 0.5}, oracle=lambda x, y: np.isclose(x, y, atol=0.5), **STEP),
    case("allclose", A, A, kw={"atol": 4.0}, oracle=lambda x, y: np.allclose(x, y, atol=4.0), grad=False, function=lambda x, y, atol: x.isclose(y, atol=atol).all()),
    case("equal", I(3, 4), I(3, 4), oracle=lambda x, y: np.array_equal(x, y), grad=False, function=lambda x, y: x.eq(y).all()),
    case("where", B(3, 4), A, F(4), oracle=np.where),
    case("where", B(3, 4), 1.5, A, oracle=np.where, note="number"),
    # logic and bits
    case("logical_and", I(3, 4, high=2), B(4), oracle=np.logical_and, grad=False),
    case("logical_or", A, A, oracle=np.logical_or, **STEP),
    case("logical_xor", I(3, 4, high=2), B(4), oracle=np.logical_xor, grad=False),
    case("logical_not", A, oracle=np.logical_not, **STEP),
    case("bitwise_and", I(3, 4, low=-9, high=9), I(4), oracle=np.bitwise_and, grad=False),
    case("bitwise_or", I(3, 4, low=-9, high=9), 6, oracle=np.bitwise_or, grad=False),
    case("bitwise_xor", B(3, 4), B(4), oracle=np.bitwise_xor, grad=False),
    case("bitwise_not", I(3, 4, low=-9, high=9), oracle=np.bitwise_not, grad=False),
    case("bitwise_left_shift", I(3, 4, low=-9, high=9), I(4), oracle=np.left_shift, grad=False),
    case("bitwise_right_shift", I(3, 4, low=-99, high=99), I(4), oracle=np.right_shift, grad=False),
    case("gcd", I(3, 4, low=-60, high=60), I(4, low=-60, high=60), oracle=np.gcd, grad=False),
    case("lcm", I(3, 4, low=-60, high=60), I(4, low=-60, high=60), oracle=np.lcm, grad=False),
]  # fmt: skip
