"""The table of primitives: closed under differentiation, and answered by the numpy backend."""

from __future__ import annotations

import pytest

import tensorgl as tg
from tensorgl.backends.numpy.kernels import KERNELS
from tensorgl.primitives import TABLE

# Results that are indices, bits or truth values, and tensors made of numbers alone.
WITHOUT_GRADIENT = {
    *("eq", "ne", "lt", "le", "isnan", "logical_not"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "gcd"),
    *("bitwise_left_shift", "bitwise_right_shift"),
    *("argmax", "argmin", "cumargmax", "cumargmin", "argsort", "argtopk", "argkth"),
    *("pool_argmax", "ravel_index", "searchsorted"),
    *("full", "arange", "uniform", "normal", "bernoulli", "randint"),
}


def test_every_other_primitive_has_a_gradient() -> None:
    assert {name for name, p in TABLE.items() if p.vjp is None} == WITHOUT_GRADIENT


def test_numpy_answers_to_every_primitive_and_nothing_else() -> None:
    assert set(KERNELS) == set(TABLE)


def test_names_are_keys() -> None:
    assert all(name == p.name for name, p in TABLE.items())


def test_a_rule_that_names_what_the_op_lacks_fails_at_once() -> None:
    from tensorgl.dispatch import defvjp

    with pytest.raises(TypeError, match="mul has no"):
        defvjp(TABLE["mul"], input=lambda g, another: g)


def test_a_repeated_call_is_one_lookup() -> None:
    """Shape rules and kernel choices run once for each combination of avals."""
    from tensorgl import dispatch

    a, b = tg.ones(7, 3), tg.ones(3)
    a + b
    size = len(dispatch._memo)
    for scale in range(20):
        a + b
        a * (1.5 + scale)  # numbers are operands, not part of the key
    assert len(dispatch._memo) <= size + 1


def test_the_memo_is_bounded() -> None:
    from tensorgl import dispatch

    for n in range(dispatch._MEMO_LIMIT + 10):
        tg.zeros(n % 7, device="meta").expand(n + 1, n % 7)
    assert len(dispatch._memo) <= dispatch._MEMO_LIMIT
